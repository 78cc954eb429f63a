"""Data that was read once from a user's loader, kept in a file for a job that is resumed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netsmith.data.normalise import Normalisation
from netsmith.data.types import Data, Split
from netsmith.errors import InputError
from netsmith.files import open_temporary

_KEY = "netsmith_recorded"
_SPLITS = ("train", "search", "test")
_AGAIN = "start again in another folder"


def write(path: Path, data: Data) -> None:
    """Write all splits and what is known of them; the file is whole or not there.

    Raises:
        InputError: there is no space, or the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file  # which also takes tensors that share memory

    arrays = {}
    for name in _SPLITS:
        split = getattr(data, name)
        if split is not None:
            for part in ("images", "labels"):
                arrays[f"{name}.{part}"] = np.ascontiguousarray(getattr(split, part).numpy())
    known = {f.name: getattr(data, f.name) for f in dataclasses.fields(data) if f.name not in _SPLITS}
    record = json.dumps(known, sort_keys=True)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = open_temporary(path)
        try:
            save_file(arrays, temporary, metadata={_KEY: record, "sha256": _digest(arrays, record)})
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:  # the latter is how it reports a full disk
        why = str(error).splitlines()[0][:160]
        raise InputError(
            f"{path} could not be written ({why}); it keeps what a loader gave, for --resume: free some space or "
            "choose another --out"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def read(path: Path) -> Data:
    """What :func:`write` wrote.

    Raises:
        InputError: the file is damaged or was edited.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as stored:
            header = stored.metadata()
            arrays = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118, it is no dict
        record = header[_KEY]
        if header["sha256"] != _digest(arrays, record):
            raise ValueError("its digest is another")
        return _data(arrays, json.loads(record))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is damaged or was edited, so nobody knows what the run works on; {_AGAIN}") from error


def is_record(path: Path) -> bool:
    """Whether a file is one that :func:`write` wrote."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as stored:
            return _KEY in (stored.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _data(arrays: dict[str, np.ndarray], known: dict[str, Any]) -> Data:
    splits = {
        name: Split(*(torch.from_numpy(arrays[f"{name}.{part}"]) for part in ("images", "labels")))
        for name in _SPLITS
        if f"{name}.images" in arrays
    }
    mean, std = known.pop("normalisation")
    lists = {key: tuple(value) for key, value in known.items() if isinstance(value, list)}
    normalisation = Normalisation(tuple(mean), tuple(std))
    return Data(**{"train": None} | known | lists | splits, normalisation=normalisation)


def _digest(arrays: dict[str, np.ndarray], record: str) -> str:
    digest = hashlib.sha256(record.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"|{name} {array.shape} {array.dtype}|".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()

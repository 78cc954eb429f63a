"""Decoded images on disk, so that a data set is decoded once on a machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from netsmith.data.decode import Decoded, check_range
from netsmith.data.sources import Raw
from netsmith.errors import InputError
from netsmith.files import open_temporary

_VERSION = "3"


def cache_folder(cache_dir: str | Path | None) -> Path:
    """``cache_dir``, else the environment variable NETSMITH_CACHE, else ``~/.cache/netsmith``."""
    return Path(cache_dir or os.environ.get("NETSMITH_CACHE") or Path.home() / ".cache" / "netsmith")


def fingerprint(raw: Raw, *options: object) -> str:
    """A key for images: contents and arrays by their bytes, files by place, size and when they were last changed."""
    digest = hashlib.blake2b(repr((_VERSION, options)).encode(), digest_size=16)
    for split, part in raw.splits.items():
        digest.update(f"{split}|{len(part.rows)}".encode())
        for row in part.rows:
            if isinstance(row, Path):
                with contextlib.suppress(OSError):  # decoding says what is wrong with it
                    stat = row.stat()
                    digest.update(
                        os.fsencode(f"|{os.path.realpath(row)}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}")
                    )
            elif isinstance(row, bytes):
                digest.update(f"|{len(row)}|".encode() + row)
            elif isinstance(row, np.ndarray):
                digest.update(f"|{row.dtype}|{row.shape}|".encode() + row.tobytes())
    return digest.hexdigest()


def read(folder: Path, key: str, rows: Mapping[str, int]) -> Decoded | None:
    """The images of an entry; None if there is no readable one.

    Args:
        rows: split -> how many images it must have.
    """
    from safetensors import SafetensorError, safe_open

    file = folder / "data" / f"{key}.safetensors"
    if not os.path.isfile(file):
        return None
    try:
        with safe_open(file, framework="pt") as stored:
            meta = json.loads(stored.metadata()["netsmith"])
            images = {split: stored.get_tensor(split) for split in meta["splits"]}
        scale = check_range(meta["pixel_range"], "the pixel range")
        good = list(images) == list(rows) and all(_fits(part, rows[split]) for split, part in images.items())
        good = good and len({part.shape[1:] for part in images.values()}) == 1
        return Decoded(images, scale, tuple(map(str, meta["notes"]))) if good else None
    except (SafetensorError, InputError, OSError, KeyError, ValueError, TypeError, RecursionError):
        return None  # a damaged entry is decoded again and replaced


def _fits(images: torch.Tensor, rows: int) -> bool:
    """Whether a tensor can be so many decoded images."""
    return images.dtype == torch.uint8 and images.dim() == 4 and len(images) == rows and images.shape[1] in (1, 3)


def write(folder: Path, key: str, decoded: Decoded) -> None:
    """Store an entry atomically; a disk that is full or read-only only costs the time to decode again."""
    from safetensors.torch import save_file

    record = {"splits": list(decoded.images), "pixel_range": decoded.pixel_range, "notes": decoded.notes}
    meta = json.dumps(record)
    file = folder / "data" / f"{key}.safetensors"
    temporary: Path | None = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = open_temporary(file)
        os.close(handle)
        save_file(decoded.images, temporary, metadata={"netsmith": meta})
        temporary.replace(file)
    except Exception:  # safetensors reports a full disk as its own kind of error
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

"""Checkpoints: one safetensors file, replaced atomically, so that a kill at any moment leaves a good one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from netsmith.errors import InputError
from netsmith.files import check_regular, parse_json, write_atomic
from netsmith.network.tensorfile import metadata_of, serialised

REMEDY = "delete it, then the training begins anew"  #: of a checkpoint that is damaged
_KEY, _MOST_BYTES = "netsmith", 2**40


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and everything else as JSON values."""

    tensors: dict[str, torch.Tensor]
    meta: dict[str, Any]


def save(path: Path, checkpoint: Checkpoint, extra: dict[str, str] | None = None) -> None:
    """Write ``path`` so that it is either the old file or the complete new one.

    Raises:
        InputError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    header = (extra or {}) | {_KEY: json.dumps(checkpoint.meta)}
    write_atomic(path, serialised({k: v.detach().cpu().contiguous() for k, v in checkpoint.tensors.items()}, header))


def is_checkpoint(path: Path) -> bool:
    """Whether a file is the checkpoint of a training."""
    try:
        return {"settings", "position"} <= set(json.loads(metadata_of(path).get(_KEY, "{}")))
    except (ValueError, TypeError, RecursionError):
        return False


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; whether it fits a training is for :func:`netsmith.training.state.check` to say.

    Raises:
        InputError: the file is not one.
    """
    from safetensors import SafetensorError, safe_open

    try:
        check_regular(path, "checkpoint", REMEDY, _MOST_BYTES)
        with safe_open(path, framework="pt") as stored:
            meta = parse_json((stored.metadata() or {})[_KEY], f"the metadata of the checkpoint {path}", REMEDY)
            # clones: the mapped file may be replaced while training goes on
            tensors = {name: stored.get_tensor(name).clone() for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a training checkpoint of netsmith; {REMEDY}") from error
    if not isinstance(meta, dict):
        raise InputError(f"the checkpoint {path} is damaged, its metadata is no mapping; {REMEDY}")
    return Checkpoint(tensors, meta)

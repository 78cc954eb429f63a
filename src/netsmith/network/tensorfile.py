"""Safetensors files as bytes that are the same in every process, and what their headers say."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_METADATA, _LONGEST = "__metadata__", 100_000_000


def serialised(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file; the library alone writes metadata in an order that differs from process to process.

    Args:
        tensors: by name, contiguous, on the CPU, none sharing memory with another.
    """
    from safetensors.torch import save

    content = save(dict(tensors), metadata=dict(metadata or {}))
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if _METADATA in header:
        header = {_METADATA: dict(sorted(header.pop(_METADATA).items())), **header}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def metadata_of(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without reading its tensors; empty if it has none or is no such file."""
    try:
        if not os.path.isfile(path):  # a pipe would wait for somebody to write
            return {}
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size)) if 0 < size <= _LONGEST else {}
    except (OSError, ValueError, RecursionError):
        return {}
    found = header.get(_METADATA) if isinstance(header, dict) else None
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

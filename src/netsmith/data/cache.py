"""Decoded images on disk, so that a data set is decoded once on a machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

import torch

from netsmith.data.sources import IMAGE_SUFFIXES

_VERSION = "1"


def cache_folder(cache_dir: str | Path | None) -> Path:
    """``cache_dir``, else the environment variable NETSMITH_CACHE, else ``~/.cache/netsmith``."""
    return Path(cache_dir or os.environ.get("NETSMITH_CACHE") or Path.home() / ".cache" / "netsmith")


def fingerprint(path: Path, *options: object) -> str:
    """A key for the content below ``path``: parquet files by their bytes, image files by name, size and time."""
    digest = hashlib.blake2b(repr((_VERSION, options)).encode(), digest_size=16)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if file.suffix == ".parquet":
            digest.update(f"{file.relative_to(path) if path.is_dir() else file.name}".encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "blake2b").digest())
        elif file.suffix.lower() in IMAGE_SUFFIXES:
            stat = file.stat()
            digest.update(f"{file.relative_to(path)}|{stat.st_size}|{stat.st_mtime_ns}".encode())
    return digest.hexdigest()


Decoded = tuple[dict[str, tuple[torch.Tensor, torch.Tensor]], tuple[str, ...] | None]


def read(folder: Path, key: str) -> Decoded | None:
    """Images and labels by split, and class names; None if there is no readable entry."""
    from safetensors import SafetensorError, safe_open

    file = folder / "data" / f"{key}.safetensors"
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as stored:
            meta = json.loads(stored.metadata()["netsmith"])
            splits = {s: (stored.get_tensor(f"{s}.images"), stored.get_tensor(f"{s}.labels")) for s in meta["splits"]}
        return splits, tuple(meta["classes"]) if meta["classes"] is not None else None
    except (SafetensorError, OSError, KeyError, ValueError):
        return None  # a damaged entry is decoded again and replaced


def write(folder: Path, key: str, decoded: Decoded) -> None:
    """Store an entry atomically; a disk that is full or read-only only costs the time to decode again."""
    from safetensors.torch import save_file

    splits, classes = decoded
    tensors = {}
    for split, (images, labels) in splits.items():
        tensors[f"{split}.images"], tensors[f"{split}.labels"] = images, labels
    meta = json.dumps({"splits": list(splits), "classes": classes})
    file = folder / "data" / f"{key}.safetensors"
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata={"netsmith": meta})
        temporary.replace(file)
    except Exception:  # safetensors reports a full disk as its own kind of error
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)

"""Encoded images to one uint8 tensor."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from netsmith.data.sources import RawSplit
from netsmith.errors import InputError

_GREY = {"1", "L", "LA", "I", "I;16", "F"}


def decode(splits: dict[str, RawSplit], image_size: int | None) -> dict[str, torch.Tensor]:
    """Decode every split to uint8 ``(N, C, H, W)``, all with one number of channels and one size.

    Greyscale stays one channel only if every image is grey. Where sizes differ, or differ from ``image_size``, the
    shorter side is resized (bilinear, antialiased) and the centre square is cut out.

    Raises:
        InputError: an image cannot be read; the message names its row.
    """
    arrays = {name: [_open(*row) for row in zip(s.rows, s.names, strict=True)] for name, s in splits.items()}
    every = [a for found in arrays.values() for a in found]
    sizes = {a.shape[:2] for a in every}
    grey = all(a.ndim == 2 for a in every)
    target = _target(sizes, every, image_size)
    return {name: _stack(found, grey, target) for name, found in arrays.items()}


def _target(sizes: set[tuple[int, ...]], every: Sequence[np.ndarray], image_size: int | None) -> tuple[int, int]:
    if image_size is not None:
        return (image_size, image_size)
    if len(sizes) == 1:
        height, width = next(iter(sizes))
        return (height, width)
    side = min(224, int(np.median([min(a.shape[:2]) for a in every])))
    return (side, side)


def _open(row: bytes | Path, name: str) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(row) if isinstance(row, bytes) else row) as image:
            if image.mode in _GREY:
                if image.mode in ("I", "I;16"):  # 16 bits: keep the upper eight
                    return (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
                return np.asarray(image.convert("L"))
            return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        why = "it is empty" if row == b"" else str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"{name} is not a readable image ({why}); repair or remove it") from error


def _stack(arrays: Iterable[np.ndarray], grey: bool, target: tuple[int, int]) -> torch.Tensor:
    arrays = list(arrays)
    channels = 1 if grey else 3
    out = np.empty((len(arrays), channels, *target), dtype=np.uint8)
    for i, array in enumerate(arrays):
        array = array if array.shape[:2] == target else _fit(array, target)
        out[i] = array if array.ndim == 2 else array.transpose(2, 0, 1)  # a grey image broadcasts over channels
    return torch.from_numpy(out)


def _fit(array: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    height, width = array.shape[:2]
    scale = max(target[0] / height, target[1] / width)
    new = (max(target[1], round(width * scale)), max(target[0], round(height * scale)))
    resized = np.asarray(Image.fromarray(array).resize(new, Image.Resampling.BILINEAR))
    top, left = (new[1] - target[0]) // 2, (new[0] - target[1]) // 2
    return resized[top : top + target[0], left : left + target[1]]

"""Image files and arrays as a network's inputs, by the same steps as data that is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from netsmith.data.arrays import read_array
from netsmith.data.decode import stack
from netsmith.data.feeding import PIXEL, Feeding
from netsmith.data.normalise import Normalisation
from netsmith.data.pixels import read_picture
from netsmith.errors import InputError


def prepare(feeding: Feeding, rows: Sequence[bytes | Path | np.ndarray], names: Sequence[str]) -> torch.Tensor:
    """Inputs of a network, float32 ``(N, *input_shape)``.

    Args:
        rows: image files, their contents, or arrays; where ``feeding`` has no scale, arrays of its ``input_shape``.
        names: where each came from, for messages.

    Raises:
        InputError: one cannot be read, or is of another kind than the network knows; names it.
    """
    if feeding.scale is None or feeding.mean is None or feeding.std is None or feeding.size is None:
        return torch.from_numpy(np.stack([_as_given(feeding, *row) for row in zip(rows, names, strict=True)]))
    images = stack(
        (_pixels(feeding, *row) for row in zip(rows, names, strict=True)), names, feeding.channels == 1,
        feeding.size, feeding.pixel_range,
    )  # fmt: skip
    unit = feeding.scale / PIXEL  # 1 for all files that are written here: a mean of x is one of value / 255 then
    normalise = Normalisation(tuple(m / unit for m in feeding.mean), tuple(s / unit for s in feeding.std))
    return normalise(images)


def _pixels(feeding: Feeding, row: bytes | Path | np.ndarray, name: str) -> np.ndarray:
    """Pixels of one image, grey where the network reads grey ones."""
    from PIL import Image

    picture = read_picture(row, name)
    if (picture.depth == "8 bits") != (feeding.pixel_range is None):
        knows = "8 bits" if feeding.pixel_range is None else "{:g} to {:g}".format(*feeding.pixel_range)
        raise InputError(f"{name} has pixels of {picture.depth}, and the network knows pixels of {knows}; convert it")
    if feeding.channels != 1 or picture.pixels.ndim == 2:
        return picture.pixels
    if picture.depth != "8 bits":
        raise InputError(f"{name} is in colour, and the network reads grey images; convert it")
    return np.asarray(Image.fromarray(picture.pixels).convert("L"))


def _as_given(feeding: Feeding, row: bytes | Path | np.ndarray, name: str) -> np.ndarray:
    """Numbers as the network reads them."""
    if isinstance(row, Path):
        try:
            row = read_array(row)
        except ValueError as error:
            raise InputError(
                f"{name} is no array of numbers, which the network reads as given; give .npy files"
            ) from error
    if not isinstance(row, np.ndarray) or row.shape != feeding.input_shape or row.dtype.kind not in "biuf":
        shape = "x".join(map(str, feeding.input_shape))
        raise InputError(f"{name} is no array of numbers of the shape {shape} that the network reads; give such a one")
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        numbers = row.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise InputError(f"{name} has numbers that are NaN or infinite; give them a value or leave it out")
    return numbers

"""Random crop and flip of a whole batch with one gather."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

Draw = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]


@dataclass(frozen=True)
class Augment:
    """Random crop after zero padding, and horizontal flip with probability one half.

    Attributes:
        pad: black pixels added on every side before the crop; 0 means no crop.
        flip: whether images may be mirrored (wrong for digits and text).
    """

    pad: int = 4
    flip: bool = True

    def draw(self, n: int, rng: np.random.Generator) -> Draw:
        """Random offsets ``(n,)``, ``(n,)`` and flips ``(n,)``: apart from ``apply``, so resuming can skip batches."""
        offsets = rng.integers(0, 2 * self.pad + 1, size=(2, n))
        flips = rng.random(n) < 0.5 if self.flip else np.zeros(n, dtype=bool)
        return offsets[0], offsets[1], flips

    def apply(self, images: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Crop and flip uint8 images ``(N, C, H, W)``; the result has the same shape, in channels-last layout."""
        n, _, height, width = images.shape
        dy, dx, flips = (torch.from_numpy(v) for v in draw)
        padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, self.pad, self.pad, self.pad, self.pad))
        column = torch.arange(width)
        columns = dx[:, None] + torch.where(flips[:, None], width - 1 - column, column)
        rows = dy[:, None] + torch.arange(height)
        picked = padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
        return picked.permute(0, 3, 1, 2)

    def __call__(self, images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Draw and apply in one step."""
        return self.apply(images, self.draw(len(images), rng))


def default_augment(size: int) -> Augment:
    """Padding of an eighth of the image side, as usual for 32 pixels; flips only where images are of objects."""
    return Augment(pad=max(1, size // 8), flip=size > 16)

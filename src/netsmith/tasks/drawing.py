"""Pictures of examples side by side, for reports: one row an example, in a PNG file."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from netsmith.data.normalise import Normalisation

Pixels = NDArray[np.uint8]

SHOWN = 6  #: examples
_GAP, _SIDE, _MOST = 4, 112, 224  #: pixels between pictures, and the sizes that they are brought to about
_PAPER = 255


def mosaic(columns: Sequence[Pixels]) -> bytes:
    """Pictures of the same examples, a column a kind of picture.

    Args:
        columns: each ``(N, H, W, 3)``, perhaps of several sizes; all are drawn as large as the first, in whole pixels
            where they are small.
    """
    from PIL import Image

    height, width = columns[0].shape[1:3]
    factor = max(1, round(_SIDE / max(height, width)))
    tall, broad = height * factor, width * factor
    if max(tall, broad) > _MOST:
        tall, broad = (max(1, side * _MOST // max(tall, broad)) for side in (tall, broad))
    rows, count = len(columns[0]), len(columns)
    page = Image.new("RGB", (count * (broad + _GAP) - _GAP, rows * (tall + _GAP) - _GAP), (_PAPER,) * 3)
    for column, pictures in enumerate(columns):
        for row, pixels in enumerate(pictures):
            larger = max(pixels.shape[:2]) <= max(tall, broad)
            how = Image.Resampling.NEAREST if larger else Image.Resampling.BOX
            picture = Image.fromarray(np.ascontiguousarray(pixels)).resize((broad, tall), how)
            page.paste(picture, (column * (broad + _GAP), row * (tall + _GAP)))
    out = io.BytesIO()
    page.save(out, "PNG", optimize=True)
    return out.getvalue()


def pixels_of(images: torch.Tensor) -> Pixels:
    """Images ``(N, C, H, W)`` with values from 0 to 255 as pictures: grey or RGB; of more channels the first three."""
    found = images.detach().float().cpu().round().clamp(0, 255).to(torch.uint8)
    found = found[:, :3] if found.shape[1] >= 3 else found[:, :1].expand(-1, 3, -1, -1)
    return found.permute(0, 2, 3, 1).numpy()


def unnormalised(images: torch.Tensor, normalisation: Normalisation) -> torch.Tensor:
    """Inputs ``(N, C, H, W)`` on the scale of 0 to 255 again; of floats that were given as such, from least to most."""
    if normalisation.std:
        std, mean = (torch.tensor(v).view(1, -1, 1, 1) for v in (normalisation.std, normalisation.mean))
        return (images.cpu() * std + mean) * 255
    low, high = images.amin(), images.amax()
    return (images - low) / (high - low).clamp(min=1e-12) * 255


def painted(labels: torch.Tensor, classes: int) -> Pixels:
    """Classes of pixels ``(N, H, W)`` as pictures, a colour a class; what is no class is white."""
    palette = np.full((classes + 1, 3), _PAPER, dtype=np.uint8)
    for i in range(classes):  # hues that are far from each other whatever their number; the first is nearly black
        hue, value = (i * 0.618034) % 1.0, 0.12 if i == 0 else 0.95 - 0.3 * (i % 3) / 2
        palette[i] = [round(255 * v) for v in colorsys.hsv_to_rgb(hue, 0.0 if i == 0 else 0.75, value)]
    index = labels.detach().cpu().long()
    index = torch.where((index >= 0) & (index < classes), index, torch.full_like(index, classes))
    return np.asarray(palette[index.numpy()])

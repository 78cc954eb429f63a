"""Segmentation: which pixels of a noisy picture are a disc, and which a square, by a small U-Net.

    python examples/segmentation.py

Here pictures and masks are arrays; on the command line they are a folder, ``images/`` beside ``masks/``, or tables:
``netsmith compress net.py:UNet --task segmentation --data FOLDER ...``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import netsmith

SIDE, CLASSES = 32, 3


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 ``(N, 3, 32, 32)`` with a disc and a square each, and the class of each pixel ``(N, 32, 32)``."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    images = random.normal(100, 25, (count, 3, SIDE, SIDE))
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        for kind in (1, 2):
            row, column, radius = *random.integers(6, SIDE - 6, 2), random.integers(4, 8)
            far = np.maximum(abs(y - row), abs(x - column)) if kind == 2 else np.hypot(y - row, x - column)
            mask[far < radius] = kind
            image[:, far < radius] += random.uniform(-70, 70, (3, 1)) + 40
    return images.clip(0, 255).astype(np.uint8), masks


def block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


class UNet(nn.Module):
    """Two levels (Ronneberger et al. 2015, arXiv:1505.04597)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.fine, self.coarse = block(3, width), nn.Sequential(block(width, 2 * width), block(2 * width, 2 * width))
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.join, self.head = block(2 * width, width), nn.Conv2d(width, CLASSES, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        fine = self.fine(image)
        up = self.up(self.coarse(F.max_pool2d(fine, 2)))
        return self.head(self.join(torch.cat([fine, up], dim=1)))


def main(folder: str | Path | None = None, count: int = 256, epochs: int = 8) -> netsmith.Result:
    """Train, and compress."""
    place = Path(folder or tempfile.mkdtemp())
    data = {"train": pictures(count, 0), "search": pictures(64, 1), "test": pictures(64, 2)}
    weights = str(place / "unet.safetensors")
    netsmith.train(UNet, data, task="segmentation", epochs=epochs, batch_size=32, out=weights)
    return netsmith.compress(
        UNet,
        data,
        task="segmentation",
        weights=weights,
        target="roofline-edge",
        macs="0.5x",
        epochs=2,
        out=place / "run",
    )


if __name__ == "__main__":
    found = main()
    before, after = (found.summary[side]["miou"] for side in ("baseline", "result"))
    print(f"mIoU {before:.1%} -> {after:.1%}; masks side by side in {found.report()}")

"""Segmentation: which of four shapes each pixel of a Tiny-ImageNet picture belongs to, by a U-Net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import netsmith

from .row import Row, Split, Splits, flipped, pictures, scaled

SIDE, CLASSES = 64, 5  # the background is a class


def _shape(kind: int, x: np.ndarray, y: np.ndarray, r: float) -> np.ndarray:
    """Where a shape of radius ``r`` around the origin is, of coordinates that were turned already."""
    if kind == 1:
        return x**2 + y**2 < r**2
    if kind == 2:
        return np.maximum(abs(x), abs(y)) < 0.8 * r
    if kind == 3:  # a triangle
        return (y > -0.5 * r) & (y < r - np.sqrt(3) * abs(x))
    return (x**2 + y**2 < r**2) & (x**2 + y**2 > (0.55 * r) ** 2)  # a ring


def drawn(images: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures with one to four shapes drawn over each, somewhat transparent and shaded, and the mask of classes."""
    images = images.numpy().astype(np.float32)
    masks = np.zeros((len(images), SIDE, SIDE), np.int64)
    ys, xs = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    for image, mask in zip(images, masks, strict=True):
        for _ in range(rng.integers(1, 5)):
            kind, angle, r = int(rng.integers(1, CLASSES)), rng.uniform(0, 2 * np.pi), rng.uniform(7, 16)
            cx, cy = rng.uniform(6, SIDE - 6, 2)
            c, s = np.cos(angle), np.sin(angle)
            x, y = c * (xs - cx) + s * (ys - cy), c * (ys - cy) - s * (xs - cx)
            inside = _shape(kind, x, y, r)
            colour = rng.uniform(0, 255, (3, 1)) + rng.uniform(-2, 2) * x[inside]  # shaded along an axis
            alpha = rng.uniform(0.6, 0.95)
            image[:, inside] = (1 - alpha) * image[:, inside] + alpha * colour
            mask[inside] = kind
        image += rng.normal(0, 8, image.shape)
    return torch.from_numpy(images.clip(0, 255).astype(np.uint8)), torch.from_numpy(masks)


def data(folder: Path, rng: np.random.Generator) -> Splits:
    found = {}
    for split, file, count in (("train", "train-00000", 8000), ("search", "train-00001", 1000), ("test", "val", 2000)):
        images, masks = drawn(pictures(folder / f"tiny-imagenet/{file}.parquet", count), rng)
        found[split] = (scaled(images), masks)
    return found


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):
    """Ronneberger et al. 2015 (arXiv:1505.04597) with four levels, padded so that masks have the size of pictures."""

    def __init__(self, widths: tuple[int, ...] = (16, 24, 32, 64)) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in zip((3, *widths), widths, strict=False))
        pairs = list(zip(widths[::-1], widths[-2::-1], strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairs)
        self.join = nn.ModuleList(_block(2 * b, b) for _, b in pairs)
        self.head = nn.Conv2d(widths[0], CLASSES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for i, block in enumerate(self.down):
            x = block(x if i == 0 else F.max_pool2d(x, 2))
            kept.append(x)
        for up, join, skip in zip(self.up, self.join, kept[-2::-1], strict=True):
            x = join(torch.cat((skip, up(x)), dim=1))
        return self.head(x)


def loss(outputs: torch.Tensor, batch: Split) -> torch.Tensor:
    return F.cross_entropy(outputs, batch[1])


def noted(outputs: torch.Tensor, batch: Split) -> torch.Tensor:
    """Pixels of every class where outputs and mask agree, and pixels where either has it, ``(N, 10)``."""
    found, wanted = (F.one_hot(classes, CLASSES).bool() for classes in (outputs.argmax(1), batch[1]))
    return torch.cat([(found & wanted).sum((1, 2)), (found | wanted).sum((1, 2))], dim=1)


def miou(rows: np.ndarray) -> float:
    """The mean over classes of intersection over union, each of all pixels."""
    both, either = rows.sum(0).reshape(2, CLASSES)
    return float((both / either.clip(1)).mean())


def constant(train: Split, test: Split) -> torch.Tensor:
    """The class of most pixels."""
    best = int(torch.bincount(train[1].flatten()).argmax())
    return F.one_hot(torch.full_like(test[1], best), CLASSES).permute(0, 3, 1, 2)


def compress(network: nn.Module, data: Splits, **run: Any) -> Any:
    task = netsmith.Task(**data, loss=loss, score=noted, finish=miou, metric="mIoU", unit="%")
    return netsmith.compress(network, task, target="cpu", epochs=2, **run)


ROW = Row(
    "unet", "segmentation: shapes over Tiny-ImageNet, 64x64; U-Net", "mIoU", "%", data, UNet, lambda b: b[:1], loss,
    noted, miou, constant, compress, (compress,), epochs=4, rate=4e-3, batch=32,
    augment=lambda b: flipped(b, columns=(0, 1)),
)  # fmt: skip

"""Super-resolution: CIFAR-10 pictures of 32x32 from their 16x16, by convolutions at the small size and a shuffle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import netsmith

from .row import Row, Split, Splits, flipped, mean, pictures, scaled


def psnr(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio of each picture in dB, ``(N,)``, of pictures between 0 and 1."""
    return -10 * (found.clamp(0, 1) - wanted).square().flatten(1).mean(1).clamp(min=1e-10).log10()


def data(folder: Path, rng: np.random.Generator) -> Splits:
    train = pictures(folder / "cifar10-jpeg/train-00000.parquet", 22000)
    test = pictures(folder / "cifar10-jpeg/test-00000.parquet", 4000)
    found = {}
    for split, images in (("train", train[:20000]), ("search", train[20000:]), ("test", test)):
        small = F.avg_pool2d(images.float(), 2).round().clamp(0, 255)
        found[split] = (scaled(small), images.float() / 255)
    return found


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


class SuperResolution(nn.Module):
    """Residual blocks without batch norm (EDSR, arXiv:1707.02921) and a sub-pixel layer (ESPCN, arXiv:1609.05158)."""

    def __init__(self, width: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.head = nn.Conv2d(width, 12, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(self.head(self.blocks(self.stem(x))), 2)


def loss(outputs: torch.Tensor, batch: Split) -> torch.Tensor:
    return F.mse_loss(outputs, batch[1])


def noted(outputs: torch.Tensor, batch: Split) -> torch.Tensor:
    return psnr(outputs, batch[1])


def constant(train: Split, test: Split) -> torch.Tensor:
    """The mean picture."""
    return train[1].mean(0).expand_as(test[1])


def compress(network: nn.Module, data: Splits, **run: Any) -> Any:
    task = netsmith.Task(**data, loss=loss, score=noted, metric="PSNR", unit="dB")
    return netsmith.compress(network, task, target="cpu", epochs=2, **run)


ROW = Row(
    "superres", "super-resolution of CIFAR-10, 16x16 to 32x32; residual CNN", "PSNR", "dB", data, SuperResolution,
    lambda b: b[:1], loss, noted, mean, constant, compress, (compress,), epochs=3, rate=2e-3,
    augment=lambda b: flipped(b, columns=(0, 1)),
)  # fmt: skip

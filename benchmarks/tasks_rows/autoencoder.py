"""An autoencoder of CIFAR-10: 3072 values through a code of 256."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import netsmith

from .row import Row, Split, Splits, flipped, mean, pictures, scaled
from .superres import constant, loss, noted

CODE = 256


def data(folder: Path, rng: np.random.Generator) -> Splits:
    train = pictures(folder / "cifar10-jpeg/train-00000.parquet", 22000)
    test = pictures(folder / "cifar10-jpeg/test-00000.parquet", 4000)
    parts = (("train", train[:20000]), ("search", train[20000:]), ("test", test))
    return {split: (scaled(images), images.float() / 255) for split, images in parts}


def _conv(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def _grow(before: int, after: int) -> list[nn.Module]:
    return [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


class Autoencoder(nn.Module):
    """Strided convolutions to a code, and transposed ones back."""

    def __init__(self, widths: tuple[int, int, int] = (48, 96, 128)) -> None:
        super().__init__()
        a, b, c = widths
        self.encoder = nn.Sequential(*_conv(3, a), *_conv(a, b), *_conv(b, c))
        self.narrow = nn.Linear(16 * c, CODE)
        self.widen = nn.Linear(CODE, 16 * c)
        self.decoder = nn.Sequential(
            *_grow(c, b), *_grow(b, a), nn.ConvTranspose2d(a, a // 2, 4, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(a // 2, 3, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        code = self.narrow(self.encoder(x).flatten(1))
        return self.decoder(torch.relu(self.widen(code)).unflatten(1, (-1, 4, 4)))


def augment(batch: Split) -> Split:
    return flipped(batch, columns=(0, 1))


def compress(network: nn.Module, data: Splits, **run: Any) -> Any:
    task = netsmith.Task(**data, loss=loss, score=noted, metric="PSNR", unit="dB")
    return netsmith.compress(network, task, target="cpu", epochs=3, **run)


ROW = Row(
    "autoencoder", "autoencoder of CIFAR-10, a code of 256; strided and transposed CNN", "PSNR", "dB", data,
    Autoencoder, lambda b: b[:1], loss, noted, mean, constant, compress, (compress,), epochs=6, rate=3e-3,
    augment=augment,
)  # fmt: skip

"""A detector: handwritten digits on Tiny-ImageNet pictures; several outputs, and a metric of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import netsmith

from .row import Row, Split, Splits, pictures, scaled

SIDE, GRID, CLASSES, MOST = 64, 8, 10, 4
CELL = SIDE // GRID


def placed(
    images: torch.Tensor, digits: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures with one to four digits pasted in apart from each other.

    Returns:
        Pictures, and ``(N, 8, 8, 5)``: of the cell that a digit's centre lies in, its class (-1 of no digit) and its
        box: centre and size in cells.
    """
    from PIL import Image

    images = images.numpy().astype(np.float32)
    found = np.zeros((len(images), GRID, GRID, 5), np.float32)
    found[..., 0] = -1
    for image, cells in zip(images, found, strict=True):
        free = np.ones((SIDE, SIDE), bool)
        for _ in range(rng.integers(1, MOST + 1)):
            which, h, w = rng.integers(len(digits)), *rng.integers(14, 27, 2)
            y, x = rng.integers(0, SIDE - h + 1), rng.integers(0, SIDE - w + 1)
            row, column = int((y + h / 2) / CELL), int((x + w / 2) / CELL)
            if not free[y : y + h, x : x + w].all():
                continue
            free[y : y + h, x : x + w] = False
            ink = Image.fromarray((digits[which] * (255 / 16)).astype(np.uint8))
            ink = ink.resize((int(w), int(h)), Image.Resampling.BILINEAR)
            alpha = rng.uniform(0.6, 1.0) * np.asarray(ink, np.float32) / 255
            colour = rng.uniform(0, 255, (3, 1, 1))
            image[:, y : y + h, x : x + w] = (1 - alpha) * image[:, y : y + h, x : x + w] + alpha * colour
            cells[row, column] = labels[which], (x + w / 2) / CELL, (y + h / 2) / CELL, w / CELL, h / CELL
        image += rng.normal(0, 5, image.shape)
    return torch.from_numpy(images.clip(0, 255).astype(np.uint8)), torch.from_numpy(found)


def data(folder: Path, rng: np.random.Generator) -> Splits:
    """Digits of different writing for the three splits: the 1,797 of scikit-learn, 1,200, 200 and 397 of them."""
    from sklearn.datasets import load_digits

    digits, labels = load_digits(return_X_y=True)
    digits = digits.reshape(-1, 8, 8)
    found = {}
    for split, file, count, part in (
        ("train", "train-00001", 10000, slice(0, 1200)), ("search", "train-00000", 1000, slice(1200, 1400)),
        ("test", "val", 2500, slice(1400, None)),
    ):  # fmt: skip
        images = pictures(folder / f"tiny-imagenet/{file}.parquet", count)
        images, cells = placed(images, digits[part], labels[part], rng)
        found[split] = (scaled(images), cells)
    return found


def _layer(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU()]


class Detector(nn.Module):
    """Of every cell of 8x8 pixels: is a digit's centre in it, which one, and where are its edges. Three outputs."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_layer(3, width // 4), *_layer(width // 4, width // 2, 2), *_layer(width // 2, width // 2),
            *_layer(width // 2, width, 2), *_layer(width, width), *_layer(width, 2 * width, 2),
            *_layer(2 * width, 2 * width),
        )  # fmt: skip
        self.inside = nn.Conv2d(2 * width, 1, 1)
        self.digit = nn.Conv2d(2 * width, CLASSES, 1)
        self.box = nn.Sequential(*_layer(2 * width, width), nn.Conv2d(width, 4, 1))

    def forward(self, picture: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.body(picture)
        return {"inside": self.inside(x)[:, 0], "digit": self.digit(x), "box": self.box(x)}


def _boxes(outputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Centres and sizes in cells, ``(N, 8, 8, 4)``; the network gives the place in the cell, and logarithms."""
    box = outputs["box"].permute(0, 2, 3, 1)
    rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    corner = torch.stack((columns, rows), dim=-1)
    return torch.cat((box[..., :2].sigmoid() + corner, box[..., 2:].clamp(max=2).exp()), dim=-1)


def loss(outputs: dict[str, torch.Tensor], batch: Split) -> torch.Tensor:
    cells = batch[1]
    there = cells[..., 0] >= 0
    inside = F.binary_cross_entropy_with_logits(outputs["inside"], there.float())
    digit = F.cross_entropy(outputs["digit"], cells[..., 0].long(), ignore_index=-1)
    box = F.smooth_l1_loss(_boxes(outputs)[there], cells[..., 1:][there])
    return 4 * inside + 0.5 * digit + 2 * box


def noted(outputs: dict[str, torch.Tensor], batch: Split) -> torch.Tensor:
    """Digits found, told and there of each picture, ``(N, 3)``.

    A digit is found where the cell of its centre says so, with the right class and a box that overlaps the right one by
    half of their union.
    """
    cells = batch[1]
    there, told = cells[..., 0] >= 0, outputs["inside"] > 0
    a, b = _boxes(outputs), cells[..., 1:]
    low = torch.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = torch.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    both = (high - low).clamp(min=0).prod(-1)
    overlap = both / (a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - both).clamp(min=1e-6)
    found = there & told & (overlap >= 0.5) & (outputs["digit"].argmax(1) == cells[..., 0])
    return torch.stack([t.sum((1, 2)) for t in (found, told, there)], dim=1)


def f1(rows: np.ndarray) -> float:
    """Twice the digits found over those told and those there."""
    found, told, there = rows.sum(0)
    return float(2 * found / max(told + there, 1))


def constant(train: Split, test: Split) -> dict[str, torch.Tensor]:
    """The most frequent digit, of the mean size, in the cell where most digits are."""
    cells = train[1]
    there = cells[..., 0] >= 0
    best = int(there.sum(0).flatten().argmax())
    n = len(test[0])
    inside = torch.full((n, GRID * GRID), -1.0)
    inside[:, best] = 1.0
    digit = F.one_hot(torch.bincount(cells[..., 0][there].long()).argmax(), CLASSES).float()
    size = cells[..., 3:][there].mean(0).log()
    box = torch.cat((torch.zeros(2), size)).view(1, 4, 1, 1).expand(n, 4, GRID, GRID)
    digit = digit.view(1, -1, 1, 1).expand(n, CLASSES, GRID, GRID)
    return {"inside": inside.view(n, GRID, GRID), "digit": digit, "box": box}


def compress(network: nn.Module, data: Splits, **run: Any) -> Any:
    task = netsmith.Task(**data, loss=loss, score=noted, finish=f1, metric="F1", unit="%")
    return netsmith.compress(network, task, target="cpu", epochs=3, **run)


ROW = Row(
    "detector", "detector: handwritten digits on Tiny-ImageNet, 64x64; CNN with three outputs", "F1 at half overlap",
    "%", data, Detector, lambda b: b[:1], loss, noted, f1, constant, compress, (compress,), epochs=6, rate=3e-3,
)  # fmt: skip

"""A tabular MLP: accuracies of the networks of NAS-Bench-201 on CIFAR-10 from what is known of them beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import netsmith

from .row import Row, Split, Splits

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
WANTED = ("acc_float", "acc_int8_ptq", "acc_int8_qat")


def data(folder: Path, rng: np.random.Generator) -> Splits:
    """The operations of six edges and latencies on 27 devices ``(N, 57)``, and three accuracies ``(N, 3)``.

    Accuracies are told as the error's logarithm, as they lie between 10 and 94 % with most above 87 %; all columns have
    the train split's zero mean and unit variance.
    """
    import pyarrow.parquet as parquet

    table = parquet.read_table(folder / "search-benchmarks/nasbench201.parquet").to_pandas()
    edges = table.pop("arch").str.replace("+", "").str.split("|").map(lambda parts: [p[:-2] for p in parts if "~" in p])
    cells = np.array([[[edge == name for name in OPERATIONS] for edge in cell] for cell in edges], dtype=np.float64)
    wanted = np.log(100 - np.stack([table.pop(name) for name in WANTED], axis=1))
    values = np.concatenate([cells.reshape(len(cells), -1), np.log(table.to_numpy(np.float64))], axis=1)
    order = rng.permutation(len(values))
    parts = {"train": order[:11000], "search": order[11000:12500], "test": order[12500:]}

    def of(columns: np.ndarray, index: np.ndarray) -> torch.Tensor:
        train = columns[parts["train"]]
        return torch.from_numpy(((columns - train.mean(0)) / train.std(0).clip(1e-6))[index]).float()

    return {split: (of(values, index), of(wanted, index)) for split, index in parts.items()}


class Mlp(nn.Module):
    """Three wide layers."""

    def __init__(self, width: int = 1792) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(57, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, len(WANTED)),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def loss(outputs: torch.Tensor, batch: Split) -> torch.Tensor:
    return F.mse_loss(outputs, batch[1])


def noted(outputs: torch.Tensor, batch: Split) -> torch.Tensor:
    return torch.cat((outputs, batch[1]), dim=1)


def explained(rows: np.ndarray) -> float:
    """The share of the variance that is explained, R², the mean over the columns."""
    found, wanted = np.split(rows, 2, axis=1)
    return float((1 - ((found - wanted) ** 2).mean(0) / wanted.var(0)).mean())


def constant(train: Split, test: Split) -> torch.Tensor:
    """The mean of train."""
    return train[1].mean(0).expand_as(test[1])


def compress(network: nn.Module, data: Splits, **run: Any) -> Any:
    task = netsmith.Task(**data, loss=loss, score=noted, finish=explained, metric="R2")
    return netsmith.compress(network, task, target="cpu", epochs=8, **run)


ROW = Row(
    "tabular", "table: three accuracies of a NAS-Bench-201 network of its cell and 27 latencies; MLP", "R²", "", data,
    Mlp, lambda b: b[:1], loss, noted, explained, constant, compress, (compress,), epochs=20, rate=1e-3, batch=128,
)  # fmt: skip

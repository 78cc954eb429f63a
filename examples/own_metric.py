"""A metric of one's own: F1 of a rare event, which is no mean over examples, by a multilayer perceptron on a table.

    python examples/own_metric.py

What is noted of each example is what it counts for: whether it was found, told and there. The score is made of all of
them together, so that it can be told of parts, and bounded by drawing examples again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import netsmith

COLUMNS = 16


def table(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows ``(N, 16)``, and whether the rare event, one in ten, follows them ``(N,)``."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, COLUMNS, generator=random)
    odds = rows[:, 0] * rows[:, 1] + rows[:, 2].square() - rows[:, 3] + 0.3 * torch.randn(count, generator=random)
    return rows, (odds > 3).float()


def counted(outputs: torch.Tensor, batch: Any) -> tuple[torch.Tensor, ...]:
    """Of each example: is it a right alarm, is it an alarm, is it an event."""
    alarm, event = outputs[:, 0] > 0, batch[1] > 0
    return alarm & event, alarm, event


def f1(rows: np.ndarray) -> float:
    """Twice the right alarms over all alarms and events."""
    right, alarms, events = rows.sum(axis=0)
    return float(2 * right / max(alarms + events, 1.0))


def loss(outputs: torch.Tensor, batch: Any) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(outputs[:, 0], batch[1])


def make_task() -> netsmith.Task:
    return netsmith.Task(
        train=table(4000, 0), search=table(1000, 1), test=table(2000, 2), loss=loss, score=counted, finish=f1,
        metric="F1", unit="%", name="rare events", each="rows",
    )  # fmt: skip


def trained(epochs: int = 15) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(COLUMNS, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 1),
    )  # fmt: skip
    batch, optimizer = table(4000, 0), torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(4000).split(200):
            optimizer.zero_grad()
            loss(network(batch[0][rows]), (None, batch[1][rows])).backward()
            optimizer.step()
    return network.eval()


def main(folder: str | Path | None = None) -> netsmith.Result:
    return netsmith.compress(
        trained(), make_task(), target="roofline-edge", macs="0.5x", epochs=2,
        out=Path(folder or tempfile.mkdtemp()) / "run",
    )  # fmt: skip


if __name__ == "__main__":
    found = main().summary
    before, after = (found[side]["f1"] for side in ("baseline", "result"))
    print(f"F1 {before:.1%} -> {after:.1%}; {found['certificate']['says']}")

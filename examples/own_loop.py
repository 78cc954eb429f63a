"""A training loop of one's own, in the place of the house's: the smaller network learns from inputs without labels.

    python examples/own_loop.py

``FineTune(fit=function)`` calls the function with the network that is left, in training mode, and with the network as
given as its teacher. It trains in place, by whatever data, optimizer and loss it likes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import netsmith

FEATURES = 12


def inputs(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(seed))


def wanted(x: torch.Tensor) -> torch.Tensor:
    """What the network approximates: two smooth functions of its inputs, ``(N, 2)``."""
    return torch.stack([(x[:, 0] * x[:, 1]).tanh(), (x[:, 2:6].square().sum(dim=1) - 4).sigmoid()], dim=1)


def make_task() -> netsmith.Task:
    """It has nothing to train on: the loop below makes inputs of its own."""
    search, test = ((x, wanted(x)) for x in (inputs(500, 1), inputs(1000, 2)))
    return netsmith.Task(
        search=search, test=test, metric="MSE", higher_is_better=False,
        loss=lambda outputs, batch: F.mse_loss(outputs, batch[1]),
        score=lambda outputs, batch: (outputs - batch[1]).square().mean(dim=1),
    )  # fmt: skip


def trained(steps: int = 600) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(FEATURES, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(steps):
        x = inputs(128, 10 + step)
        optimizer.zero_grad()
        F.mse_loss(network(x), wanted(x)).backward()
        optimizer.step()
    return network.eval()


def distil(network: nn.Module, teacher: nn.Module) -> None:
    """Bring a network's outputs to those of its teacher, on inputs that nobody has labelled."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=400)
    for step in range(400):
        x = inputs(128, 10_000 + step)
        with torch.no_grad():
            answer = teacher(x)
        optimizer.zero_grad()
        F.smooth_l1_loss(network(x), answer).backward()
        optimizer.step()
        schedule.step()


def main(folder: str | Path | None = None) -> dict[str, netsmith.Result]:
    """The same budget without training, and with the loop."""
    place, network = Path(folder or tempfile.mkdtemp()), trained()
    return {
        name: netsmith.compress(
            network, make_task(), target="roofline-edge", macs="0.25x", methods=("prune",), fine_tune=tune,
            out=place / name,
        )
        for name, tune in (("untrained", netsmith.FineTune(epochs=0)), ("own loop", netsmith.FineTune(fit=distil)))
    }  # fmt: skip


if __name__ == "__main__":
    for name, result in main().items():
        before, after = (result.summary[side]["mse"] for side in ("baseline", "result"))
        print(f"{name}: MSE {before:.4f} -> {after:.4f}")

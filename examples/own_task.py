"""A network, a loader and a loss of one's own: which wave a noisy signal is, by a 1-D convolution net.

    python examples/own_task.py

trains it in plain PyTorch and makes it keep half of its multiply-accumulates. On the command line the same task is
``--task examples/own_task.py:make_task``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import netsmith

LENGTH, CLASSES = 128, 4


class Waves(Dataset[tuple[torch.Tensor, int]]):
    """Sines, squares, saws and chirps of random frequency and phase, in noise.

    Args:
        count: signals.
        seed: of all of them.
        moved: whether each is shifted at random whenever it is read, as for training.
    """

    def __init__(self, count: int, seed: int, moved: bool = False) -> None:
        random = torch.Generator().manual_seed(seed)
        self.kinds = torch.randint(0, CLASSES, (count,), generator=random)
        cycles, phase = (torch.rand(2, count, 1, generator=random) * torch.tensor([6.0, 1.0])[:, None, None]) + 0.5
        t = torch.linspace(0, 1, LENGTH)
        angle = t * (cycles + 2) + phase
        waves = torch.stack([
            (2 * torch.pi * angle).sin(), (2 * torch.pi * angle).sin().sign(), 2 * (angle % 1) - 1,
            (2 * torch.pi * angle * (1 + t)).sin(),
        ])  # fmt: skip
        self.signals = waves[self.kinds, torch.arange(count)] + 0.5 * torch.randn(count, LENGTH, generator=random)
        self.moved = moved

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        signal = self.signals[i]
        if self.moved:
            signal = signal.roll(int(torch.randint(0, LENGTH, ())))
        return signal[None], int(self.kinds[i])


class WaveNet(nn.Module):
    """Strided convolutions and a mean over time."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, width, 7, stride=2, padding=3), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, 2 * width, 5, stride=2, padding=2), nn.BatchNorm1d(2 * width), nn.ReLU(),
            nn.Conv1d(2 * width, 2 * width, 3, padding=1), nn.BatchNorm1d(2 * width), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(2 * width, CLASSES)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(signal).mean(dim=2))


def make_task() -> netsmith.Task:
    """The task: examples, what is lowered, and what counts."""
    return netsmith.Task(
        train=DataLoader(Waves(768, 0, moved=True), batch_size=64, shuffle=True),
        search=Waves(256, 1),
        test=Waves(512, 2),
        loss=lambda outputs, batch: F.cross_entropy(outputs, batch[1]),
        score=lambda outputs, batch: outputs.argmax(1) == batch[1],
        metric="accuracy", name="waves", each="signals",
    )  # fmt: skip


def trained(task: netsmith.Task, epochs: int = 5) -> nn.Module:
    """The network as it is given, trained in the usual way."""
    torch.manual_seed(0)
    network = WaveNet()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(epochs):
        for signals, kinds in DataLoader(Waves(768, 0, moved=True), batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(network(signals), kinds).backward()
            optimizer.step()
    return network.eval()


def main(folder: str | Path | None = None) -> netsmith.Result:
    """Train, and compress."""
    task = make_task()
    return netsmith.compress(
        trained(task),
        task,
        target="roofline-edge",
        macs="0.5x",
        epochs=1,
        out=Path(folder or tempfile.mkdtemp()) / "run",
    )


if __name__ == "__main__":
    found = main().summary
    before, after = (found[side]["accuracy"] for side in ("baseline", "result"))
    print(f"accuracy {before:.1%} -> {after:.1%}; {found['certificate']['says']}")

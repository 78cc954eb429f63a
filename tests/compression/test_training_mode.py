"""Channels that only training reads: pruned with the others where they can be followed, kept where they cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netsmith.compression.branches import find_branches
from netsmith.compression.groups import find_groups
from netsmith.compression.prune import prune


class Auxiliary(nn.Module):
    """Two heads while it trains, one when it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 12, 3, 2, 1)
        self.fc, self.aux = nn.Linear(12, 10), nn.Sequential(nn.Linear(12, 6), nn.BatchNorm1d(6), nn.Linear(6, 10))

    def tail(self, x: torch.Tensor) -> Any:
        return self.aux(x)

    def forward(self, x: torch.Tensor) -> Any:
        x = F.relu(self.c2(F.relu(self.c1(x)))).mean((2, 3))
        return (self.fc(x), self.tail(x)) if self.training else self.fc(x)


class Written(Auxiliary):
    """Training has a number of channels written into it, which no module says."""

    def forward(self, x: torch.Tensor) -> Any:
        x = F.relu(self.c2(F.relu(self.c1(x))))
        if self.training:
            x = x * torch.ones(12, 1, 1, dtype=x.dtype)
        return self.fc(x.mean((2, 3)))


def halved(model: nn.Module) -> tuple[dict[str, str], nn.Module]:
    x = torch.randn(2, 1, 8, 8)
    report = find_groups(model.eval(), x)
    prune(model, report, {g.name: list(range(0, g.channels, 2)) for g in report.groups})
    model.train()(x)
    return report.frozen, model


@pytest.mark.parametrize("as_mapping", [False, True])
def test_auxiliary_classifiers_lose_the_channels_that_they_read(as_mapping: bool) -> None:
    class Named(Auxiliary):
        def forward(self, x: torch.Tensor) -> Any:
            out = super().forward(x)
            return {"out": out[0], "aux": out[1]} if self.training else out

    frozen, model = halved(Named() if as_mapping else Auxiliary())
    assert model.c2.out_channels == 6 == model.fc.in_features  # type: ignore[union-attr]
    assert model.aux[0].in_features == 6 and "fc" in frozen  # type: ignore[index,union-attr]


def test_what_breaks_training_is_kept_with_the_reason() -> None:
    frozen, model = halved(Written())
    assert model.c1.out_channels == 4 and model.c2.out_channels == 12  # type: ignore[union-attr]
    assert "fails in training" in frozen["c2"]


def test_a_branch_that_training_reads_stays() -> None:
    class Residual(nn.Module):
        def __init__(self, reads: bool) -> None:
            super().__init__()
            self.stem, self.a, self.b = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
            self.fc, self.aux, self.reads = nn.Linear(8, 10), nn.Linear(8, 10), reads

        def forward(self, x: torch.Tensor) -> Any:
            x = F.relu(self.stem(x))
            inner = F.relu(self.a(x))
            x = x + self.b(inner)
            if self.training and self.reads:
                assert self.b.weight is not None
            return self.fc(x.mean((2, 3)))

    found = {reads: find_branches(Residual(reads).eval(), torch.randn(2, 1, 8, 8)) for reads in (False, True)}
    assert len(found[False]) == 1 and not found[True]

"""Designs as networks: a branch goes, and the channels that it shared with the shortcut go with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from given import groups_in, space_of
from netsmith.compression.branches import find_branches
from netsmith.compression.groups import find_groups
from netsmith.compression.importance import channel_importance
from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.decisions.slim import slim
from netsmith.decisions.tools import AtHand
from netsmith.network.graph import trace


class Residual(nn.Module):
    def __init__(self, last: list[nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(16, 12, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1), *last)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        return self.head((x + self.block(x)).mean(dim=(2, 3)))


@pytest.mark.parametrize("last", [[], [nn.BatchNorm2d(16)], [nn.Dropout(0.1)]], ids=["conv", "norm", "dropout"])
def test_a_branch_that_is_a_container_goes_with_the_channels_of_its_shortcut(last: list[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = Residual(last).eval(), torch.randn(2, 3, 8, 8)
    report, branches = find_groups(model, x), find_branches(model, x)
    space = space_of(trace(model, (3, 8, 8)), report, branches, quantize=False, multiple=4)
    assert len(branches) == 1
    design = space.reference.copy()
    stream = next(d for d, g in enumerate(groups_in(space)) if "stem" in {m.layer for m in g.outputs})
    design[[stream, len(groups_in(space))]] = [1, 0]
    scores = channel_importance(model, report)
    small = slim(model, space, design, AtHand(scores))
    width = space.values[stream, 1]
    assert sum(p.numel() for p in small.model.parameters()) == width * (3 * 9 + 1) + width * 5 + 5
    kept = np.sort(np.argsort(-scores[groups_in(space)[stream].name], kind="stable")[: int(width)])
    with torch.no_grad():
        stem = torch.relu(model.stem(x)).mean(dim=(2, 3))[:, kept]
        want = nn.functional.linear(stem, model.head.weight[:, kept], model.head.bias)
        torch.testing.assert_close(small.model(x), want)
        again = apply_recipe(Residual(last).eval(), Recipe.from_json(small.recipe.to_json()))
        again.load_state_dict(small.model.state_dict())
        torch.testing.assert_close(again(x), want)

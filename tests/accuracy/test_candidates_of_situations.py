"""Designs of networks that are hard to read: what they are said to lose and to cost is what they do."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from given import candidates_of, groups_in, kept_by, space_of
from labelled import evaluator as evaluator_of
from netsmith.compression.branches import Branch
from netsmith.compression.groups import find_groups
from netsmith.compression.importance import channel_importance
from netsmith.compression.kept import keep_indices
from netsmith.compression.mixed import LayerQuantizer
from netsmith.compression.prune import prune
from netsmith.compression.quantize import Calibration
from netsmith.decisions.given import GivenSpace
from netsmith.network.graph import trace
from situations import (
    Decoder,
    Functional,
    GroupedPair,
    GroupedUp,
    Normalised,
    PlainAttention,
    Res2,
    Shuffled,
    SliceAdd,
)

NETWORKS: list[Callable[[], nn.Module]] = [
    GroupedPair, lambda: GroupedPair(4, 2), lambda: GroupedPair(2, 8), Shuffled, PlainAttention, SliceAdd, Functional,
    lambda: Normalised(by_hand=False), lambda: Res2(fixed=False), Decoder,
]  # fmt: skip


def choices_of(model: nn.Module) -> GivenSpace:
    return space_of(trace(model, (3, 8, 8)), find_groups(model, torch.randn(2, 3, 8, 8)), [], quantize=False)


@pytest.mark.parametrize("make", NETWORKS)
def test_what_is_built_loses_and_costs_what_was_said(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.5)
    space = choices_of(model)
    scores = channel_importance(model, find_groups(model, torch.randn(2, 3, 8, 8)))
    candidates = candidates_of(space, Calibration({}), LayerQuantizer(space.graph, {}), scores)
    images, labels = torch.randn(24, 3, 8, 8), torch.randint(0, 5, (24,))
    designs = [np.array(d) for d in space.decisions.sample(np.random.default_rng(1), 3)]
    got = evaluator_of(space.graph, images, labels, batch_size=24).evaluate([candidates.of_design(d) for d in designs])
    with torch.no_grad():
        want = F.log_softmax(model(images), 1)
        for i, design in enumerate(designs):
            kept = kept_by(space, design)
            units = {g.name: g.unit for g in groups_in(space)}
            smaller = copy.deepcopy(model)
            report = find_groups(model, images[:2])
            prune(smaller, report, {n: keep_indices(scores[n], k, units[n]) for n, k in kept.items()})
            lost = (want.exp() * (want - F.log_softmax(smaller(images), 1))).sum(1).mean()
            assert got.divergence[i] == pytest.approx(float(lost), rel=1e-3, abs=1e-6)
            built = trace(smaller, (3, 8, 8)).layers
            assert int(space.rows(design).macs.sum()) == int(built.macs.sum())


def test_a_price_of_attention_in_one_operator_is_never_too_low() -> None:
    """Its row has one width for both of its products, of which a design may narrow one."""
    model = PlainAttention(fused=True).eval()
    space = choices_of(model)
    smaller = copy.deepcopy(model)
    design = np.zeros(len(space.decisions), dtype=int)
    prune(
        smaller, find_groups(model, torch.randn(2, 3, 8, 8)), {n: range(k) for n, k in kept_by(space, design).items()}
    )
    assert space.rows(design).macs.sum() >= trace(smaller, (3, 8, 8)).layers.macs.sum()


def test_choices_within_a_dropped_branch_are_reset_whatever_rows_there_are() -> None:
    """Layers that are no rows of the table (here as if none was) keep their widths unless their branch is dropped."""
    space = choices_of(GroupedUp())
    design = np.zeros(len(space.decisions), dtype=int)
    assert (space.canonical(design) == design).all()
    without_rows = copy.copy(space)
    object.__setattr__(without_rows, "graph", copy.copy(space.graph))
    without_rows.graph.layers = space.graph.layers.take(np.array([], dtype=int))
    assert (without_rows.canonical(design) == design).all()


def test_a_branch_takes_the_widths_of_its_layers_along() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Flatten(), nn.Linear(512, 5))
    graph, report = trace(model, (3, 8, 8)), find_groups(model, torch.randn(2, 3, 8, 8))
    branch = Branch("1", "1", channels=8, layers=("1",))
    space = space_of(graph, report, [branch], quantize=False)
    names = [d.name for d in space.decisions.decisions]
    design = np.zeros(len(names), dtype=int)
    reset = space.canonical(design)
    assert reset[names.index("1.channels")] == space.reference[names.index("1.channels")]
    assert reset[names.index("0.channels")] == 0

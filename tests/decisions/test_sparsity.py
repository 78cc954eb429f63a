"""Sparsity as a kind of decisions: densities, prices, and edits that are what is built."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from netsmith.compression.groups import find_groups
from netsmith.compression.importance import channel_importance
from netsmith.compression.share import CodebookQuantizer
from netsmith.compression.sparsify import sparse_of
from netsmith.decisions.bits import Bits
from netsmith.decisions.channels import Channels
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.slim import slim
from netsmith.decisions.sparsity import Sparsity, densities
from netsmith.decisions.tools import AtHand
from netsmith.network.graph import Graph, trace
from netsmith.network.passes import get_parameter
from netsmith.testing import check_kind
from warmed import warmed

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def graph(digits_model: nn.Module) -> Graph:
    return trace(digits_model, SHAPE, fold=False)


@pytest.fixture(scope="module")
def kind(graph: Graph) -> Sparsity:
    return Sparsity(graph, 0.9)


def test_densities_are_at_equal_ratios_and_end_at_all() -> None:
    found = np.array(densities(0.9))
    assert found[0] == pytest.approx(0.1) and found[-1] == 1.0
    assert found[1:] / found[:-1] == pytest.approx([10 ** (1 / 6)] * 6, rel=1e-3)


def test_what_is_evaluated_priced_and_built_is_one() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    net = warmed(net, SHAPE)
    kind = Sparsity(trace(net, SHAPE, fold=False), 0.9)
    check_kind(kind, net, torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(0)))


def test_as_many_numbers_stay_as_are_priced(digits_model: nn.Module, graph: Graph, kind: Sparsity) -> None:
    space = GivenSpace(graph, (kind,))
    for k in (0, 3):
        design = np.full(len(kind.decisions), k)
        slimmed, edit = slim(digits_model, space, design, AtHand()), space.edit(design, AtHand())
        entries = sparse_of(slimmed.recipe.steps)
        assert set(entries) == set(edit.weights) == edit.refit == set(kind.parameters.values())
        for layer, name in kind.parameters.items():
            row = graph.layers.names.index(layer)
            assert torch.equal(slimmed.model.get_parameter(name), edit.weights[name])
            assert int(space.rows(design).entries[0, row]) == entries[name] == int((edit.weights[name] != 0).sum())


def test_it_costs_no_time_and_no_work(graph: Graph, kind: Sparsity) -> None:
    space = GivenSpace(graph, (kind,))
    table = space.rows(np.stack([kind.reference * 0, kind.reference]))
    assert (table.macs[0] == table.macs[1]).all() and (table.weights[0] == table.weights[1]).all()
    assert not table.entries[1].any() and (table.entries[0] > 0).sum() == len(kind.decisions)


def test_shared_values_are_fitted_to_what_stays(graph: Graph, kind: Sparsity) -> None:
    bits = Bits(graph, [(b, 32) for b in (1, 2, 8)], codebooks=True)
    space, tools = GivenSpace(graph, (bits, kind)), AtHand(quantizer=CodebookQuantizer(graph))
    edit = space.edit(np.zeros(len(space.decisions), dtype=np.int64), tools)  # one bit, and the least density
    for layer, name in kind.parameters.items():
        given, weight = get_parameter(graph.module, name).detach(), edit.weights[name]
        stays = weight != 0
        assert len(weight[stays].unique()) <= 2, layer
        assert given[stays].abs().min() >= given[~stays].abs().max()
        for value in weight[stays].unique():
            torch.testing.assert_close(value, given[weight == value].mean())


def test_channels_that_go_take_their_numbers_with_them(digits_model: nn.Module, graph: Graph, kind: Sparsity) -> None:
    report = find_groups(digits_model, torch.zeros(2, *SHAPE))
    channels = Channels(graph, report, 4)
    space, tools = GivenSpace(graph, (channels, kind)), AtHand(channel_importance(digits_model, report))
    design = space.reference.copy()
    design[: len(channels.decisions)], design[len(channels.decisions) :] = 0, 3
    slimmed = slim(digits_model, space, design, tools)
    small, entries = trace(slimmed.model, SHAPE, fold=False), sparse_of(slimmed.recipe.steps)
    table = space.rows(design)
    for layer, name in kind.parameters.items():
        weight, row = slimmed.model.get_parameter(name), graph.layers.names.index(layer)
        assert weight.numel() == int(table.weights[0, row]) and entries[name] == int(table.entries[0, row])
        assert int((weight != 0).sum()) == entries[name] < weight.numel()
        own = digits_model.get_parameter(name).detach()
        assert set(weight[weight != 0].tolist()) <= set(own.reshape(-1).tolist())
    assert small.layers.macs.sum() == table.macs[0].sum() < graph.layers.macs.sum()

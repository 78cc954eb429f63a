"""Heads as decisions: prices are those of the network that is built, and edits compute what it computes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from netsmith.compression.branches import find_branches
from netsmith.compression.heads import find_heads
from netsmith.compression.reconstruct import Repair, gather
from netsmith.compression.trial import randomized
from netsmith.decisions.branches import Branches
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.heads import Heads
from netsmith.decisions.slim import slim
from netsmith.decisions.tools import AtHand
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import Graph, trace
from netsmith.network.passes import get_parameter
from netsmith.testing import check_kind
from token_networks import IMAGES, Blocks, Decoded, Tokens

NETWORKS = {
    "norm first": lambda: Tokens(1, norm_first=True), "batch second": lambda: Tokens(1, batch_first=False),
    "attention to others": Decoded, "blocks": Blocks,
}  # fmt: skip


def case(name: str) -> tuple[nn.Module, Graph, Heads, AtHand]:
    model = randomized(NETWORKS[name](), IMAGES)[0].float()
    graph = trace(model, (3, 8, 8))
    kind = Heads(graph, find_heads(model, IMAGES))
    rng = np.random.default_rng(0)
    return model, graph, kind, AtHand({g.name: rng.random(g.channels) for g in kind.scored})


def edited(graph: Graph, edit: GraphEdit) -> Any:
    module = copy.deepcopy(graph.module)
    for name, value in edit.weights.items():
        get_parameter(module, name).data = value
    return module


def counted(model: nn.Module) -> int:
    model = copy.deepcopy(model).requires_grad_(False)
    torch.backends.mha.set_fastpath_enabled(False)  # torch counts nothing in its fused layer of an encoder
    try:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            model(IMAGES[:1])
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("name", NETWORKS)
def test_every_choice_computes_and_costs_what_the_smaller_network_does(name: str) -> None:
    model, graph, kind, tools = case(name)
    assert kind.decisions and not kind.frozen
    space = GivenSpace(graph, (kind,))
    alone = [(d, k) for d, decision in enumerate(kind.decisions) for k in range(len(decision.choices))]
    designs = np.tile(kind.reference, (len(alone), 1))
    designs[np.arange(len(alone)), [d for d, _ in alone]] = [k for _, k in alone]
    for design in [*designs, kind.reference * 0]:
        small = slim(model, space, design, tools)
        assert int(space.rows(design).macs.sum()) == counted(small.model)
        with torch.no_grad():
            want, got = edited(graph, kind.edit(design, GraphEdit(), tools))(IMAGES), small.model(IMAGES)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
        assert small.is_smaller == bool((design != kind.reference).any())
    assert trace(small.model, (3, 8, 8)).layers.macs.sum() == counted(small.model)


def test_heads_keep_the_contract_of_kinds() -> None:
    model, _, kind, tools = case("batch second")
    check_kind(kind, model.eval(), IMAGES, tools)


def test_heads_are_those_of_the_best_scores_and_repair_is_better_than_zeros() -> None:
    model, graph, kind, tools = case("batch second")
    path = kind.attentions[0].path
    scores = np.repeat([3.0, 1.0, 4.0, 2.0], 4)
    design = kind.reference.copy()
    design[0] = 1  # two heads
    tools = AtHand({**tools.importance, path: scores})
    (step,) = slim(model, GivenSpace(graph, (kind,)), design, tools).recipe.steps
    assert step.to_dict() == {"attentions": {path: "0,2"}}
    images = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    better = AtHand(tools.importance, Repair(gather(graph, model, kind.scored, images), tools.importance))
    with torch.no_grad():
        want = graph.module(images)
        zeros, repaired = (
            float((edited(graph, kind.edit(design, GraphEdit(), t))(images) - want).square().mean())
            for t in (tools, better)
        )
        small = slim(model, GivenSpace(graph, (kind,)), design, better).model
        torch.testing.assert_close(small(images), edited(graph, kind.edit(design, GraphEdit(), better))(images))
    assert repaired < 0.9 * zeros


def test_heads_of_a_branch_that_goes_are_nothing_to_decide() -> None:
    model, graph, kind, tools = case("blocks")
    branches = Branches(graph, find_branches(model, IMAGES))
    space = GivenSpace(graph, (branches, kind))
    at = next(i for i, b in enumerate(branches.branches) if kind.attentions[0].path in b.layers)
    design = space.reference.copy()
    design[at] = 0
    design[len(branches.decisions)] = 0
    own = space.canonical(design)
    assert own[len(branches.decisions)] == space.reference[len(branches.decisions)]
    small = slim(model, space, design, tools)
    assert [step.do for step in small.recipe.steps] == ["drop"]
    assert int(space.rows(own).macs.sum()) == counted(small.model)

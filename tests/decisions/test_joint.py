"""Widths and bits together: prices, evaluated designs and built networks speak of one network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from given import candidates_of, kept_by, space_of
from labelled import evaluator as evaluator_of
from netsmith.compression.branches import find_branches
from netsmith.compression.build import histograms_of
from netsmith.compression.groups import find_groups
from netsmith.compression.importance import channel_importance
from netsmith.compression.mixed import LayerQuantizer, quantize_mixed
from netsmith.compression.placement import layer_inputs
from netsmith.compression.prune import plan
from netsmith.compression.quantize import Calibration
from netsmith.compression.steps import PruneStep
from netsmith.decisions.channels import group_widths
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.pricing import Pricing
from netsmith.decisions.slim import slim
from netsmith.decisions.tools import AtHand
from netsmith.errors import InputError
from netsmith.hardware.target import get_target
from netsmith.network.graph import trace
from netsmith.search import Problem, solve
from netsmith.search.strategy import Proposals
from netsmith.study.measured import Measured

PAIRS = [(w, a) for w in range(2, 9) for a in range(2, 9)]


@pytest.fixture(scope="module")
def case(digits_model: torch.nn.Module) -> dict[str, Any]:
    x = torch.randn(2, 1, 8, 8)
    graph, report = trace(digits_model, (1, 8, 8)), find_groups(digits_model, x)
    space = space_of(graph, report, find_branches(digits_model, x), multiple=2, bits=PAIRS)
    images = torch.randn(48, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    histograms = histograms_of(graph, images, set(layer_inputs(graph, space.quantized).values()))
    return {
        "model": digits_model, "graph": graph, "report": report, "space": space, "images": images,
        "quantizer": LayerQuantizer(graph, histograms), "scores": channel_importance(digits_model, report),
    }  # fmt: skip


def designs(space: GivenSpace, n: int, seed: int = 0) -> np.ndarray:
    drawn = space.decisions.sample(np.random.default_rng(seed), n)
    return np.array([space.canonical(d) for d in drawn])


@pytest.mark.parametrize(
    ("target", "cost"), [("bitfusion", "energy"), ("bismo-edge", "energy"), ("bismo-edge", "size")]
)
def test_prices_are_exact_at_every_design(case: dict[str, Any], target: str, cost: str) -> None:
    space = case["space"]
    pricing = Pricing(space, get_target(target))
    table = pricing.table(cost, space.reference)
    assert max(f.values.size for f in table.factors) > 600  # two widths, two kinds of bits
    assert pricing.is_exact(cost)
    np.testing.assert_allclose(table.price(designs(space, 60)), pricing.predict(designs(space, 60), cost), rtol=1e-9)


def test_an_energy_budget_holds_for_the_design_that_is_solved_for(case: dict[str, Any]) -> None:
    space = case["space"]
    pricing = Pricing(space, get_target("bismo-edge"))
    rng = np.random.default_rng(0)
    loss = (1.0 - space.values / space.values.max(axis=1, keepdims=True)) ** 2 * rng.random((len(space.decisions), 1))
    loss[np.arange(loss.shape[1]) >= space.decisions.sizes[:, None]] = np.inf
    limit = 0.3 * float(pricing.predict(space.reference, "energy")[0])
    table = pricing.table("energy", space.reference)
    best = solve(Problem(loss, {"energy": table}, {"energy": limit}, space.decisions.tied))
    assert best.status == "optimal"
    assert pricing.predict(best.choice, "energy")[0] <= limit * (1 + 1e-9)
    kinds = np.array([d.kind for d in space.decisions.decisions])
    changed = best.choice < space.reference
    assert all(changed[kinds == kind].any() for kind in ("channels", "w_bits", "a_bits"))
    for kind in ("channels", "w_bits", "a_bits"):  # both together lose no more than with one of them held
        held = loss.copy()
        other = np.arange(loss.shape[1]) != space.reference[:, None]
        held[(kinds == kind)[:, None] & other] = np.inf
        assert best.loss < solve(Problem(held, {"energy": table}, {"energy": limit}, space.decisions.tied)).loss


class Sliced(LayerQuantizer):
    """The grids of the network as given, for the channels that stay."""

    def __init__(self, graph: Any, full: LayerQuantizer, step: PruneStep) -> None:
        super().__init__(graph, {})
        self.full, self.step = full, step

    def grid(self, layer: str, bits: int) -> Any:
        return self.full.grid(layer, bits)

    def scale(self, layer: str, bits: int) -> torch.Tensor:
        return torch.ones(1)

    def weight(self, layer: str, bits: int) -> torch.Tensor:
        weight, keep = self.full.weight(layer, bits), self.step.layers.get(layer)
        if keep is not None and keep.outputs is not None:
            weight = weight[list(keep.outputs)]
        if keep is not None and keep.inputs is not None and weight.shape[1] > 1:
            weight = weight[:, list(keep.inputs)]
        return weight


def test_a_masked_and_rounded_design_is_the_pruned_and_rounded_network(case: dict[str, Any]) -> None:
    space, report, scores, graph = (case[k] for k in ("space", "report", "scores", "graph"))
    images, labels = case["images"], torch.zeros(48, dtype=torch.long)
    candidates = candidates_of(space, Calibration({}), case["quantizer"], scores)
    evaluator = Measured(candidates, evaluator_of(graph, images, labels))
    drawn = designs(space, 4, seed=3)
    assert all(kept_by(space, d) for d in drawn)
    with torch.no_grad():
        reference = F.log_softmax(graph.module(images), dim=1)
        for design, got in zip(drawn, evaluator.evaluate(Proposals.of(drawn)), strict=True):
            slimmed = slim(case["model"], space, design, AtHand(scores))
            small = trace(slimmed.model, (1, 8, 8))
            steps = [s for s in slimmed.recipe.steps if isinstance(s, PruneStep)]
            step = steps[0] if steps else plan(report, {})
            built = quantize_mixed(small, slimmed.bits, Sliced(small, case["quantizer"], step)).graph.module(images)
            want = F.kl_div(F.log_softmax(built, dim=1), reference, log_target=True, reduction="batchmean")
            assert got.loss == pytest.approx(float(want), rel=2e-2, abs=1e-5)


def test_widths_are_as_many_as_asked_for_and_as_the_target_has(case: dict[str, Any]) -> None:
    group = max(case["report"].groups, key=lambda g: g.channels)
    n = group.channels
    assert [len(group_widths(group, 1, k)) for k in (2, 4, 10**6)] == [2, 4, n]
    assert group_widths(group, n // 2, 16) == (n // 2, n)
    coarse, fine = set(group_widths(group, 1, 4)), set(group_widths(group, 1, 8))
    assert coarse <= fine and max(fine) == n
    with pytest.raises(InputError, match="ask for 2 or more"):
        group_widths(group, 1, 1)

"""Candidates with repaired weights are the physically smaller networks with repaired weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from compression.reconstruct.networks import Mixed, correlated, warmed
from given import candidates_of, groups_in, kept_by, space_of
from netsmith.compression.calibrate import collect
from netsmith.compression.channels import GroupReport
from netsmith.compression.groups import find_groups
from netsmith.compression.importance import channel_importance
from netsmith.compression.kept import keep_indices
from netsmith.compression.mixed import LayerQuantizer
from netsmith.compression.placement import layer_inputs, place
from netsmith.compression.quantize import Calibration, quantize_weight, weight_scale
from netsmith.compression.quantizers import linear
from netsmith.compression.reconstruct import Moments, Repair, gather
from netsmith.compression.share import CodebookQuantizer
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.slim import slim
from netsmith.decisions.tools import AtHand
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import Graph, trace
from netsmith.network.passes import set_parameter

SHAPE = (3, 10, 10)
Case = tuple[nn.Module, Graph, GroupReport, Moments, dict[str, np.ndarray], torch.Tensor]


@pytest.fixture(scope="module")
def case() -> Case:
    images = correlated(48)
    model = warmed(Mixed(), images)
    graph = trace(model, SHAPE)
    report = find_groups(model, images[:2])
    moments = gather(graph, model, report.groups, images)
    return model, graph, report, moments, channel_importance(model, report), images


def with_weights(graph: Graph, weights: Mapping[str, torch.Tensor]) -> nn.Module:
    out = graph.copy()
    for name, value in weights.items():
        set_parameter(out.module, name, value)
    return out.module


def designs(space: GivenSpace, count: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    found = [np.array([rng.integers(n) for n in space.decisions.sizes]) for _ in range(count)]
    for d in found:
        d[len(groups_in(space)) :] = space.reference[len(groups_in(space)) :]
    return found


def test_the_case_has_every_kind_of_consumer(case: Case) -> None:
    _, _, _, moments, _, _ = case
    assert {"down", "point", "wide", "join", "inner", "outer", "head"} == set(moments.consumers)
    assert set(moments.skipped) == {"grouped"}
    assert len(moments.consumers["join"].sources) == 2  # a concatenation of two groups
    assert moments.consumers["head"].sources["join"].size == 8 * 25  # flattened


@pytest.mark.parametrize("intercept", [False, True])
def test_masked_and_repaired_equals_sliced(case: Case, intercept: bool) -> None:
    model, graph, report, moments, scores, images = case
    space = space_of(graph, report, [], quantize=False)
    repair = Repair(moments, scores, intercept)
    candidates = candidates_of(space, Calibration({}), LayerQuantizer(graph, {}), scores, repair)
    before = copy.deepcopy(model.state_dict())
    for design in designs(space):
        candidate = candidates.of_design(design)
        slimmed = slim(model, space, design, AtHand(scores, repair))
        with torch.no_grad():
            want, got = with_weights(graph, candidate.weights)(images), slimmed.model.eval()(images)
            plain = slim(model, space, design, AtHand(scores)).model.eval()(images)
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)
        assert sum(p.numel() for p in slimmed.model.parameters()) < sum(p.numel() for p in model.parameters())
        assert float((plain - want).abs().max()) > 0.05  # repair did something
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_repair_brings_the_outputs_nearer_to_those_given(case: Case) -> None:
    model, graph, report, moments, scores, images = case
    space = space_of(graph, report, [], quantize=False)
    design = space.reference - 3
    with torch.no_grad():
        given = model(images)

        def distance(repair: Repair | None) -> float:
            return float((slim(model, space, design, AtHand(scores, repair)).model.eval()(images) - given).norm())

        assert distance(Repair(moments, scores)) < 0.8 * distance(None)


def test_keeping_everything_changes_nothing(case: Case) -> None:
    _, graph, report, moments, scores, _ = case
    repair = Repair(moments, scores)
    everything = {g.name: list(range(g.channels)) for g in report.groups}
    weights = repair.weights(everything)
    assert set(weights) >= {f"{n}.weight" for n in moments.consumers}
    for name, value in weights.items():
        assert torch.equal(value, graph.module.get_parameter(name)), name
    for name in moments.consumers:
        assert repair.error(name, weights[f"{name}.weight"]) == 0
    assert Repair(moments, scores).weights({}) == {}


@pytest.mark.parametrize("intercept", [False, True])
def test_no_layer_is_worse_than_masked(case: Case, intercept: bool) -> None:
    _, graph, report, moments, scores, _ = case
    repair = Repair(moments, scores, intercept)
    rng = np.random.default_rng(0)
    for _ in range(5):
        keep = {
            g.name: keep_indices(rng.random(g.channels), int(rng.integers(1, g.channels)), g.unit)
            for g in report.groups
        }
        weights = repair.weights(keep)
        for name in moments.consumers:
            weight = weights[f"{name}.weight"]
            masked = graph.module.get_parameter(f"{name}.weight") * (weight != 0)
            repaired = repair.error(name, weight, weights.get(f"{name}.bias"))
            assert repaired <= repair.error(name, masked) * (1 + 1e-5)


def test_kept_sets_of_the_ranking_take_the_shared_factor_and_agree_with_others(case: Case) -> None:
    _, _, report, moments, scores, _ = case
    for group in report.groups:
        if group.unit > 1:
            continue
        keep = {group.name: keep_indices(scores[group.name], group.channels // 2)}
        nested = Repair(moments, scores)
        apart = Repair(moments, {n: -s for n, s in scores.items()})  # this kept set is no prefix of that ranking
        assert nested.weights(keep).keys() == apart.weights(keep).keys()
        for name, value in nested.weights(keep).items():
            torch.testing.assert_close(value, apart.weights(keep)[name], rtol=1e-3, atol=1e-4)
            assert nested.weights(keep)[name] is value  # solved once
        assert any(s._factors for s in nested._solvers.values())
        assert not any(s._factors for s in apart._solvers.values())


def test_a_shared_norm_takes_no_intercept() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(n, m, 1, bias=False) for n, m in ((3, 6), (6, 6), (6, 6)))
            self.norm = nn.BatchNorm2d(6)
            self.head = nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.norm(self.b(torch.relu(self.a(x))))
            out: torch.Tensor = self.head(torch.relu(self.norm(self.c(y))).mean((2, 3)))
            return out

    images = correlated(8)
    model = warmed(Shared(), images)
    graph = trace(model, SHAPE)
    moments = gather(graph, model, find_groups(model, images[:2]).groups, images)
    assert moments.consumers["b"].bias is None and moments.consumers["b"].norm is None


def mixed_case(case: Case, bits: tuple[tuple[int, int], ...], codebooks: bool = False) -> tuple[GivenSpace, np.ndarray]:
    _, graph, report, _, _, _ = case
    space = space_of(graph, report, [], bits=bits, codebooks=codebooks)
    design = space.reference.copy()
    design[: len(groups_in(space))] -= 2
    design[len(groups_in(space)) :] = 0
    return space, design


def test_in_mixed_widths_the_repaired_weight_is_what_is_rounded(case: Case) -> None:
    model, graph, report, moments, scores, images = case
    space, design = mixed_case(case, ((4, 4), (8, 8), (4, 8), (8, 4)))
    quantizer = LayerQuantizer(graph, collect(graph, [images], set(layer_inputs(graph, space.quantized).values())))
    repair = Repair(moments, scores)
    candidate = candidates_of(space, Calibration({}), quantizer, scores, repair).of_design(design)
    keep = {n: keep_indices(scores[n], k, report[n].unit) for n, k in kept_by(space, design).items()}
    for name, repaired in repair.weights(keep).items():
        if name.endswith("weight"):
            want = linear.quantize(repaired, linear.fit_scale(repaired, 4), 4)
            torch.testing.assert_close(candidate.weights[name], want)
        else:
            assert torch.equal(candidate.weights[name], repaired)
    small = trace(slim(model, space, design, AtHand(scores, repair)).model, SHAPE)
    own = LayerQuantizer(small, {}).weight("outer", 4)  # what is built in the end has the same values
    kept = keep["inner"]
    rows = keep.get("join", list(range(8)))
    torch.testing.assert_close(own, candidate.weights["outer.weight"][rows][:, kept], rtol=1e-3, atol=1e-4)


def test_int8_scales_are_those_of_the_repaired_weight(case: Case) -> None:
    _, graph, report, moments, scores, images = case
    space, design = mixed_case(case, ((8, 8), (32, 32)))
    calibration = Calibration(collect(graph, [images], place(graph, space.quantized).scaled))
    repair = Repair(moments, scores)
    candidate = candidates_of(space, calibration, LayerQuantizer(graph, {}), scores, repair).of_design(design)
    keep = {n: keep_indices(scores[n], k, report[n].unit) for n, k in kept_by(space, design).items()}
    repaired = repair.weights(keep)["outer.weight"]
    want = quantize_weight(repaired, weight_scale(repaired))
    torch.testing.assert_close(candidate.weights["outer.weight"], want)


def test_shared_values_are_those_of_the_kept_repaired_weights(case: Case) -> None:
    model, _, report, _, scores, images = case
    graph = trace(model, SHAPE, fold=False)
    moments = gather(graph, model, report.groups, images)
    unfolded = (model, graph, report, moments, scores, images)
    space, design = mixed_case(unfolded, ((2, 32), (3, 32)), True)
    repair = Repair(moments, scores)
    quantizer = CodebookQuantizer(graph)
    candidate = candidates_of(space, Calibration({}), quantizer, scores, repair).of_design(design)
    slimmed = slim(model, space, design, AtHand(scores, repair))
    small = trace(slimmed.model, SHAPE, fold=False)
    built = CodebookQuantizer(small)
    head = candidate.weights["head.weight"]  # no row of it goes: what is built has the same values
    values = built.weight("head", slimmed.bits["head"][0]).unique()
    assert len(values) <= 8
    torch.testing.assert_close(values, head[head != 0].unique(), rtol=1e-3, atol=1e-4)


def test_nothing_is_repaired_without_being_asked(case: Case) -> None:
    _, graph, report, _, scores, _ = case
    space = space_of(graph, report, [], quantize=False)
    candidate = candidates_of(space, Calibration({}), LayerQuantizer(graph, {}), scores).of_choice(0, 0)
    assert isinstance(candidate, GraphEdit)
    for name, value in candidate.weights.items():
        given = graph.module.get_parameter(name)
        assert torch.equal(value[value != 0], given[value != 0])

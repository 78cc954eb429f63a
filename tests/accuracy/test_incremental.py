"""Recomputing only what a candidate changes gives what running the changed network from the start gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from given import branches_in, candidates_of, groups_in, space_of
from labelled import evaluator as evaluator_of
from netsmith.accuracy.sensitivity import measure_sensitivity
from netsmith.compression.branches import drop_branches, find_branches
from netsmith.compression.calibrate import collect
from netsmith.compression.channels import GroupReport
from netsmith.compression.groups import find_groups
from netsmith.compression.importance import channel_importance
from netsmith.compression.kept import keep_indices
from netsmith.compression.mixed import LayerQuantizer
from netsmith.compression.placement import place
from netsmith.compression.prune import prune
from netsmith.compression.quantize import Calibration
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import trace
from netsmith.network.load import load_model


@pytest.fixture(scope="module")
def case():  # type: ignore[no-untyped-def]
    model = load_model("zoo:digits").model
    torch.manual_seed(0)
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.randn(32, 1, 8, 8))
    model.eval()
    x = torch.randn(2, 1, 8, 8)
    graph = trace(model, (1, 8, 8))
    report = find_groups(model, x)
    space = space_of(graph, report, find_branches(model, x), multiple=8)
    images, labels = torch.randn(96, 1, 8, 8), torch.randint(0, 10, (96,))
    return model, graph, report, space, images, labels


def from_start(want: torch.Tensor, got: torch.Tensor) -> float:
    reference = F.log_softmax(want, 1)
    return float((reference.exp() * (reference - F.log_softmax(got, 1))).sum(1).mean())


def test_widths_and_branches_match_physical_surgery(case) -> None:  # type: ignore[no-untyped-def]
    import copy

    model, graph, report, space, images, labels = case
    scores = channel_importance(model, report)
    make = candidates_of(space, Calibration({}), LayerQuantizer(graph, {}), scores)
    candidates, networks = [], []
    for d, group in enumerate(groups_in(space)[:3]):
        k = len(space.decisions.decisions[d].choices) // 2
        keep = keep_indices(scores[group.name], int(space.decisions.decisions[d].choices[k]), group.unit)
        candidates.append(make.of_choice(d, k))
        smaller = copy.deepcopy(model)
        prune(smaller, report, {group.name: keep})
        networks.append(smaller)
    for i, branch in enumerate(branches_in(space)[:3]):
        candidates.append(make.of_choice(len(groups_in(space)) + i, 0))
        networks.append(drop_branches(copy.deepcopy(model), [branch]))
    scores_ = evaluator_of(graph, images, labels, batch_size=40).evaluate(candidates)
    with torch.no_grad():
        want = model(images)
        for i, network in enumerate(networks):
            got = network(images)
            assert scores_.divergence[i] == pytest.approx(from_start(want, got), rel=1e-3, abs=1e-7)
            assert scores_.score[i] == pytest.approx(float((got.argmax(1) == labels).float().mean()))
    assert scores_.divergence.min() > 0


def test_unchanged_network_has_no_divergence_and_late_changes_are_cheap(case) -> None:  # type: ignore[no-untyped-def]
    _, graph, _, _, images, labels = case
    evaluator = evaluator_of(graph, images, labels)
    assert evaluator.evaluate([GraphEdit()]).divergence[0] == pytest.approx(0, abs=1e-9)
    last = [n.name for n in graph.module.graph.nodes if n.op == "call_function"][-1]
    late = evaluator.evaluate([GraphEdit(zeros=frozenset({last}))])
    assert late.recomputed < 0.1
    assert late.loss[0] == pytest.approx(np.log(10), rel=1e-5)


def test_sensitivity_is_zero_for_original_and_grows_with_pruning(case) -> None:  # type: ignore[no-untyped-def]
    model, graph, report, space, images, labels = case
    names = set().union(*(place(graph, [n]).scaled for n in space.quantized))
    calibration = Calibration(collect(graph, [images], names))
    evaluator = evaluator_of(graph, images, labels)
    candidates = candidates_of(space, calibration, LayerQuantizer(graph, {}), channel_importance(model, report))
    s = measure_sensitivity(candidates, evaluator)
    rows = np.arange(len(space.decisions))
    assert (s.loss[rows, space.reference] == 0).all()
    for d, n in enumerate(space.decisions.sizes):
        assert np.isinf(s.loss[d, n:]).all() and np.isfinite(s.loss[d, :n]).all()
    first = s.loss[0, : space.decisions.sizes[0]]
    assert (np.diff(first) <= 0).all() and first[0] > 0
    assert type(s).from_dict(s.to_dict()).loss.tolist() == s.loss.tolist()


def test_what_a_transposed_convolution_reads_is_masked_on_its_side() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.ConvTranspose2d(16, 16, 2, 2),
        torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 10),
    ).eval()  # fmt: skip
    x = torch.randn(8, 1, 8, 8)
    graph, report = trace(net, (1, 8, 8)), find_groups(net, x[:2])
    space = space_of(graph, report, [], quantize=False)
    scores = channel_importance(net, report)
    design = space.reference.copy()
    first = space.decisions.index("0.channels")
    design[first] = 0
    candidates = candidates_of(space, Calibration({}), LayerQuantizer(graph, {}, "mse"), scores)
    evaluator = evaluator_of(graph, x, torch.zeros(8, dtype=torch.int64))
    found = evaluator.evaluate([candidates.of_design(design)]).output_error[0]
    small = load_small(net, report, keep_indices(scores["0"], int(space.values[first, 0])))
    with torch.no_grad():
        want = float((small(x) - net(x)).double().square().sum(dim=1).mean())
    assert want > 1e-6 and found == pytest.approx(want, rel=1e-4)


def load_small(net: torch.nn.Module, report: GroupReport, keep: list[int]) -> torch.nn.Module:
    """A copy of the network in which the group "0" keeps some channels."""
    import copy

    small = copy.deepcopy(net)
    prune(small, report, {"0": keep})
    return small

"""The greedy order removes what the remaining channels can make up for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from compression.reconstruct.networks import Mixed, correlated, sample, warmed
from netsmith.compression import GroupReport, channel_importance, find_groups, keep_indices
from netsmith.compression.reconstruct import Moments, Repair, gather, removal_order
from netsmith.compression.reconstruct.solve import LayerSolver
from netsmith.network.graph import trace


def moments_of(model: nn.Module, images: torch.Tensor) -> tuple[Moments, GroupReport]:
    report = find_groups(model, images[:2])
    return gather(trace(model, tuple(images.shape[1:])), model, report.groups, images), report


def error_without(solver: LayerSolver, gone: list[int]) -> float:
    kept = np.setdiff1d(np.arange(solver.weight.shape[1]), gone)
    weight = solver.direct(kept)
    return solver.gram.error(weight - solver.weight, solver.bias_change(weight))


@pytest.mark.parametrize("intercept", [False, True])
def test_each_step_takes_the_channel_whose_refitted_removal_costs_least(intercept: bool) -> None:
    """Against brute force: every candidate of every step solved anew."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4))
    moments, report = moments_of(model, sample(300, 5))
    order = removal_order(moments, report.groups[0], intercept)
    assert order is not None and sorted(order) == list(range(7))
    solver = LayerSolver(moments.grams["2"], moments.consumers["2"].weight(moments.graph), intercept)
    gone: list[int] = []
    for unit in order[:-1]:
        left = [u for u in range(7) if u not in gone]
        errors = {u: error_without(solver, [*gone, u]) for u in left}
        assert errors[int(unit)] == pytest.approx(min(errors.values()), rel=1e-4, abs=1e-9)
        gone.append(int(unit))


def test_blocks_of_columns_of_several_layers_go_together() -> None:
    """A 3x3 convolution and a flattening layer read the group; the first to go has the least summed share of loss."""
    images = correlated(64)
    model = warmed(Mixed(), images)
    moments, report = moments_of(model, images)
    group = report["join"]
    order = removal_order(moments, group, intercept=False)
    assert order is not None
    costs = np.zeros(group.channels)
    for name in ("inner", "head"):
        consumer = moments.consumers[name]
        solver = LayerSolver(moments.grams[name], consumer.weight(moments.graph), False)
        energy = float(((solver.weight @ solver.matrix) * solver.weight).sum())
        member = consumer.sources["join"]
        for unit in range(group.channels):
            columns = consumer.columns(member.index[member.root == unit])
            costs[unit] += error_without(solver, columns.tolist()) / energy
    assert int(order[0]) == int(costs.argmin())


def test_whole_units_go() -> None:
    images = correlated(16)
    moments, report = moments_of(warmed(Mixed(), images), images)
    order = removal_order(moments, report["point"])
    assert order is not None and sorted(order) == [0, 1, 2, 3]  # one channel of each of the two groups that read them


def test_it_beats_l1_where_a_large_channel_is_a_copy_of_others() -> None:
    """Channels 0 and 1 are large and equal: either can stand in for the other. Small channel 2 is on its own."""
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False))
    torch.manual_seed(1)
    with torch.no_grad():
        first = torch.tensor([[4.0, 0, 0, 0], [4.0, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 4.0, 0]])
        model[0].weight.copy_(first)
        model[2].weight.copy_(torch.tensor([[1.0, 1, 0.5, 1], [1, -1, 0.5, 1], [2, 1, -0.5, 1]]))
    images = sample(400, 4)
    moments, report = moments_of(model, images)
    by_l1 = channel_importance(model, report, "l1")
    by_fit = channel_importance(model, report, "reconstruction", moments=moments)
    assert keep_indices(by_l1["0"], 3) == [0, 1, 3]
    assert keep_indices(by_fit["0"], 3) in ([0, 2, 3], [1, 2, 3])
    repair = Repair(moments, by_fit, intercept=False)
    error = {
        k: repair.error("2", repair.weights({"0": keep_indices(s["0"], 3)})["2.weight"])
        for k, s in (("l1", by_l1), ("fit", by_fit))
    }
    assert error["fit"] < 1e-6 < 1e-3 < error["l1"]


def test_greedy_is_close_to_the_best_subset() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 5))
    moments, report = moments_of(model, sample(400, 4))
    order = removal_order(moments, report.groups[0], intercept=True)
    assert order is not None
    solver = LayerSolver(moments.grams["2"], moments.consumers["2"].weight(moments.graph), True)
    errors = [error_without(solver, list(gone)) for gone in itertools.combinations(range(8), 4)]
    found = error_without(solver, order[:4].tolist())
    assert found <= 1.5 * min(errors) and found < np.median(errors)


def test_a_group_without_readers_that_can_be_repaired_is_ranked_by_l2() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.ConvTranspose2d(6, 2, 2))
    moments, report = moments_of(model, correlated(8))
    assert not moments.consumers and "2" in moments.skipped
    got = channel_importance(model, report, "reconstruction", moments=moments)
    np.testing.assert_array_equal(got["0"], channel_importance(model, report, "l2")["0"])

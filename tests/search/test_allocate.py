"""The reference instance of HAWQ-V3-style bit allocation: four layers, bits 2, 4 and 8, exhaustive optima."""

from __future__ import annotations

import numpy as np
import pytest

import netsmith
from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Problem
from netsmith.search.greedy import Greedy
from netsmith.space import CostTable

BITS = np.array([2, 4, 8])
LOSS = np.array([[9.0, 2.0, 0.1], [4.0, 1.0, 0.05], [6.0, 0.8, 0.02], [1.5, 0.5, 0.01]])
SIZE = np.array([10, 20, 40, 80])[:, None] * BITS
TIME = np.array([[6, 7, 8], [4, 6, 10], [3, 5, 9], [5, 5, 6]])
COSTS = {"size": SIZE, "time": TIME}


@pytest.mark.parametrize(
    ("budgets", "tied", "bits", "loss", "size", "time"),
    [
        ({"size": 600}, (), [8, 8, 4, 2], 2.45, 560, 28),
        ({"size": 700}, (), [8, 4, 4, 4], 2.40, 640, 24),
        ({"size": 600, "time": 22}, (), [8, 2, 4, 4], 5.40, 600, 22),
        ({"size": 600}, [(1, 2)], [8, 4, 4, 2], 3.40, 480, 24),
        ({"size": 400}, (), [4, 2, 4, 2], 8.30, 400, 21),
        ({"size": 300}, (), [2, 2, 2, 2], 20.5, 300, 18),
        ({"size": 1200}, (), [8, 8, 8, 8], 0.18, 1200, 33),
        ({}, (), [8, 8, 8, 8], 0.18, 1200, 33),
    ],
)
def test_reference_instance(budgets, tied, bits, loss, size, time):
    got = netsmith.allocate(LOSS, COSTS, budgets, tied)
    assert BITS[got.choice].tolist() == bits
    assert got.loss == pytest.approx(loss) and got.bound == pytest.approx(loss)
    assert got.costs == {"size": size, "time": time}
    assert got.status == "optimal"


def test_reference_instance_infeasible():
    with pytest.raises(InfeasibleError, match="smallest reachable is 300") as caught:
        netsmith.allocate(LOSS, COSTS, {"size": 299})
    assert caught.value.reachable == {"size": 300.0}
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("limit", "bits", "loss"), [(700, [8, 8, 4, 2], 2.45), (400, [4, 4, 2, 2], 10.5)])
def test_reference_greedy_is_not_optimal(limit, bits, loss):
    problem = Problem(LOSS, {"size": CostTable(0.0, SIZE.astype(float))}, {"size": float(limit)})
    design = Greedy(problem, refill=False).ask(1)[0]
    assert BITS[design].tolist() == bits
    assert LOSS[np.arange(4), design].sum() == pytest.approx(loss)
    refilled = Greedy(problem).ask(1)[0]
    assert netsmith.allocate(LOSS, COSTS, {"size": limit}).loss < LOSS[np.arange(4), refilled].sum() <= loss


def test_pinned_layers_keep_their_choice():
    pinned = LOSS.copy()
    pinned[0, :2] = pinned[3, :2] = np.inf
    got = netsmith.allocate(pinned, COSTS, {"size": 850})
    assert BITS[got.choice][[0, 3]].tolist() == [8, 8]


NAN = LOSS.copy()
NAN[1, 1] = np.nan
CLOSED = LOSS.copy()
CLOSED[2] = np.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LOSS[0], COSTS, {}), r"loss has shape \(3,\)"),
        ((NAN, COSTS, {}), "loss has nan at row 1, option 1"),
        ((CLOSED, COSTS, {}), "loss of row 2 is infinite"),
        ((LOSS, {"size": SIZE[:3]}, {}), r"cost 'size' has shape \(3, 3\)"),
        ((LOSS, {"size": NAN}, {}), "cost 'size' has nan at row 1"),
        ((LOSS, {"size": CLOSED}, {}), "row 2 has no option with a finite loss and a finite cost 'size'"),
        ((LOSS, COSTS, {"sise": 1}), r"no cost for the budget 'sise' \(did you mean 'size'\?\)"),
        ((LOSS, COSTS, {"size": -1}), "must be a number that is not negative"),
        ((LOSS, COSTS, {"size": float("nan")}), "must be a number"),
        ((LOSS, COSTS, {"size": "1MB"}), "must be a number"),
        ((LOSS, COSTS, {}, [(1, 4)]), r"outside 0\.\.3"),
        ((LOSS, COSTS, {}, [(0, 1), (1, 2)]), "overlaps"),
        ((LOSS, COSTS, {}, [(1, 1)]), "twice"),
        (([[1, 2], [3]], COSTS, {}), "rectangular"),
    ],
)
def test_input_errors_are_one_sentence(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        netsmith.allocate(*arguments)
    assert "\n" not in str(caught.value)

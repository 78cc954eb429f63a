from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import random_problem
from dp import solve_dp
from relaxed import lagrange
from test_allocate import COSTS, LOSS, SIZE

import netsmith
from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Problem, minimise_cost, solve
from netsmith.space import CostTable, Factor


def reference(limit: float, tied=()) -> Problem:
    return Problem(LOSS, {"size": CostTable(0.0, SIZE.astype(float))}, {"size": float(limit)}, tied)


@pytest.mark.parametrize("tied", [(), [(1, 2)], [(0, 3)]])
@pytest.mark.parametrize("limit", [300, 400, 480, 560, 600, 700, 1200])
def test_reference_instance_on_a_grid_of_whole_costs(limit, tied):
    problem = reference(limit, tied)
    design = solve_dp(problem, cells=max(limit - 300, 1))
    best = netsmith.allocate(LOSS, COSTS, {"size": limit}, tied)
    assert problem.estimate(design)[0] == pytest.approx(best.loss)
    bound = lagrange(problem).bound
    assert bound <= best.loss + 1e-9


def test_reference_instance_infeasible():
    with pytest.raises(InfeasibleError, match=r"size within 299 B \(the smallest reachable is 300 B\)") as caught:
        solve_dp(reference(299))
    assert caught.value.reachable == {"size": 300.0}


@pytest.mark.parametrize("seed", range(8))
def test_random_instances_within_the_grid(seed):
    problem = random_problem(seed, 10, 3, 1, seed % 3 == 0, 0, forbid=seed % 2 == 0)
    limit, groups = problem.budgets["cost0"], len(problem.loss)
    least = minimise_cost(problem, "cost0")[0]
    cells = 200
    design = solve_dp(problem, cells)
    assert problem.feasible(design)[0]
    tighter = limit - groups * (limit - least) / cells
    if tighter >= least:
        worst = solve(replace(problem, budgets={"cost0": tighter})).loss
        assert problem.estimate(design)[0] <= worst + 1e-9
    assert problem.estimate(design)[0] >= solve(problem).loss - 1e-9
    for group in problem.tied:
        assert len(set(design[list(group)])) == 1


def test_what_it_cannot_do_is_said():
    rng = np.random.default_rng(0)
    pairs = tuple(Factor((i, (i + 1) % 10), rng.random((3, 3))) for i in range(10))
    ring = Problem(rng.random((10, 3)), {"c": CostTable(0.0, rng.random((10, 3)), pairs)}, {"c": 12.0})
    with pytest.raises(InputError, match="takes one budget"):
        solve_dp(random_problem(0, 6, 3, 2, False, 0))
    with pytest.raises(InputError, match="coupled in small groups"):
        solve_dp(ring)

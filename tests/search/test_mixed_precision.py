"""Weight and activation bits of each layer together: cross-checks of the exact search at sizes beyond brute force."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from cases import brute_force, mixed_precision
from dp import solve_dp
from relaxed import lagrange
from scipy.optimize import milp

from netsmith.search import Problem, solve, solve_k_best
from netsmith.search.greedy import Greedy
from netsmith.search.random import Random
from netsmith.search.solver.milp import _highs, solve_model
from netsmith.search.solver.program import Far, join, program
from netsmith.search.solver.reduced import reduce
from netsmith.space import CostTable
from work import calls


def far_from(reduced, *cuts, least=1):
    return Far(np.array(cuts, dtype=np.int64).reshape(-1, len(reduced.sizes)), reduced.weight, least)


def tables_of(reduced):
    return [reduced.objective, *reduced.costs.values()]


@pytest.mark.parametrize("budgets", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_small_networks_equal_brute_force(seed, budgets):
    problem = mixed_precision(seed, 3, budgets, 0.2, noise=0.5)
    every, losses = brute_force(problem)
    found = solve_k_best(problem, 12)
    np.testing.assert_allclose([s.loss for s in found], losses[:12], rtol=1e-9)
    assert problem.feasible(np.array([s.choice for s in found])).all()
    assert all(s.bound <= s.loss and s.gap <= 1e-9 for s in found)
    assert len(np.unique([s.choice for s in found], axis=0)) == 12
    assert len(every) > 12


@pytest.mark.parametrize(("budgets", "alpha"), [(1, 0.15), (2, 0.15), (2, 0.4)])
def test_networks_as_large_as_are_searched_take_little_work(monkeypatch: pytest.MonkeyPatch, budgets, alpha):
    """A tenth of a second: work that grows with the layers, and an integer program that need not branch."""
    found = []

    def recorded(*args, **kwargs):
        found.append(milp(*args, **kwargs))
        return found[-1]

    problem = mixed_precision(0, 60, budgets, alpha)
    best = solve(problem)
    with monkeypatch.context() as patch:
        patch.setattr("scipy.optimize.milp", recorded)
        work = calls(lambda: solve(problem))
    assert work < 6 * calls(lambda: solve(mixed_precision(0, 15, budgets, alpha)))  # three times, for four times more
    assert sum(r.mip_node_count for r in found) < 50
    assert best.status == "optimal" and best.gap <= 1e-9
    assert problem.feasible(best.choice)[0]


def test_a_gap_that_is_good_enough_is_kept_and_the_order_too():
    problem = mixed_precision(1, 20, 2, 0.2)
    exact, near = solve_k_best(problem, 6), solve_k_best(problem, 6, gap=1e-3)
    assert all(a.loss <= b.loss + 1e-12 for a, b in pairwise(near))
    assert all(s.gap <= 1e-3 for s in near)
    assert near[0].loss <= exact[0].loss * (1 + 1e-3)
    for a, b in zip(exact, near, strict=True):
        assert b.loss >= a.loss * (1 - 1e-9)
        assert problem.feasible(b.choice)[0]


def test_joining_keeps_an_optimum_and_every_price():
    problem = mixed_precision(4, 4, 3, 0.2)
    reduced = reduce(problem)
    small = join(program(tables_of(reduced), reduced.sizes), far_from(reduced))
    assert [len(m) for m in small.members] == [2] * 4 and not any(t.factors for t in small.tables)
    assert max(small.sizes) < 49
    rng = np.random.default_rng(0)
    x = rng.integers(0, small.sizes, size=(50, 4))
    design = reduced.expand(small.expand(x))
    for small_table, name in zip(small.tables[1:], problem.costs, strict=True):
        np.testing.assert_allclose(small_table.price(x), problem.costs[name].price(design), rtol=1e-11)
    np.testing.assert_allclose(small.tables[0].price(x), problem.estimate(design), rtol=1e-11)


def test_a_dominated_choice_stays_for_the_next_best_design():
    cost = CostTable(0.0, np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]]))
    problem = Problem(np.array([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]]), {"c": cost}, {"c": 3.0})
    reduced = reduce(problem)
    assert join(program(tables_of(reduced), reduced.sizes), far_from(reduced)).sizes == [1, 3]
    assert join(program(tables_of(reduced), reduced.sizes), far_from(reduced, [2, 1])).sizes == [2, 3]
    assert [s.choice.tolist() for s in solve_k_best(problem, 3)] in ([[2, 1], [1, 1], [2, 0]], [[2, 1], [2, 0], [1, 1]])


@pytest.mark.parametrize("seed", range(3))
def test_listing_and_the_integer_program_agree(seed):
    problem = mixed_precision(seed, 12, 2, 0.25)
    reduced = reduce(problem)
    limits = np.array(list(reduced.limits.values()))
    far = far_from(reduced)
    small = join(program(tables_of(reduced), reduced.sizes), far)
    answer = _highs(small, limits, far, np.inf, None, 0.0)
    assert answer.value == pytest.approx(solve(problem).loss, rel=1e-9)
    budgets = [(reduced.costs[n], limit) for n, limit in reduced.limits.items()]
    cut = far_from(reduced, answer.x)
    assert solve_model(reduced.objective, budgets, reduced.sizes, cut).value == pytest.approx(
        _highs(join(program(tables_of(reduced), reduced.sizes), cut), limits, cut, np.inf, None, 0.0).value, rel=1e-9
    )


@pytest.mark.parametrize("distance", [2, 3])
def test_k_best_at_a_distance(distance):
    problem = mixed_precision(2, 3, 2, 0.3, noise=0.3)
    every, losses = brute_force(problem)
    found = solve_k_best(problem, 5, distance=distance)
    expected: list[int] = []
    while len(expected) < 5:
        apart = np.ones(len(every), dtype=bool)
        for i in expected:
            apart &= (every != every[i]).sum(axis=1) >= distance
        expected.append(int(np.flatnonzero(apart)[0]))
    np.testing.assert_allclose([s.loss for s in found], losses[expected], rtol=1e-9)
    designs = np.array([s.choice for s in found])
    apart = (designs[:, None] != designs).sum(axis=2)
    assert (apart[~np.eye(5, dtype=bool)] >= distance).all()


@pytest.mark.parametrize("budgets", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_lagrangian_bound_optimum_and_rounding_are_in_order(seed, budgets):
    problem = mixed_precision(seed, 8, budgets, 0.2)
    best, relaxed = solve(problem).loss, lagrange(problem)
    assert relaxed.bound <= best * (1 + 1e-9)
    assert relaxed.bound >= 0.8 * best  # not merely some bound: the gap of a knapsack is a part of one step
    assert relaxed.rounded is not None and problem.feasible(relaxed.rounded)[0]
    assert problem.estimate(relaxed.rounded)[0] >= best * (1 - 1e-9)
    # The bound is what any multipliers give: recomputed here for those that are reported.
    mu = np.array([relaxed.multipliers[n] for n in problem.budgets])
    assert (mu >= 0).all() and mu.any()
    prices = problem.price(relaxed.designs)
    over = sum(m * (prices[n] - problem.budgets[n]) for n, m in relaxed.multipliers.items())
    assert (problem.estimate(relaxed.designs) + over).min() == pytest.approx(relaxed.bound, rel=1e-6)


def test_hull_points_are_optimal_at_their_own_cost():
    problem = mixed_precision(3, 4, 1, 0.3)
    for design in lagrange(problem).designs[::3]:
        limit = float(problem.costs["latency"].price(design)[0])
        assert solve(replace(problem, budgets={"latency": limit})).loss == pytest.approx(problem.estimate(design)[0])


@pytest.mark.parametrize("cells", [60, 400, 4000])
@pytest.mark.parametrize("seed", range(3))
def test_dynamic_programming_rounds_to_the_safe_side(seed, cells):
    problem = mixed_precision(seed, 8, 1, 0.2)
    limit = problem.budgets["latency"]
    design = solve_dp(problem, cells)
    assert problem.costs["latency"].price(design)[0] <= limit
    low = problem.costs["latency"].price(np.zeros((1, 16), dtype=int))[0]
    step = (limit - low) / cells
    tighter = solve(replace(problem, budgets={"latency": limit - 8 * step}))
    assert solve(problem).loss * (1 - 1e-9) <= problem.estimate(design)[0] <= tighter.loss * (1 + 1e-9)


def test_the_exact_objective_is_at_most_that_of_every_heuristic():
    problem = mixed_precision(5, 15, 2, 0.2)
    best = solve(problem).loss
    for strategy in (Greedy(problem), Random(problem)):
        assert (problem.estimate(strategy.ask(6)) >= best * (1 - 1e-9)).all()


def test_loss_falls_as_limits_are_loosened_from_all_low_to_all_high():
    problem = mixed_precision(6, 10, 2, 0.0)
    low = {n: float(c.price(np.zeros((1, 20), dtype=int))[0]) for n, c in problem.costs.items()}
    high = {n: float(c.price(np.full((1, 20), 6))[0]) for n, c in problem.costs.items()}
    losses = []
    for alpha in (0.0, 0.1, 0.3, 0.6, 1.0):
        limits = {n: low[n] + alpha * (high[n] - low[n]) for n in low}
        losses.append(solve(replace(problem, budgets=limits)).loss)
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(losses))
    assert losses[0] > losses[1] and losses[-1] == pytest.approx(0.0, abs=1e-12)

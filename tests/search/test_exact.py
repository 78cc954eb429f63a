from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from cases import brute_force, designs_of, random_problem
from relaxed import lagrange

from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Problem, minimise_cost, solve, solve_k_best
from netsmith.search.greedy import Greedy
from netsmith.search.random import Random
from netsmith.search.solver.reduced import canonical, reduce
from netsmith.space import CostTable, Factor

CASES = [
    (seed, decisions, choices, budgets, tie, factors, forbid)
    for seed, (decisions, choices, budgets, tie, factors, forbid) in enumerate(
        [
            (12, 2, 1, False, 0, False),
            (10, 3, 1, False, 0, False),
            (10, 3, 3, True, 0, False),
            (12, 3, 2, True, 0, True),
            (8, 3, 1, False, 5, False),
            (8, 3, 2, False, 6, True),
            (8, 3, 3, True, 6, False),
            (9, 3, 2, True, 8, True),
            (7, 4, 2, False, 10, False),
            (6, 5, 3, False, 10, True),
            (10, 2, 2, False, 12, False),
            (12, 3, 3, True, 10, True),
        ]
        * 2
    )
]


@pytest.mark.parametrize("case", CASES)
def test_equals_brute_force(case):
    problem = random_problem(*case)
    designs, losses = brute_force(problem)
    if not len(designs):
        with pytest.raises(InfeasibleError):
            solve(problem)
        return
    best = solve(problem)
    assert best.status == "optimal"
    assert best.loss == pytest.approx(losses[0], rel=1e-9, abs=1e-12)
    assert best.bound <= best.loss and best.gap == pytest.approx(0, abs=1e-7)
    assert problem.feasible(best.choice)[0]
    for group in problem.tied:
        assert len(set(best.choice[list(group)])) == 1
    for name, table in problem.costs.items():
        assert best.costs[name] == table.price(best.choice)[0]


@pytest.mark.parametrize("seed", range(6))
def test_k_best_are_the_best_k_designs(seed):
    problem = random_problem(seed, 5, 3, 2, seed % 2 == 0, 4)
    designs, losses = brute_force(problem)
    found = solve_k_best(problem, 7)
    assert len(found) == min(7, len(designs))
    np.testing.assert_allclose([s.loss for s in found], losses[: len(found)], rtol=1e-9)
    assert len({tuple(s.choice) for s in found}) == len(found)
    rest = solve_k_best(problem, 3, exclude=np.array([s.choice for s in found]))
    np.testing.assert_allclose([s.loss for s in rest], losses[len(found) : len(found) + 3], rtol=1e-9)


def test_k_best_stops_when_there_is_no_more():
    problem = random_problem(1, 3, 2, 1, False, 1)
    designs, _ = brute_force(problem)
    assert len(solve_k_best(problem, 50)) == len(designs)
    assert solve_k_best(problem, 1, exclude=designs) == []


@pytest.mark.parametrize("seed", range(4))
def test_loss_never_rises_when_a_limit_is_loosened(seed):
    problem = random_problem(seed, 7, 3, 1, False, 5)
    least, _ = minimise_cost(problem, "cost0")
    most = problem.costs["cost0"].price(designs_of(problem)).max()
    losses = []
    for alpha in np.linspace(0, 1, 6):
        losses.append(solve(replace(problem, budgets={"cost0": least + alpha * (most - least)})).loss)
    assert all(b <= a + 1e-9 for a, b in pairwise(losses))
    assert losses[-1] == pytest.approx(problem.loss.min(axis=1).sum())


@pytest.mark.parametrize("seed", range(4))
def test_smallest_reachable_cost_is_exact_and_reported(seed):
    problem = random_problem(seed, 7, 3, 2, seed % 2 == 0, 6)
    prices = {n: t.price(designs_of(problem)) for n, t in problem.costs.items()}
    for name in prices:
        value, design = minimise_cost(problem, name)
        assert value == pytest.approx(prices[name].min(), rel=1e-9)
        assert problem.costs[name].price(design)[0] == value
    least = float(prices["cost1"].min())
    with pytest.raises(InfeasibleError, match="cost1") as caught:
        solve(replace(problem, budgets={"cost0": 1e9, "cost1": least * 0.999}))
    assert caught.value.reachable["cost1"] == pytest.approx(least)
    assert caught.value.reachable["cost0"] == pytest.approx(prices["cost0"].min())
    assert solve(replace(problem, budgets={"cost1": least})).costs["cost1"] == pytest.approx(least)


def test_budgets_that_only_clash_together():
    costs = {"a": CostTable(0.0, np.array([[0.0, 3.0]] * 2)), "b": CostTable(0.0, np.array([[3.0, 0.0]] * 2))}
    problem = Problem(np.zeros((2, 2)), costs, {"a": 2.0, "b": 2.0})
    with pytest.raises(
        InfeasibleError, match=r"together; with the others as they are it takes a of at least 6 or b of at least 6"
    ) as e:
        solve(problem)
    assert e.value.reachable == {"a": 0.0, "b": 0.0}
    assert minimise_cost(problem, "a", within=["b"])[0] == pytest.approx(6.0)


def test_bounds_hold_where_a_limit_is_the_least_reachable_cost():
    """The tolerance of a budget lets designs in that rounding puts above the limit; the bound is theirs as well."""
    rng = np.random.default_rng(0)
    for _ in range(6):
        table = CostTable(0.0, rng.random((6, 3)).cumsum(axis=1) / 3)
        least = table.price(np.zeros((1, 6), dtype=int))[0]
        for limit in (least, least * (1 - 5e-10), least * (1 + 1e-12)):
            problem = Problem(np.sort(rng.random((6, 3)))[:, ::-1], {"c": table}, {"c": float(limit)})
            best = solve(problem)
            assert best.choice.tolist() == [0] * 6
            assert lagrange(problem).bound <= best.loss * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_never_worse_than_the_baselines(seed):
    problem = random_problem(seed + 50, 9, 3, 2, True, 8)
    if not len(brute_force(problem)[0]):
        pytest.skip("this draw is infeasible")
    best = solve(problem).loss
    for strategy in (Greedy(problem), Random(problem)):
        designs = strategy.ask(20)
        losses = problem.loss[np.arange(9), designs].sum(axis=1)
        assert (losses >= best - 1e-9).all()


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e9])
def test_units_do_not_matter(scale):
    problem = random_problem(9, 8, 3, 2, False, 6)
    table = problem.costs["cost0"]
    factors = tuple(Factor(f.rows, f.values * scale) for f in table.factors)
    tiny = CostTable(table.fixed * scale, table.unary * scale, factors)
    limits = problem.budgets | {"cost0": problem.budgets["cost0"] * scale}
    other = replace(problem, costs={**problem.costs, "cost0": tiny}, budgets=limits, loss=problem.loss / scale)
    assert solve(other).loss * scale == pytest.approx(solve(problem).loss, rel=1e-9)


def test_a_forbidden_combination_is_avoided():
    values = np.array([[1.0, 1.0], [1.0, np.inf]])
    cost = CostTable(0.0, np.zeros((2, 2)), (Factor((0, 1), values),))
    problem = Problem(np.array([[5.0, 0.0], [3.0, 0.0]]), {"c": cost}, {"c": 10.0})
    assert solve(problem).choice.tolist() == [0, 1] or solve(problem).loss == 3.0
    assert solve(problem).loss == 3.0


def test_a_negative_loss_and_a_zero_budget_are_fine():
    cost = CostTable(0.0, np.array([[0.0, 1.0], [0.0, 2.0]]))
    problem = Problem(np.array([[-1.0, -9.0], [-2.0, -9.0]]), {"c": cost}, {"c": 0.0})
    assert solve(problem).choice.tolist() == [0, 0]
    assert solve(problem).loss == -3.0


def test_separable_factors_vanish_and_pairs_come_out_of_triples():
    rng = np.random.default_rng(0)
    additive = np.add.outer(np.add.outer(rng.random(3), rng.random(4)), rng.random(2))
    pair = additive + rng.random((3, 4))[:, :, None] + rng.random((4, 2))[None]
    unary = np.zeros((3, 4))
    assert canonical(CostTable(0.0, unary, (Factor((0, 1, 2), additive),))).factors == ()
    got = canonical(CostTable(0.0, unary, (Factor((2, 0, 1), pair.transpose(2, 0, 1)),)))
    assert sorted(f.rows for f in got.factors) == [(0, 1), (1, 2)]
    full = canonical(CostTable(0.0, unary, (Factor((0, 1, 2), rng.random((3, 4, 2))), Factor((1, 0), pair[:, :, 0].T))))
    assert [f.rows for f in full.factors] == [(0, 1, 2)]


@pytest.mark.parametrize("seed", range(8))
def test_reduction_keeps_every_price(seed):
    problem = random_problem(seed, 6, 3, 2, seed % 2 == 0, 8, forbid=True)
    reduced = reduce(problem)
    every = designs_of(problem)
    x = reduced.contract(every)
    assert (reduced.expand(x) == every).all()
    for name, table in problem.costs.items():
        np.testing.assert_allclose(reduced.costs[name].price(x), table.price(every), rtol=1e-11, atol=1e-11)


def test_time_limit_gives_a_feasible_design_and_an_honest_bound():
    problem = random_problem(3, 12, 3, 3, False, 12)
    best, quick = solve(problem), solve(problem, time_limit=1e-3)
    assert problem.feasible(quick.choice)[0]
    assert quick.bound <= best.loss + 1e-9 <= quick.loss + 2e-9
    assert quick.gap == pytest.approx((quick.loss - quick.bound) / quick.loss)


def test_tables_that_do_not_fit_are_refused():
    loss = np.zeros((2, 2))
    with pytest.raises(InputError, match="budget 'x' has no cost table"):
        solve(Problem(loss, {}, {"x": 1.0}))
    with pytest.raises(InputError, match="shape"):
        solve(Problem(loss, {"c": CostTable(0.0, np.zeros((3, 2)))}, {}))
    with pytest.raises(InputError, match="decision 0 has no choice"):
        solve(Problem(np.full((1, 2), np.inf), {}, {}))
    with pytest.raises(InputError, match="prices only 1 choices of decision 1"):
        solve(Problem(loss, {"c": CostTable(0.0, loss, (Factor((0, 1), np.zeros((2, 1))),))}, {"c": 1.0}))
    with pytest.raises(InputError, match="no cost 'd'"):
        minimise_cost(Problem(loss, {"c": CostTable(0.0, loss)}, {}), "d")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="C's stdout has a name of its own elsewhere")
def test_what_the_solver_prints_is_not_seen_but_what_others_print_is(capfd: pytest.CaptureFixture[str]) -> None:
    import ctypes

    from netsmith.search.solver.quiet import quiet_library

    with quiet_library():
        with quiet_library():  # as in two threads
            ctypes.CDLL(None).puts(b"chatter of a C library")
        ctypes.CDLL(None).puts(b"more of it")
        print("what another thread prints", flush=True)
    ctypes.CDLL(None).puts(b"what C prints later")
    ctypes.CDLL(None).fflush(None)
    captured = capfd.readouterr()
    assert captured.out.splitlines() == ["what another thread prints", "what C prints later"]
    assert captured.err == ""

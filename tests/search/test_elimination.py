"""Elimination against enumeration: minima, minimisers, marginals, lists of designs; and networks too large for that."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from cases import brute_force, random_problem
from dp import solve_dp
from relaxed import lagrange

from netsmith.search import Problem, solve, solve_k_best
from netsmith.search.solver.elimination import Elimination
from netsmith.search.solver.listing import list_designs
from netsmith.search.solver.reduced import reduce
from netsmith.space import CostTable, Factor


def case(seed: int):  # type: ignore[no-untyped-def]
    """An elimination, random weights, and the weighted sums of all designs."""
    problem = random_problem(seed, 6, 4, 2, seed % 3 == 0, 6, forbid=seed % 2 == 0)
    if seed % 4 == 1:  # a combination that may not be taken
        table = problem.costs["cost0"]
        values = np.zeros((4, 4))
        values[0, 1:] = np.inf
        problem.costs["cost0"] = CostTable(table.fixed, table.unary, (*table.factors, Factor((1, 4), values)))  # type: ignore[index]
    reduced = reduce(problem)
    tables = [reduced.objective, *reduced.costs.values()]
    tree = Elimination(tables, reduced.sizes.tolist())
    weights = np.random.default_rng(seed).random((3, 3))
    every = np.array(list(product(*(range(s) for s in reduced.sizes))))
    return tree, weights, every, weights @ np.array([t.price(every) for t in tables])


@pytest.mark.parametrize("seed", range(8))
def test_minima_and_marginals_equal_those_of_all_designs(seed: int) -> None:
    tree, weights, every, values = case(seed)
    found = tree.run(weights)
    np.testing.assert_allclose(found.least, values.min(axis=1))
    place = {tuple(x): i for i, x in enumerate(every)}
    at = [place[tuple(x)] for x in tree.best(found)]
    np.testing.assert_allclose(values[np.arange(3), at], found.least)
    for group, above in enumerate(tree.marginals(found)):
        for k in range(tree.sizes[group]):
            want = values[:, every[:, group] == k].min(axis=1)
            np.testing.assert_allclose(found.least + above[:, k], want)


@pytest.mark.parametrize("seed", range(8))
def test_lists_hold_all_designs_below_the_limits_or_say_what_is_missing(seed: int) -> None:
    tree, weights, every, values = case(seed)
    limits = np.quantile(np.where(np.isfinite(values), values, 1e9), 0.3, axis=1)
    inside = (values <= limits[:, None]).all(axis=0)
    want = {tuple(x) for x in every[inside]}
    offset = np.array([0.5, 0.25])
    whole = list_designs(tree, tree.run(weights), limits, offset, 10**6)
    assert whole.bound == np.inf and {tuple(x) for x in whole.x} == want
    lookup = {tuple(x): v for x, v in zip(every, values.T, strict=True)}
    np.testing.assert_allclose(whole.sums, np.array([lookup[tuple(x)] for x in whole.x]).reshape(-1, 3))
    most = len(want) // 3
    part = list_designs(tree, tree.run(weights), limits, offset, most)
    missing = np.array([lookup[x] for x in want - {tuple(x) for x in part.x}]).reshape(-1, 3)
    assert len(part.x) <= most < len(want)
    assert (missing[:, :2] - offset).max(axis=1).min() >= part.bound - 1e-9


@pytest.mark.parametrize("seed", range(12))
def test_the_bound_lies_between_that_of_separate_terms_and_the_optimum(seed: int) -> None:
    from netsmith.search.solver.program import program
    from netsmith.search.solver.relaxation import relax

    problem = random_problem(seed, 7, 3, 1 + seed % 2, seed % 3 == 0, 7)
    designs, losses = brute_force(problem)
    if not len(designs):
        pytest.skip("this draw is infeasible")
    reduced = reduce(problem)
    small = program([reduced.objective, *reduced.costs.values()], reduced.sizes)
    apart = relax(small.tables, np.array(list(reduced.limits.values())))[0]
    assert apart - 1e-9 <= lagrange(problem).bound <= losses[0] + 1e-9


def chain(seed: int, layers: int, widths: int, bits: int, budgets: int, share: float) -> Problem:
    """A residual network: widths of a stream and of each block, bits of weights and inputs of each layer."""
    rng = np.random.default_rng(seed)
    decisions = 1 + layers * 3  # the stream; width, weight bits and input bits of each block
    k = max(widths, bits)
    loss = np.full((decisions, k), np.inf)
    for d in range(decisions):
        n = bits if d % 3 != 1 and d else widths
        loss[d, :n] = rng.lognormal() * np.sort(rng.random(n))[::-1]
        loss[d, n - 1] = 0.0
    costs = {}
    for name in ["a", "b"][:budgets]:
        terms = []
        for i in range(layers):
            rows = (0, 3 * i + 1, 3 * i + 2, 3 * i + 3)
            own = [np.arange(1, n + 1) for n in (widths, widths, bits, bits)]
            c_in, c_out, w, a = np.meshgrid(*own, indexing="ij")
            time = np.maximum(c_in * c_out * w * a * rng.random(), rng.random() * c_in * c_out * w + c_out * a)
            terms.append(Factor(rows, np.ceil(time * rng.uniform(0.5, 2.0))))
        costs[name] = CostTable(0.0, np.where(np.isfinite(loss), 0.0, np.inf), tuple(terms))
    top = np.isfinite(loss).sum(axis=1) - 1
    return Problem(loss, costs, {n: share * float(t.price(top)[0]) for n, t in costs.items()})


@pytest.mark.parametrize("seed", range(6))
def test_joint_widths_and_bits_equal_brute_force(seed: int) -> None:
    problem = chain(seed, 3, 3, 3, 1 + seed % 2, 0.4)
    _, losses = brute_force(problem)
    best = solve(problem)
    assert best.status == "optimal"
    assert best.loss == pytest.approx(losses[0], rel=1e-9)
    assert [s.loss for s in solve_k_best(problem, 4)] == pytest.approx(losses[:4].tolist(), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_joint_widths_and_bits_equal_dynamic_programming(seed: int) -> None:
    """With the stream held at one width, layers no longer meet, and the independent program over a grid applies."""
    problem = chain(seed, 6, 8, 7, 1, 0.3)
    held = []
    for width in range(8):
        loss = problem.loss.copy()
        loss[0, np.arange(8) != width] = np.inf
        own = Problem(loss, problem.costs, problem.budgets)
        if problem.costs["a"].price(np.array([width, *[0] * 18]))[0] <= problem.budgets["a"]:
            cells = int(problem.budgets["a"])  # whole costs: a grid of this many cells rounds up by less than one
            held.append(float(own.estimate(solve_dp(own, cells))[0]))
    best = solve(problem)
    assert best.status == "optimal" and best.loss <= min(held) + 1e-9
    tighter = Problem(problem.loss, problem.costs, {"a": problem.budgets["a"] - 7})
    assert min(held) <= solve(tighter).loss + 1e-9


def test_a_network_of_many_widths_is_solved_within_two_budgets() -> None:
    problem = chain(1, 24, 16, 7, 2, 0.35)
    best = solve(problem, gap=0.005)
    assert best.status == "optimal" and best.gap <= 0.005
    assert problem.feasible(best.choice)[0] and best.bound <= best.loss
    relaxed = lagrange(problem)
    assert relaxed.bound <= best.loss and best.loss - relaxed.bound < 0.05 * best.loss


def test_couplings_that_are_too_dense_are_left_to_the_integer_program() -> None:
    rng = np.random.default_rng(0)
    rows = [tuple(int(r) for r in rng.permutation(10)[:2]) for _ in range(40)]
    table = CostTable(0.0, rng.random((10, 3)), tuple(Factor(r, rng.random((3, 3))) for r in rows))
    problem = Problem(rng.random((10, 3)), {"c": table}, {"c": 22.0})
    assert Elimination([table], [9] * 10).cells > 1e6
    assert Elimination.of([table], [40] * 10) is None
    assert solve(problem).loss == pytest.approx(brute_force(problem)[1][0])

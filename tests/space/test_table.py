"""The largest of several sums, against enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Problem, solve
from netsmith.search.registry import get_strategy
from netsmith.space import CostTable, Factor, MaxTable, as_sums

SIZES = (3, 2, 4, 3, 2)
EVERY = np.array(list(product(*(range(n) for n in SIZES))))
THERE = np.arange(4) < np.array(SIZES)[:, None]


def memory(seed: int, steps: int = 6, factors: bool = True) -> MaxTable:
    """What is in use at each step: by some decisions each, and by two together, as a layer reads and writes."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(steps):
        live = rng.random((len(SIZES), 1)) < 0.5
        unary = np.where(THERE, np.sort(rng.uniform(0, 5, THERE.shape), axis=1) * live, np.inf)
        pair = tuple(sorted(rng.choice(len(SIZES), 2, replace=False).tolist()))
        own = (Factor(pair, rng.uniform(0, 3, [SIZES[r] for r in pair])),) if factors and rng.random() < 0.5 else ()
        found.append(CostTable(float(rng.uniform(0, 3)), unary, own))
    return MaxTable(tuple(found))


def by_hand(table: MaxTable, design: np.ndarray) -> float:
    sums = []
    for step in table.steps:
        factors = sum(f.values[tuple(design[list(f.rows)])] for f in step.factors)
        sums.append(step.fixed + sum(step.unary[d, k] for d, k in enumerate(design)) + factors)
    return float(max(sums))


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_sum_is_what_a_design_costs(seed: int) -> None:
    table = memory(seed)
    expected = [by_hand(table, design) for design in EVERY]
    np.testing.assert_allclose(table.price(EVERY), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_no_step_that_is_ever_the_largest_is_dropped_and_without_factors_all_others_by_one_are(seed: int) -> None:
    table = memory(seed, 8, factors=seed % 2 == 0)
    fewer = table.without_dominated()
    np.testing.assert_array_equal(fewer.price(EVERY), table.price(EVERY))
    if seed % 2:  # then the bound is tight: what is left is dominated by no other at all designs
        prices = np.array([step.price(EVERY) for step in fewer.steps])
        assert not any((a <= b).all() for i, a in enumerate(prices) for j, b in enumerate(prices) if i != j)
    assert len(MaxTable((*table.steps, *table.steps)).without_dominated().steps) == len(fewer.steps)


@pytest.mark.parametrize("seed", range(8))
def test_how_far_a_cost_is_beyond_another_is_never_understated(seed: int) -> None:
    a, b = memory(seed, 2, factors=seed % 2 == 0).steps
    most = float((a.price(EVERY) - b.price(EVERY)).max())
    assert a.beyond(b) >= most - 1e-12
    if seed % 2:
        assert a.beyond(b) == pytest.approx(most)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_the_exact_solver_keeps_a_budget_on_a_maximum(seed: int, share: float) -> None:
    rng, table = np.random.default_rng(100 + seed), memory(seed)
    loss = np.where(THERE, np.sort(rng.gamma(0.7, 2.0, THERE.shape), axis=1)[:, ::-1], np.inf)
    work = CostTable(0.0, np.where(THERE, rng.uniform(0, 2, THERE.shape).cumsum(axis=1), np.inf))
    limits = {
        "memory": float(np.quantile(table.price(EVERY), share)),
        "work": float(np.quantile(work.price(EVERY), 0.7)),
    }
    problem = Problem.over({"memory": table, "work": work}, limits, loss)
    fits = (table.price(EVERY) <= limits["memory"] * (1 + 1e-9)) & (work.price(EVERY) <= limits["work"] * (1 + 1e-9))
    assert np.array_equal(problem.feasible(EVERY), fits)
    if not fits.any():
        with pytest.raises(InfeasibleError):
            solve(problem)
        return
    best = solve(problem)
    assert best.status == "optimal"
    assert best.loss == pytest.approx(problem.estimate(EVERY[fits]).min(), rel=1e-9, abs=1e-12)
    assert table.price(best.choice)[0] <= limits["memory"] * (1 + 1e-9)
    for name in ("greedy", "random", "evolution"):
        asked = get_strategy(name, problem, seed=seed).ask(4)
        assert (table.price(asked) <= limits["memory"] * (1 + 1e-9)).all(), name


def test_steps_that_cannot_break_a_limit_are_no_budgets() -> None:
    table = memory(0)
    most = float(table.price(EVERY).max())
    assert as_sums({"memory": table}, {"memory": 3 * most + 100}) == ({}, {})
    sums, limits = as_sums({"memory": table}, {"memory": 0.5 * most})
    assert sums and set(sums) == set(limits) and all(name.startswith("memory (step ") for name in sums)


def test_a_problem_with_a_maximum_is_refused_in_one_sentence() -> None:
    loss = np.where(THERE, 0.0, np.inf)
    with pytest.raises(InputError, match=r"memory is a maximum: make the problem by Problem\.over"):
        Problem(loss, {"memory": memory(0)}, {"memory": 1.0})  # type: ignore[dict-item]

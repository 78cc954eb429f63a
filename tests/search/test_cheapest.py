"""The least cost at a given loss, against brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import designs_of, mixed_precision, random_problem, with_pairs

from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Problem, solve
from netsmith.search.cheapest import least_cost
from netsmith.space import CostTable, Factor, MaxTable


def cheapest_of_all(problem: Problem, cost: CostTable | MaxTable, most: float) -> tuple[np.ndarray, float]:
    every = designs_of(problem)
    every = every[problem.feasible(every) & (problem.estimate(every) <= most * (1 + 1e-9))]
    prices = cost.price(every)
    return every, float(prices.min(initial=np.inf))


CASES = [
    (6, 3, 1, False, 0, False), (7, 3, 2, True, 0, True), (6, 3, 1, False, 5, False), (6, 3, 2, True, 6, False),
    (7, 3, 2, True, 6, True), (5, 4, 3, False, 8, False),
]  # fmt: skip


def held(problem: Problem, without: str) -> Problem:
    """The problem without the budget on one cost."""
    return replace(problem, budgets={n: v for n, v in problem.budgets.items() if n != without})


@pytest.mark.parametrize("seed", range(2 * len(CASES)))
@pytest.mark.parametrize("interacting", [False, True])
def test_equals_brute_force(seed: int, interacting: bool) -> None:
    problem = random_problem(seed, *CASES[seed % len(CASES)])
    if interacting and np.isfinite(problem.loss).all():
        problem = with_pairs(problem, seed)
    cost, rest = problem.costs["cost0"], held(problem, "cost0")
    losses = rest.estimate(designs_of(rest))
    for share in (0.02, 0.2, 0.7):
        most = float(np.quantile(losses, share, method="lower"))
        designs, least = cheapest_of_all(rest, cost, most)
        if not len(designs):
            with pytest.raises(InfeasibleError):
                least_cost(rest, cost, most)
            continue
        design, price, bound = least_cost(rest, cost, most)
        assert price == pytest.approx(least, rel=1e-9) and price == cost.price(design)[0]
        assert bound <= least * (1 + 1e-12) and bound == pytest.approx(least, rel=1e-7)
        assert (designs == design).all(axis=1).any()


@pytest.mark.parametrize("seed", range(8))
def test_the_least_of_a_maximum_equals_brute_force(seed: int) -> None:
    problem = random_problem(seed, 6, 3, 3, seed % 2 == 1, 4)
    cost, rest = MaxTable(tuple(problem.costs.values())), replace(problem, costs={}, budgets={})
    losses = rest.estimate(designs_of(rest))
    for share in (0.05, 0.4):
        most = float(np.quantile(losses, share, method="lower"))
        designs, least = cheapest_of_all(rest, cost, most)
        design, price, bound = least_cost(rest, cost, most)
        assert price == pytest.approx(least, rel=2e-6) and price == cost.price(design)[0]
        assert bound <= least * (1 + 1e-12) and bound >= least * (1 - 2e-6)
        assert (designs == design).all(axis=1).any()


def test_it_is_the_inverse_of_the_least_loss_within_a_budget() -> None:
    problem = mixed_precision(3, 12, 1, 0.4)
    found = solve(problem)
    design, price, bound = least_cost(held(problem, "latency"), problem.costs["latency"], found.loss)
    assert price <= found.costs["latency"] * (1 + 1e-9)
    assert problem.estimate(design[None])[0] == pytest.approx(found.loss, rel=1e-6)
    assert bound == pytest.approx(price, rel=1e-7)


def test_what_a_cost_forbids_is_not_taken() -> None:
    loss = np.array([[3.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    unary = np.array([[1.0, 2.0, 3.0], [1.0, np.inf, 5.0]])
    pair = np.zeros((3, 3))
    pair[0, 0] = np.inf
    cost = CostTable(10.0, unary, (Factor((0, 1), pair),))
    problem = Problem(loss, {}, {})
    for most in (0.0, 1.0, 3.0, 5.0, np.inf):
        _, least = cheapest_of_all(replace(problem, costs={"cost": cost}), cost, most)
        assert least_cost(problem, cost, most).cost == least


def test_scales_do_not_matter() -> None:
    problem = mixed_precision(5, 8, 1, 0.5)
    cost, most = problem.costs["latency"], solve(problem).loss
    plain = least_cost(held(problem, "latency"), cost, most)
    small = CostTable(0.0, 1e-9 * cost.unary, tuple(Factor(f.rows, 1e-9 * f.values) for f in cost.factors))
    assert least_cost(held(problem, "latency"), small, most).cost == pytest.approx(1e-9 * plain.cost, rel=1e-9)


def test_a_loss_that_nothing_keeps_is_said_with_the_least_one() -> None:
    problem = Problem(np.array([[2.0, 1.0], [4.0, 3.0]]), {}, {})
    with pytest.raises(InfeasibleError, match=r"at most 2; the least is 4") as caught:
        least_cost(problem, CostTable(0.0, np.zeros((2, 2))), 2.0)
    assert caught.value.reachable == {"loss": 4.0}
    with pytest.raises(InputError, match="table of shape"):
        least_cost(problem, CostTable(0.0, np.zeros((3, 2))), 9.0)

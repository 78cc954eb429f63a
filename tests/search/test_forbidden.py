"""Factors with forbidden combinations (infinite cells) against enumeration, by every way through the solver."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from cases import brute_force, designs_of, random_problem
from relaxed import lagrange

from netsmith.errors import InfeasibleError
from netsmith.search import Problem, minimise_cost, solve, solve_k_best
from netsmith.search.greedy import Greedy
from netsmith.search.random import Random
from netsmith.search.solver import elimination, program
from netsmith.space import CostTable, Factor

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def forbidding(seed: int) -> Problem:
    """A small problem, about half of whose factors forbid about a sixth of their cells."""
    size = [(7, 3), (6, 4), (5, 5), (9, 2)][seed % 4]
    problem = random_problem(seed, *size, 1 + seed % 3, seed % 3 == 0, [4, 6, 8][seed % 3], seed % 5 == 0)
    rng = np.random.default_rng(seed)
    costs = {}
    for name, table in problem.costs.items():
        cells = [rng.random(f.values.shape) < 0.16 * rng.integers(2) for f in table.factors]
        factors = (Factor(f.rows, np.where(c, np.inf, f.values)) for f, c in zip(table.factors, cells, strict=True))
        costs[name] = CostTable(table.fixed, table.unary, tuple(factors))
    return replace(problem, costs=costs)


@pytest.fixture(params=["joined", "eliminated", "integer program"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small couplings are joined; without that they are eliminated; without that too they are left to HiGHS."""
    if request.param != "joined":
        monkeypatch.setattr(program, "_WHOLE", 0)
    if request.param == "integer program":
        monkeypatch.setattr(elimination, "_CELLS", 0)
    return str(request.param)


@pytest.mark.parametrize("seed", range(10))
def test_forbidden_combinations_equal_brute_force(seed: int, way: str) -> None:
    problem = forbidding(seed)
    designs, losses = brute_force(problem)
    if not len(designs):
        with pytest.raises(InfeasibleError):
            solve(problem)
        return
    best = solve(problem)
    assert best.loss == pytest.approx(losses[0], rel=1e-9, abs=1e-12)
    assert best.bound <= best.loss and problem.feasible(best.choice)[0]
    assert [s.loss for s in solve_k_best(problem, 3)] == pytest.approx(losses[:3].tolist(), rel=1e-9)
    relaxed = lagrange(problem)
    assert -np.inf < relaxed.bound <= losses[0] + 1e-9
    assert np.isfinite(list(relaxed.multipliers.values())).all()
    for name, table in problem.costs.items():
        assert minimise_cost(problem, name)[0] == pytest.approx(table.price(designs_of(problem)).min(), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_strategies_keep_away_from_forbidden_combinations(seed: int) -> None:
    problem = forbidding(seed)
    if not len(brute_force(problem)[0]):
        pytest.skip("this draw is infeasible")
    for strategy in (Greedy(problem), Random(problem, seed=seed)):
        asked = strategy.ask(6)
        assert len(asked) and problem.feasible(asked).all()


def test_where_every_combination_is_forbidden_nothing_is_found(way: str) -> None:
    loss, none = np.zeros((3, 2)), np.zeros((3, 2))
    diagonal = np.where(np.eye(2, dtype=bool), np.inf, 0.0)
    both = (Factor((0, 1), diagonal), Factor((0, 1), diagonal[::-1]))
    ring = (Factor((0, 1), diagonal), Factor((1, 2), diagonal), Factor((0, 2), diagonal))  # three in two colours
    for factors in (both, ring):
        problem = Problem(loss, {"c": CostTable(0.0, none, factors)}, {"c": 1.0})
        assert lagrange(problem).bound == np.inf or lagrange(problem).rounded is None
        with pytest.raises(InfeasibleError):
            solve(problem)


def test_the_expected_cost_of_forbidden_combinations() -> None:
    """The mean over all designs by their probability; infinite if one that is forbidden has some."""
    rng = np.random.default_rng(3)
    values = rng.random((2, 3, 2))
    values[1, 2, 0] = np.inf
    table = CostTable(0.5, rng.random((3, 3)), (Factor((0, 1, 2), values),))
    table.unary[[0, 2], 2] = np.inf
    p = np.array([[0.3, 0.7, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]])
    every = np.array(list(itertools.product(range(2), range(2), range(2))))
    share = p[np.arange(3), every].prod(axis=1)
    assert table.expected(p) == pytest.approx(float(share @ table.price(every)))
    p[1] = [0.2, 0.5, 0.3]
    assert table.expected(p) == np.inf

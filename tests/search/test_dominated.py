"""Ties go to the later, wider choice; the optimum stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import brute_force, random_problem

from netsmith.search import Problem, minimise_cost, solve
from netsmith.search.dominated import without_dominated
from netsmith.space import CostTable, Factor

INF = np.inf


def test_bits_that_cost_nothing_are_the_widest() -> None:
    # weights of two layers cost bytes, their inputs nothing; at 7 bits noise says the loss of 8
    loss = np.array([[3.0, 1.0, 0.0], [2.0, 0.5, 0.5], [3.0, 1.0, 0.0], [0.2, 0.2, 0.2]])
    size = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    problem = Problem(loss, {"size": CostTable(0.0, size)}, {"size": 4.0})
    kept = without_dominated(problem)
    assert np.isfinite(kept.loss).tolist() == [[True] * 3, [False, False, True], [True] * 3, [False, False, True]]
    assert solve(kept).choice[[1, 3]].tolist() == [2, 2] and solve(kept).loss == solve(problem).loss


def test_a_choice_that_saves_somewhere_stays() -> None:
    unary = np.zeros((2, 3))
    values = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 2.0], [1.0, 3.0, 2.0]])
    problem = Problem(
        np.array([[1.0, 0.5, INF], [1.0, 0.5, 0.0]]),
        {"latency": CostTable(0.0, unary, (Factor((0, 1), values),))}, {"latency": 2.0},
    )  # fmt: skip
    kept = np.isfinite(without_dominated(problem).loss)
    assert kept.tolist() == [[True, True, False], [True, False, True]]  # 1 costs what 2 does, or more, and loses more


def test_tied_decisions_lose_a_choice_together() -> None:
    cost = CostTable(0.0, np.array([[0.0, 0.0], [1.0, 2.0]]))
    problem = Problem(np.zeros((2, 2)), {"size": cost}, {"size": 3.0}, [(0, 1)])
    assert np.isfinite(without_dominated(problem).loss).all()
    assert not np.isfinite(without_dominated(replace(problem, tied=())).loss[0, 0])


@pytest.mark.parametrize("seed", range(12))
def test_the_optimum_and_the_least_costs_stay(seed: int) -> None:
    given = random_problem(seed, 6, 4, 1 + seed % 2, seed % 3 == 0, 5, seed % 4 == 0)
    coarse = {
        name: CostTable(
            np.round(t.fixed, 1), np.where(np.isfinite(t.unary), np.round(t.unary, 0), INF),
            tuple(Factor(f.rows, np.round(f.values, 0)) for f in t.factors),
        )
        for name, t in given.costs.items()
    }  # fmt: skip
    problem = replace(given, costs=coarse)
    kept = without_dominated(problem)
    (_, before), (designs, after) = brute_force(problem), brute_force(kept)
    assert len(before) == 0 or after[0] == pytest.approx(before[0])
    assert len(designs) <= len(before)
    for name in coarse:
        assert minimise_cost(kept, name)[0] == pytest.approx(minimise_cost(problem, name)[0])

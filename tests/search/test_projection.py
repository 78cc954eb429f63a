from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import random_problem

from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Problem, minimise_cost
from netsmith.search.agents.projection import RULES, project
from netsmith.space import CostTable, Factor
from work import calls


def bits_problem(layers, share, seed=0):
    """Weights and activations of each layer, 2..8 bits, a latency of a layer's pair; both ends pinned."""
    rng = np.random.default_rng(seed)
    loss = np.tile(4.0 ** -np.arange(7.0), (2 * layers, 1)) * rng.gamma(1.0, 1.0, (2 * layers, 1))
    unary = np.zeros((2 * layers, 7))
    for pinned in (0, 1, 2 * layers - 2, 2 * layers - 1):
        loss[pinned, 1:] = unary[pinned, 1:] = np.inf
    bits = np.arange(2.0, 9.0)
    factors = []
    for i in range(1, layers - 1):
        stream, compute = rng.gamma(2.0, 1.0, 2)
        values = np.maximum(stream * bits[None, :], 0.2 * compute * bits[:, None] * bits[None, :])
        factors.append(Factor((2 * i, 2 * i + 1), values))
    cost = CostTable(1.0, unary, tuple(factors))
    top = np.where(np.isfinite(loss), np.arange(7), 0).max(axis=1)
    return Problem(loss, {"latency": cost}, {"latency": share * float(cost.price(top)[0])}), top


def literally(problem, design):
    """HAQ's rule as the paper says it: one decision at a time, priced from the tables at every step."""
    design, allowed = design.copy(), np.isfinite(problem.loss)
    while not problem.feasible(design)[0]:
        for d in reversed(range(len(design))):
            if design[d] > 0 and allowed[d, design[d] - 1]:
                design[d] -= 1
            if problem.feasible(design)[0]:
                return design
    return design


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_sweep_is_the_rule_of_the_paper(seed, share):
    problem, top = bits_problem(9, share, seed)
    designs = np.random.default_rng(seed).integers(0, top + 1, (12, len(top)))
    designs = np.concatenate([designs, top[None]])
    before = designs.copy()
    got = project(problem, designs)
    assert (designs == before).all()
    assert got.tolist() == [literally(problem, d).tolist() for d in designs]
    assert problem.feasible(got).all() and (got <= designs).all()
    assert (got[:, [0, 1, -2, -1]] == 0).all(), "a pinned decision moved"


def test_sweep_lowers_activations_of_the_last_layer_first():
    problem, top = bits_problem(6, 1.0)
    latency = problem.budgets["latency"]
    got = project(replace(problem, budgets={"latency": 0.999999 * latency}), top[None])[0]
    assert (top - got).tolist() == [0] * 9 + [1] + [0] * 2


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(8))
def test_every_rule_ends_within_the_budgets_and_keeps_ties(rule, seed):
    """Costs that do not rise with the choice, two budgets, ties, forbidden choices: still feasible, still tied."""
    problem = random_problem(seed + 40, 7, 4, 2, True, 6, forbid=seed % 2 == 0)
    sizes = np.isfinite(problem.loss).sum(axis=1)
    designs = np.random.default_rng(seed).integers(0, sizes, (20, 7))
    for group in problem.tied:
        designs[:, group] = designs[:, [group[0]]]
    got = project(problem, designs, rule)
    assert problem.feasible(got).all()
    assert all((got[:, group] == got[:, [group[0]]]).all() for group in problem.tied)
    inside = problem.feasible(designs)
    assert (got[inside] == designs[inside]).all(), "a design within the budgets was changed"


def test_cheapest_gives_up_what_loses_least():
    loss = np.array([[1.0, 0.0], [9.0, 0.0], [2.0, 0.0], [9.0, 0.0]])
    cost = CostTable(0.0, np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 4.0], [0.0, 1.0]]))
    problem = Problem(loss, {"c": cost}, {"c": 6.0})
    top = np.ones((1, 4), dtype=int)
    assert project(problem, top, "cheapest").tolist() == [[1, 1, 0, 1]]  # 4 saved for 2, cheaper than 1 saved for 1
    assert project(problem, top).tolist() == [[1, 1, 1, 0]]
    for seed in range(4):
        problem, top = bits_problem(9, 0.4, seed)
        total = [problem.loss[np.arange(len(top)), project(problem, top[None], r)[0]].sum() for r in RULES]
        assert total[1] < total[0]


@pytest.mark.parametrize("rule", RULES)
def test_an_infeasible_budget_is_said_to_be_so_with_what_is_reachable(rule):
    problem, top = bits_problem(5, 0.01)
    with pytest.raises(InfeasibleError, match="the smallest reachable is") as caught:
        project(problem, top[None], rule)
    assert caught.value.reachable["latency"] == pytest.approx(minimise_cost(problem, "latency")[0])


def test_designs_are_checked():
    problem, top = bits_problem(5, 0.5)
    with pytest.raises(InputError, match="takes a choice that the problem forbids"):
        project(problem, (top + 1)[None])
    with pytest.raises(InputError, match="3 choices, but the problem has 10 decisions"):
        project(problem, top[None, :3])
    with pytest.raises(InputError, match="unknown projection rule 'last'"):
        project(problem, top[None], "last")


def test_no_designs_and_no_budgets():
    problem, top = bits_problem(5, 0.5)
    assert project(problem, np.empty((0, 10), dtype=int)).shape == (0, 10)
    assert (project(replace(problem, budgets={}), top[None]) == top).all()


def test_a_sweep_of_any_number_of_decisions_is_priced_at_once():
    from netsmith.search.agents.projection import Projection
    from netsmith.search.solver.reduced import reduce

    made = {}
    for layers in (30, 60):
        problem, top = bits_problem(layers, 0.2)
        projection = Projection(problem, reduce(problem))
        made[layers] = calls(lambda projection=projection, top=top: projection(top[None]))
    assert made[60] < 1.1 * made[30] and made[60] < 1000  # 489 each: 3 ms; one decision at a time, thousands

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import brute_force, designs_of, random_problem, with_pairs

from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Problem, Results, get_strategy, pair_terms, solve, solve_k_best, told_terms
from netsmith.search.solver.moves import Moves
from netsmith.search.solver.reduced import reduce
from netsmith.space import CostTable, Decision, Factor, Space
from netsmith.testing import check_strategy

CASES = [(8, 3, 1, False, 0), (7, 3, 2, True, 0), (7, 3, 2, True, 5), (6, 4, 1, False, 4), (8, 3, 3, True, 3)]


@pytest.mark.parametrize("seed", range(10))
def test_exact_equals_brute_force_with_pair_terms(seed):
    problem = with_pairs(random_problem(seed + 70, *CASES[seed % 5]), seed)
    designs, losses = brute_force(problem)
    if not len(designs):
        pytest.skip("this draw is infeasible")
    found = solve_k_best(problem, min(4, len(designs)))
    np.testing.assert_allclose([s.loss for s in found], losses[: len(found)], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose([s.loss for s in found], problem.estimate(np.array([s.choice for s in found])))


def test_pair_terms_change_the_optimum_and_loss_alone_does_not_see_it():
    changed = 0
    for seed in range(6):
        plain = random_problem(seed + 70, 7, 3, 1, seed % 2 == 0, 3)
        problem = with_pairs(plain, seed)
        before, after = solve(plain), solve(problem)
        assert after.loss <= problem.estimate(before.choice)[0] + 1e-9
        changed += not np.array_equal(before.choice, after.choice)
    assert changed >= 3


@pytest.mark.parametrize("seed", range(4))
def test_reduction_keeps_the_estimate_of_tied_decisions(seed):
    problem = with_pairs(random_problem(seed, 6, 3, 1, True, 4, forbid=seed > 1), seed, terms=8)
    reduced = reduce(problem)
    every = designs_of(problem)
    x = reduced.contract(every)
    np.testing.assert_allclose(reduced.objective.price(x), problem.estimate(every), rtol=1e-10, atol=1e-10)
    part, own = Moves(reduced).losses(x[:5])
    for v, size in enumerate(reduced.sizes):
        for k in range(size):
            y = x[:5].copy()
            y[:, v] = k
            change = reduced.objective.price(y) - reduced.objective.price(x[:5])
            np.testing.assert_allclose(part[:, v, k] - own[:, v, 0], change, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_greedy_fill_and_uniform_go_by_the_interactions(seed):
    problem = with_pairs(random_problem(seed + 10, 7, 3, 1, False, 3), seed, terms=6)
    best = solve(problem).loss
    for name in ("greedy", "random", "uniform"):
        try:
            designs = get_strategy(name, problem, seed=seed).ask(8)
        except InfeasibleError:
            assert name == "uniform"
            continue
        assert (problem.estimate(designs) >= best - 1e-9).all()
        if name == "uniform":
            assert (np.diff(problem.estimate(designs)) >= -1e-9).all()
            continue
        for design in designs[
            : 1 if name == "greedy" else 8
        ]:  # later ones go by a distorted loss; no single move within the budget lowers the loss, interactions included
            for i in range(7):
                for k in range(3):
                    other = design.copy()
                    other[i] = k
                    gain = problem.estimate(design)[0] - problem.estimate(other)[0]
                    assert gain <= 1e-9 or not problem.feasible(other)[0]


@pytest.mark.parametrize("name", ["exact", "greedy", "random", "evolution"])
def test_strategies_conform_with_interactions(name):
    problem = with_pairs(random_problem(20, 7, 3, 2, True, 6), 1)
    space = Space(tuple(Decision(f"d{i}", "x", (0, 1, 2)) for i in range(7)), tuple(map(tuple, problem.tied)))
    check_strategy(lambda p, s, seed: get_strategy(name, p, s, seed), problem, space)


def test_exact_strategy_rescales_interactions_with_the_table():
    problem = with_pairs(random_problem(12, 6, 3, 1, False, 0), 3)
    every, _ = brute_force(problem)
    strategy = get_strategy("exact", problem)
    asked = strategy.ask(5)
    strategy.tell(asked, Results(100.0 * problem.estimate(asked) + 7.0))
    rest = [tuple(d) for d in every if tuple(d) not in {tuple(a) for a in asked}]
    assert tuple(strategy.ask(1)[0]) == rest[0]


def test_measured_pairs_give_what_the_sum_lacks():
    loss = np.array([[3.0, 1.0, 0.0], [2.0, 0.5, 0.0], [np.inf, 4.0, 0.0]])
    terms = pair_terms(loss, {(0, 0, 1, 0): 9.0, (1, 1, 0, 0): 3.0, (2, 1, 0, 1): 5.0})
    problem = Problem(loss, {}, {}, interactions=terms)
    designs = np.array([[0, 0, 2], [0, 1, 2], [1, 2, 1], [1, 1, 1], [2, 2, 2]])
    assert problem.estimate(designs).tolist() == [9.0, 3.0, 5.0, 5.5, 0.0]
    assert sorted(t.rows for t in terms) == [(0, 1), (0, 2)]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((0, 0, 0, 1), "with itself"),
        ((0, 3, 1, 0), "decision 0 has no choice 3"),
        ((0, 0, 2, 0), "decision 2 has no choice 0"),
        ((0, 0, 5, 0), "decision 5 has no choice 0"),
    ],
)
def test_pairs_that_cannot_be_are_refused(pair, message):
    loss = np.array([[3.0, 1.0, 0.0], [2.0, 0.5, 0.0], [np.inf, 4.0, 0.0]])
    with pytest.raises(InputError, match=message):
        pair_terms(loss, {pair: 1.0})
    with pytest.raises(InputError, match="measure it or leave it out"):
        pair_terms(loss, {(0, 0, 1, 0): float("nan")})
    with pytest.raises(InputError, match="interactions must be finite"):
        solve(Problem(loss, {}, {}, interactions=(Factor((0, 1), np.full((3, 3), np.inf)),)))
    with pytest.raises(InputError, match="prices only 1 choices of decision 1"):
        solve(Problem(loss, {}, {}, interactions=(Factor((0, 1), np.zeros((3, 1))),)))


def test_told_losses_show_which_pair_interacts():
    rng = np.random.default_rng(0)
    loss = np.sort(rng.gamma(1.0, 1.0, (8, 3)), axis=1)[:, ::-1].copy()
    unary = np.tile(np.arange(3.0), (8, 1))
    problem = Problem(loss, {"c": CostTable(0.0, unary)}, {"c": 8.0})
    i, j = (int(d) for d in np.flatnonzero(solve(problem).choice < 2)[:2])
    values = np.zeros((3, 3))
    values[:2, :2] = 6.0  # these two must not both be low, but the estimate has them so
    truth = replace(problem, interactions=(Factor((i, j), values),))
    designs = np.array([s.choice for s in solve_k_best(problem, 24)])
    designs = np.concatenate([designs, get_strategy("random", problem).ask(24)])
    terms = told_terms(
        problem, designs, 5.0 + 2.0 * truth.estimate(designs), [(i, j), ((i + 4) % 8, (j + 4) % 8)], prior=0.1
    )
    learnt = replace(problem, interactions=terms)
    others = get_strategy("random", problem, seed=9).ask(60)

    def explained(p):
        return np.corrcoef(p.estimate(others), truth.estimate(others))[0, 1]

    assert 1 - explained(learnt) < 0.5 * (1 - explained(problem))
    assert truth.estimate(solve(learnt).choice)[0] < truth.estimate(solve(problem).choice)[0]
    with pytest.raises(InputError, match="three evaluated designs"):
        told_terms(problem, designs[:2], np.zeros(2), [(0, 1)])

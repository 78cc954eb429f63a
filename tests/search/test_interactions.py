from __future__ import annotations

import numpy as np
import pytest
from cases import brute_force, designs_of, random_problem, with_pairs

from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Problem, Results, get_strategy, solve, solve_k_best
from netsmith.search.solver.moves import Moves
from netsmith.search.solver.reduced import reduce
from netsmith.space import Decision, Factor, Space
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


def test_interactions_that_cannot_be_are_refused():
    loss = np.array([[3.0, 1.0, 0.0], [2.0, 0.5, 0.0], [np.inf, 4.0, 0.0]])
    with pytest.raises(InputError, match="interactions must be finite"):
        solve(Problem(loss, {}, {}, interactions=(Factor((0, 1), np.full((3, 3), np.inf)),)))
    with pytest.raises(InputError, match="prices only 1 choices of decision 1"):
        solve(Problem(loss, {}, {}, interactions=(Factor((0, 1), np.zeros((3, 1))),)))

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import brute_force, random_problem

from netsmith.errors import InfeasibleError, InputError
from netsmith.search import Problem, Results, get_strategy, register_strategy, strategy_names
from netsmith.search.solver.moves import Moves
from netsmith.search.solver.reduced import reduce
from netsmith.space import CostTable, Decision, Space
from netsmith.study.study import minimize
from netsmith.testing import check_strategy, example_problem

NAMES = ["evolution", "exact", "greedy", "random", "uniform"]


def losses(problem, designs):
    return problem.loss[np.arange(len(problem.loss)), designs].sum(axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_conformance(name):
    check_strategy(lambda problem, space, seed: get_strategy(name, problem, space, seed))


@pytest.mark.parametrize("name", ["exact", "greedy", "random"])
@pytest.mark.parametrize("seed", range(3))
def test_conformance_on_random_problems(name, seed):
    problem = random_problem(seed + 20, 7, 3, 2, True, 6)
    space = Space(tuple(Decision(f"d{i}", "x", (0, 1, 2)) for i in range(7)), tuple(map(tuple, problem.tied)))
    check_strategy(lambda p, s, seed: get_strategy(name, p, s, seed), problem, space)


@pytest.mark.parametrize("name", ["exact", "greedy", "random"])
def test_asks_nothing_twice_and_stops_at_the_last_feasible_design(name):
    problem = random_problem(5, 4, 3, 1, False, 2)
    every, _ = brute_force(problem)
    strategy = get_strategy(name, problem)
    asked = np.concatenate([strategy.ask(16) for _ in range(12)])
    assert len(np.unique(asked, axis=0)) == len(asked)
    if name == "exact":
        assert len(asked) == len(every)
    assert len(asked) > len(every) // 2


@pytest.mark.parametrize("seed", range(4))
def test_moves_are_priced_exactly(seed):
    problem = random_problem(seed, 6, 3, 2, seed % 2 == 0, 8)
    reduced = reduce(problem)
    moves = Moves(reduced)
    rng = np.random.default_rng(seed)
    x = rng.integers(0, reduced.sizes, size=(5, len(reduced.sizes)))
    after = moves.after(x)
    for v, size in enumerate(reduced.sizes):
        for k in range(size):
            y = x.copy()
            y[:, v] = k
            for b, (name, limit) in enumerate(problem.budgets.items()):
                expected = problem.costs[name].price(reduced.expand(y)) / limit
                np.testing.assert_allclose(after[b, :, v, k], expected, rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_random_fills_the_budget(seed):
    problem = random_problem(seed + 30, 9, 3, 2, False, 8)
    if not len(brute_force(problem)[0]):
        pytest.skip("this draw is infeasible")
    designs = get_strategy("random", problem, seed=1).ask(24)
    assert problem.feasible(designs).all()
    for design in designs:
        for i in range(9):
            for k in range(3):
                other = design.copy()
                other[i] = k
                better = problem.loss[i, k] < problem.loss[i, design[i]]
                assert not (better and problem.feasible(other)[0]), "a single move would use the budget better"
    assert len(np.unique(designs, axis=0)) > 12


def test_traps_that_no_single_move_leaves_are_left():
    # The budgets pull two decisions apart: only (0, 1) and (1, 0) fit, and ties make single moves useless elsewhere.
    sums = CostTable(0.0, np.array([[0.0, 1.0, 2.0]] * 2))
    against = CostTable(0.0, np.array([[2.0, 1.0, 0.0]] * 2))
    problem = Problem(np.array([[3.0, 2.0, 0.0], [3.0, 1.0, 0.0]]), {"a": sums, "b": against}, {"a": 2.0, "b": 2.0})
    for name in ("random", "greedy", "exact"):
        designs = get_strategy(name, problem).ask(3)
        assert len(designs) and problem.feasible(designs).all()
        assert (designs.sum(axis=1) == 2).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_infeasible_problem_is_said_to_be_so(name):
    problem, space = example_problem()
    with pytest.raises(InfeasibleError):
        get_strategy(name, replace(problem, budgets={"size": 1e-9}), space).ask(1)


def test_uniform_takes_one_position_for_each_kind():
    decisions = [Decision(f"w{i}", "width", (0.25, 0.5, 0.75, 1.0)) for i in range(3)]
    decisions += [Decision(f"b{i}", "bits", (8, 32)) for i in range(3)]
    loss = np.full((6, 4), np.inf)
    loss[:3] = [3.0, 2.0, 1.0, 0.0]
    loss[3:, :2] = [0.5, 0.0]
    unary = np.where(np.isfinite(loss), np.arange(4.0), np.inf)
    problem = Problem(loss, {"c": CostTable(0.0, unary)}, {"c": 6.0})
    designs = get_strategy("uniform", problem, Space(tuple(decisions))).ask(100)
    assert (designs[:, :3] == designs[:, :1]).all() and (designs[:, 3:] == designs[:, 3:4]).all()
    assert designs[0].tolist() == [2, 2, 2, 0, 0, 0]
    assert len(designs) == 5  # widths 0 and 1 with either precision, width 2 with the low one
    found = losses(problem, designs)
    assert (np.diff(found) >= 0).all()


def test_exact_asks_in_order_and_told_losses_change_the_order():
    problem, space = example_problem()
    _, loss = brute_force(problem)
    strategy = get_strategy("exact", problem, space)
    first = strategy.ask(4)
    np.testing.assert_allclose(losses(problem, first), loss[:4], rtol=1e-9)
    assert (strategy.corrected().loss == problem.loss).all()
    # What was measured disagrees with the table about one choice; the table moves there.
    truth = losses(problem, first) + 5.0 * (first[:, 4] == first[0, 4])
    strategy.tell(first, Results(truth))
    corrected = strategy.corrected().loss
    assert np.isinf(corrected[np.isinf(problem.loss)]).all()
    if len(np.unique(first[:, 4])) > 1:
        other = first[first[:, 4] != first[0, 4]][0, 4]
        shift = corrected[4] - problem.loss[4]
        assert shift[first[0, 4]] > shift[other]
    plain = get_strategy("exact", problem, space, correct=False)
    plain.ask(4)
    plain.tell(first, Results(truth))
    np.testing.assert_allclose(losses(problem, plain.ask(3)), loss[4:7], rtol=1e-9)


def test_exact_correction_learns_a_wrong_table():
    """A table that is blind to one decision: after a few measurements the proposals respect what was measured."""
    rng = np.random.default_rng(0)
    loss = np.sort(rng.random((8, 3)), axis=1)[:, ::-1].copy()
    truth = loss.copy()
    truth[0] = [6.0, 3.0, 0.0]
    unary = np.tile(np.arange(3.0), (8, 1))
    problem = Problem(loss, {"c": CostTable(0.0, unary)}, {"c": 8.0})
    best = losses(Problem(truth, {}, {}), brute_force(replace(problem, loss=truth))[0][:1])[0]
    history = minimize(problem, "exact", lambda d: truth[np.arange(8), d].sum(axis=1), n=20, batch=4)
    blind = minimize(
        problem, get_strategy("exact", problem, correct=False), lambda d: truth[np.arange(8), d].sum(axis=1), 20
    )
    assert history.loss.min() <= blind.loss.min() + 1e-12
    assert history.loss.min() <= best * 1.05 + 1e-9


def test_minimize_evaluates_n_designs_and_returns_the_best():
    problem, space = example_problem()
    history = minimize(problem, get_strategy("random", problem, space), lambda d: losses(problem, d), n=20, batch=6)
    assert history.designs.shape == (20, 6) and history.loss.shape == (20,)
    assert losses(problem, history.best[None])[0] == history.loss.min()


def test_registry():
    assert set(NAMES) <= set(strategy_names())
    problem, _ = example_problem()
    with pytest.raises(InputError, match=r"unknown strategy 'gredy' \(did you mean 'greedy'\?\)"):
        get_strategy("gredy", problem)
    with pytest.raises(InputError, match="the space has 1 decisions"):
        get_strategy("random", problem, Space((Decision("a", "x", (1, 2)),)))
    with pytest.raises(InputError, match="got an unexpected keyword argument 'colour'"):
        get_strategy("greedy", problem, colour=1)


def test_registering_a_strategy():
    problem, space = example_problem()

    class Fixed:
        def __init__(self, problem, space, seed):
            self.seed = seed

    register_strategy("fixed-for-test")(Fixed)
    assert get_strategy("fixed-for-test", problem, space, seed=4).seed == 4

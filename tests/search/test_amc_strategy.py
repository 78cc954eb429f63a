from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import designs_of, random_problem

from netsmith.errors import InputError
from netsmith.search import Problem, Results, get_strategy
from netsmith.search.agents.bounded import BoundedSteps
from netsmith.search.agents.ddpg import DdpgConfig
from netsmith.search.solver.moves import Moves
from netsmith.search.solver.reduced import reduce
from netsmith.space import CostTable, Decision, Factor, Space
from netsmith.testing import check_strategy
from work import calls

SMALL = DdpgConfig(hidden=(16,), warmup=3, batch=8)


def widths(decisions, choices, tied=()):
    return Space(tuple(Decision(f"d{i}", "channels", tuple(range(1, choices + 1))) for i in range(decisions)), tied)


@pytest.mark.parametrize("reward_on", ["every", "last"])
def test_conformance(reward_on):
    check_strategy(lambda p, s, seed: get_strategy("amc", p, s, seed, config=SMALL, reward_on=reward_on), rounds=4)


@pytest.mark.parametrize("seed", range(3))
def test_conformance_on_random_problems(seed):
    problem = random_problem(seed + 20, 7, 3, 2, True, 6)
    space = widths(7, 3, tuple(map(tuple, problem.tied)))
    check_strategy(lambda p, s, seed: get_strategy("amc", p, s, seed, config=SMALL), problem, space)


@pytest.mark.parametrize("seed", range(8))
def test_the_bound_is_what_brute_force_says(seed):
    """Coupled costs that need not rise with the choice, two budgets, ties and forbidden choices."""
    problem = random_problem(seed + 40, 7, 4, 2, True, 6, forbid=seed % 2 == 0)
    steps = BoundedSteps(problem, widths(7, 4), fill=False)
    floor = steps.projection.floor
    rng = np.random.default_rng(seed)
    walk = steps.begin(12)
    while not walk.is_over:
        v, x = steps.free[walk.step], walk.x.copy()
        assert (x[:, steps.free[walk.step :]] == floor[steps.free[walk.step :]]).all()
        fits = np.empty((12, steps.sizes[walk.step]), dtype=bool)
        for k in range(fits.shape[1]):
            x[:, v] = k
            fits[:, k] = problem.feasible(steps.reduced.expand(x))
        assert (walk.allowed() == fits).all() and fits.any(axis=1).all()
        actions = rng.random(12)
        wanted = steps.choice(walk.step, actions)
        walk.act(actions)
        for i, (choice, want) in enumerate(zip(walk.x[:, v], wanted, strict=True)):
            below = np.flatnonzero(fits[i, : want + 1])
            assert choice == (below[-1] if len(below) else np.flatnonzero(fits[i])[0])
    designs = steps.reduced.expand(walk.x)
    assert problem.feasible(designs).all() and (walk.designs() == designs).all()
    every = designs_of(problem)
    assert (every[:, None] == designs).all(axis=2).any(axis=0).all(), "a tie or a forbidden choice"


def test_a_plateau_costs_nothing_and_a_dearer_small_width_is_passed_over():
    """Widths in blocks of two cost alike, and the narrowest is slower than the next."""
    unary = np.array([[1.0, 1.0, 2.0, 2.0, 3.0, 3.0], [2.5, 1.0, 2.0, 2.0, 3.0, 3.0]])
    problem = Problem(np.zeros((2, 6)), {"c": CostTable(0.0, unary)}, {"c": 4.0})
    steps = BoundedSteps(problem, widths(2, 6), fill=False)

    def design(*actions):
        walk = steps.begin(1)
        for action in actions:
            walk.act(np.array([action]))
        return walk.designs()[0].tolist()

    assert design(1.0, 1.0) == [1, 5]  # the first keeps 2.5 for the other's floor, and takes all that a plateau gives
    assert design(3 / 6, 1.0) == [1, 5]
    assert design(0.0, 0.0) == [0, 0]
    tight = replace(problem, budgets={"c": 2.0})  # the floor itself is found exactly: (0 or 1, 1)
    steps = BoundedSteps(tight, widths(2, 6), fill=False)
    assert design(1.0, 0.0) == [1, 1], "the narrowest breaks the budget, the nearest above does not"


@pytest.mark.parametrize("seed", range(8))
def test_what_would_leave_the_budgets_unused_is_not_allowed(seed):
    """Some budget is reached with everything still to come at its last choice, wherever a choice can reach one."""
    problem = random_problem(seed + 40, 7, 4, 2, True, 6, forbid=seed % 2 == 0)
    filled, capped = (BoundedSteps(problem, widths(7, 4), fill=fill) for fill in (True, False))
    rng = np.random.default_rng(seed)
    walk, below = filled.begin(12), capped.begin(12)
    while not walk.is_over:
        v, high = filled.free[walk.step], walk.x.copy()
        high[:, filled.free[walk.step :]] = filled.top[filled.free[walk.step :]]
        short = np.empty((12, filled.sizes[walk.step]))
        for k in range(short.shape[1]):
            high[:, v] = k
            costs = problem.price(filled.reduced.expand(high))
            short[:, k] = np.min([np.maximum(1 - costs[n] / b, 0.0) for n, b in problem.budgets.items()], axis=0)
        within = below.allowed()
        for allowed, room, lacks in zip(walk.allowed(), within, short < 1e-6, strict=True):
            assert allowed.any() and not (allowed & ~room).any()
            if (room & lacks).any():
                assert (allowed >= (room & lacks)).all()
                assert not (allowed & ~lacks)[: np.flatnonzero(room & lacks)[0]].any()
        walk.act(rng.random(12))
        below.take(walk.x[:, v])
    designs = walk.designs()
    assert problem.feasible(designs).all() and (filled.reduced.expand(walk.x) == designs).all()


def test_random_episodes_use_the_budget_up():
    """Where cost rises with every choice, not one more of the last layer would fit."""
    unary = np.tile(np.arange(1.0, 9.0), (6, 1))
    problem = Problem(np.zeros((6, 8)), {"c": CostTable(0.0, unary)}, {"c": 24.0})
    for fill, least in ((True, 24.0), (False, 6.0)):
        walk = BoundedSteps(problem, widths(6, 8), fill=fill).begin(200)
        rng = np.random.default_rng(0)
        while not walk.is_over:
            walk.act(0.6 * rng.random(200))
        costs = problem.price(walk.designs())["c"]
        assert costs.max() <= 24.0 and costs.min() >= least and (costs.min() < 24.0) == (not fill)


@pytest.mark.parametrize("seed", range(4))
def test_parts_of_one_variable_are_those_of_all(seed):
    problem = random_problem(seed, 6, 3, 2, seed % 2 == 0, 8)
    reduced = reduce(problem)
    x = np.random.default_rng(seed).integers(0, reduced.sizes, size=(5, len(reduced.sizes)))
    for table in Moves(reduced).tables:
        part = table.part(x)
        for v in range(len(reduced.sizes)):
            np.testing.assert_allclose(table.part_one(x, v), part[:, v], rtol=1e-12)


def test_what_is_remembered_is_what_was_executed_as_ratios():
    unary = np.tile(np.arange(1.0, 5.0), (3, 1))
    problem = Problem(np.zeros((3, 4)), {"c": CostTable(0.0, unary)}, {"c": 6.0})
    kinds = Space((*widths(2, 4).decisions, Decision("b", "bits", (2, 4, 8, 32))))
    strategy = get_strategy("amc", problem, kinds, config=SMALL, reward_scale=0.5)
    designs = strategy.ask(1)
    strategy.tell(designs, Results(np.array([2.0])))
    rows = strategy.agent.replay._rows[:3]
    expected = [*((designs[0, :2] + 1) / 4), (designs[0, 2] + 0.5) / 4]
    np.testing.assert_allclose(rows[:, -3], expected, rtol=1e-6)
    np.testing.assert_allclose(rows[:, -2], -1.0)
    np.testing.assert_allclose(rows[:, strategy.steps.width - 1], [1.0, *expected[:2]], rtol=1e-6)


def test_bits_beside_widths_have_equal_shares():
    problem = Problem(np.zeros((2, 4)), {}, {})
    space = Space((Decision("w", "channels", (1, 2, 3, 8)), Decision("b", "w_bits", (2, 4, 8, 32))))
    steps = BoundedSteps(problem, space)
    actions = np.array([0.0, 0.12, 0.13, 0.25, 0.26, 0.374, 0.3751, 0.99, 1.0])
    assert steps.choice(0, actions).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    assert steps.choice(1, actions).tolist() == [0, 0, 0, 1, 1, 1, 1, 3, 3]
    assert steps.action(0, np.arange(4)).tolist() == [0.125, 0.25, 0.375, 1.0]
    single = steps.action(0, np.arange(4)).astype(np.float32).astype(float)
    assert steps.choice(0, single).tolist() == [0, 1, 2, 3]
    assert steps.width == 2 + 2 + 1, "nothing to save, nothing of it in the state"


def test_options_are_checked():
    problem = Problem(np.zeros((2, 3)), {"c": CostTable(0.0, np.ones((2, 3)))}, {})
    with pytest.raises(InputError, match="unknown reward 'error'"):
        get_strategy("amc", problem, reward="error")
    with pytest.raises(InputError, match="no cost 'macs' to save"):
        get_strategy("amc", problem, resource="macs")
    with pytest.raises(InputError, match=r"strategy 'amc'.*'rule'"):
        get_strategy("amc", problem, rule="sweep")
    assert BoundedSteps(problem, resource="c").width == 2 + 1 + 2 + 1


def test_a_step_of_an_episode_is_the_same_work_in_long_episodes_and_in_many():
    rng = np.random.default_rng(0)
    share = np.arange(1, 9) / 8

    def episode(decisions, rows):
        pairs = tuple(Factor((i, i + 1), rng.gamma(2.0) * share[:, None] * share) for i in range(decisions - 1))
        cost = CostTable(1.0, np.zeros((decisions, 8)), pairs)
        steps = BoundedSteps(Problem(np.zeros((decisions, 8)), {"macs": cost}, {"macs": 40.0}), widths(decisions, 8))

        def run():
            walk = steps.begin(rows)
            while not walk.is_over:
                walk.state()
                walk.act(rng.random(rows))

        return run

    made = calls(episode(54, 1))
    assert made < 250 * 54  # 185 a step, which is a tenth of a millisecond; not a price of every decision in each
    assert made < 2.2 * calls(episode(27, 1)) and calls(episode(54, 20)) < 1.1 * made

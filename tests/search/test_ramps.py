from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netsmith.errors import InfeasibleError
from netsmith.search import Problem, get_strategy
from netsmith.space import CostTable, Decision, Factor, Space
from netsmith.testing import check_strategy

NAMES = ["shallow", "deep", "uniform"]


def chain(layers=12, share=0.5, bits=False, seed=0):
    """Widths in eighths, a layer's cost the product of its own and the one before; and bits that cost by themselves."""
    rng = np.random.default_rng(seed)
    decisions = [Decision(f"w{i}", "channels", tuple(range(1, 9))) for i in range(layers)]
    decisions += [Decision(f"b{i}", "bits", (8, 32)) for i in range(layers if bits else 0)]
    ratio, unary = np.arange(1, 9) / 8, np.full((len(decisions), 8), np.inf)
    unary[:layers] = 0.0
    unary[layers:, :2] = [0.25, 1.0]
    pairs = tuple(Factor((i, i + 1), rng.uniform(0.5, 1.5) * ratio[:, None] * ratio) for i in range(layers - 1))
    cost = CostTable(0.0, unary, pairs)
    loss = np.where(np.isfinite(unary), rng.gamma(1.0, 1.0, (len(decisions), 1)) * np.arange(8)[::-1], np.inf)
    loss[layers:, :2] = [0.1, 0.0]
    space = Space(tuple(decisions))
    return Problem(loss, {"macs": cost}, {"macs": share * float(cost.price(space.sizes - 1)[0])}), space


@pytest.mark.parametrize("name", ["shallow", "deep"])
def test_conformance(name):
    check_strategy(lambda problem, space, seed: get_strategy(name, problem, space, seed))
    check_strategy(lambda problem, space, seed: get_strategy(name, problem, space, seed), *chain())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_baselines_fill_the_budget(name, share):
    problem, space = chain(share=share)
    prices = problem.costs["macs"].price(get_strategy(name, problem, space).ask(500)) / problem.budgets["macs"]
    assert (prices <= 1 + 1e-9).all() and prices.max() > 0.92


@pytest.mark.parametrize(("name", "sign"), [("shallow", 1), ("deep", -1)])
def test_ramps_are_monotone_over_depth_and_none_is_asked_twice(name, sign):
    problem, space = chain()
    designs = get_strategy(name, problem, space).ask(100)
    assert len(designs) > 8 and len(np.unique(designs, axis=0)) == len(designs)
    slope = np.diff(designs, axis=1) * sign
    assert (slope >= 0).all() and (slope.sum(axis=1) > 0).any()
    assert (slope[(designs < 7).all(axis=1) & (designs > 0).all(axis=1)] <= 1).all()
    spent = problem.costs["macs"].price(designs)
    assert spent.min() > 0.85 * problem.budgets["macs"], "every slope has its own level at the budget"
    loss = problem.estimate(designs)
    assert (np.diff(loss) >= 0).all()


def test_uniform_widths_differ_by_one_step_at_most():
    problem, space = chain()
    designs = get_strategy("uniform", problem, space).ask(500)
    assert (np.ptp(designs, axis=1) <= 1).all() and (np.ptp(designs, axis=1) == 0).sum() == 5
    used = problem.costs["macs"].price(designs)
    assert used[np.ptp(designs, axis=1) == 0].max() < 0.9 * used.max(), "the finer positions are what fills it"


def test_other_decisions_stay_at_their_last_choice_unless_the_budget_needs_them():
    problem, space = chain(bits=True, share=0.7)
    for name in ("shallow", "deep"):
        assert (get_strategy(name, problem, space).ask(50)[:, 12:] == 1).all()
        tight = replace(problem, budgets={"macs": 4.0})  # bits alone cost 12 at their last choice and 3 at the first
        designs = get_strategy(name, tight, space).ask(50)
        assert len(designs) and (designs[:, 12:] == 0).all() and problem.costs["macs"].price(designs).max() <= 4.0
        with pytest.raises(InfeasibleError, match=f"no {name} design keeps MACs within 1 .the smallest reachable is 3"):
            get_strategy(name, replace(problem, budgets={"macs": 1.0}), space).ask(1)


def test_without_widths_everything_is_on_the_ramp():
    problem, _ = chain()
    designs = get_strategy("deep", problem).ask(10)
    assert (np.diff(designs, axis=1) <= 0).all() and designs.std(axis=1).max() > 0

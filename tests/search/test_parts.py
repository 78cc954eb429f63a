"""Decisions in parts of unlike scales: the exact strategy tries them apart and learns the scale of each."""

from __future__ import annotations

import json
from copy import deepcopy

import numpy as np
import pytest

from netsmith.errors import InfeasibleError
from netsmith.search import Problem, Results, solve
from netsmith.search.exact_strategy import Exact
from netsmith.search.ridge import part_scales
from netsmith.space import CostTable, Factor
from netsmith.study.study import minimize

PARTS = (range(8), range(8, 20))


def unlike(seed: int, share: float = 0.45) -> tuple[Problem, Problem]:
    """A problem as it is estimated, and as it is: the first part loses five times what the estimate says."""
    rng = np.random.default_rng(seed)
    loss = np.sort(rng.gamma(1.0, 1.0, (20, 5)), axis=1)[:, ::-1]
    loss = loss - loss[:, -1:]
    unary = rng.gamma(2.0, 1.0, (20, 5)).cumsum(axis=1)
    pairs = tuple(Factor((d, 8 + d), np.outer(np.arange(1, 6), np.arange(1, 6)) * rng.random()) for d in range(8))
    table = CostTable(0.0, unary, pairs)
    top = float(table.price(np.full(20, 4))[0])
    problem = Problem(loss, {"c": table}, {"c": share * top})
    real = loss.copy()
    real[:8] *= 5.0
    return problem, Problem(real, problem.costs, problem.budgets)


def test_the_first_designs_are_the_optimum_and_each_part_alone() -> None:
    problem, _ = unlike(0, share=0.7)
    asked = Exact(problem, parts=PARTS).ask(5)
    assert problem.feasible(asked).all() and len(np.unique(asked, axis=0)) == 5
    assert problem.estimate(asked[:1])[0] == pytest.approx(solve(problem).loss)
    alone = [all((x[list(q)] == 4).all() for q in PARTS if q != p) for p in PARTS for x in asked[1:3]]
    assert sum(alone) == 2
    plain = Exact(problem).ask(5)
    assert not any((x[list(p)] == 4).all() for x in plain for p in PARTS)


def test_a_part_that_cannot_keep_the_budget_alone_is_left_out() -> None:
    problem, _ = unlike(1, share=0.3)
    asked = Exact(problem, parts=PARTS).ask(4)
    assert len(asked) == 4 and problem.feasible(asked).all()
    impossible = Problem(problem.loss, problem.costs, {"c": 0.0})
    with pytest.raises(InfeasibleError):
        Exact(impossible, parts=PARTS).ask(1)


@pytest.mark.parametrize("seed", range(4))
def test_told_losses_give_each_part_its_scale(seed: int) -> None:
    problem, real = unlike(seed)
    best = {}
    for name, parts in (("parts", PARTS), ("sums", ())):
        strategy = Exact(problem, parts=parts)
        best[name] = float(minimize(problem, strategy, real.estimate, 16, batch=8).loss.min())
        assert len({tuple(x) for x in strategy._asked}) == 16
    optimum = solve(real).loss
    assert best["parts"] <= optimum * 1.02
    assert best["parts"] <= best["sums"]


def test_scales_are_found_where_designs_tell_and_common_elsewhere() -> None:
    rng = np.random.default_rng(0)
    sums = rng.random((20, 3))
    np.testing.assert_allclose(part_scales(sums, sums @ np.array([4.0, 1.0, 2.0])), [4, 1, 2], rtol=0.1)
    silent = part_scales(np.column_stack([sums[:, 0], np.zeros(20)]), 3.0 * sums[:, 0])
    np.testing.assert_allclose(silent, [3.0, 3.0], rtol=0.05)
    assert (part_scales(sums, np.zeros(20)) > 0).all()


def test_the_same_network_is_asked_for_once() -> None:
    """The first decision may drop what the next four are about, whose choices then change nothing."""
    rng = np.random.default_rng(2)
    loss = np.sort(rng.gamma(1.0, 1e-6, (9, 4)), axis=1)[:, ::-1]
    loss[0] = [0.0, 3.0, 4.0, 5.0]  # dropping is best
    loss[5:] *= 1e6
    costs = CostTable(0.0, rng.gamma(2.0, 1.0, (9, 4)).cumsum(axis=1))
    problem = Problem(loss, {"c": costs}, {"c": 0.6 * float(costs.price(np.full(9, 3))[0])})

    def canonical(design: np.ndarray) -> np.ndarray:
        out = design.copy()
        if out[0] == 0:
            out[1:5] = 3
        return out

    def networks(asked: np.ndarray) -> int:
        return len({tuple(canonical(x)) for x in asked})

    assert networks(Exact(problem).ask(12)) < 12
    strategy = Exact(problem, canonical=canonical)
    asked = np.concatenate([strategy.ask(6), strategy.ask(6)])
    assert len(asked) == networks(asked) == 12 and problem.feasible(asked).all()


def test_every_network_is_asked_for_once_where_several_designs_are_one() -> None:
    loss = np.tile(np.array([0.0, 0.1, 0.2]), (3, 1))
    strategy = Exact(Problem(loss, {}, {}), canonical=lambda d: np.where(d == 1, 0, d))
    asked = [tuple(d) for _ in range(20) for d in strategy.ask(1)]
    networks = {tuple(np.where(np.array(d) == 1, 0, d)) for d in asked}
    assert len(asked) == len(networks) == 8 and len(strategy.ask(4)) == 0


def test_parts_that_are_tied_together_stay_together() -> None:
    """A decision of one part is tied to one of the other, which has one choice less."""
    problem, real = unlike(3, share=0.7)
    loss = problem.loss.copy()
    loss[9, 4] = np.inf
    tied = Problem(loss, problem.costs, problem.budgets, [[0, 9]])
    strategy = Exact(tied, parts=PARTS)
    asked = [x for _ in range(4) for x in told(strategy, real, 4)]
    assert len({tuple(x) for x in asked}) == 16
    assert all(x[0] == x[9] < 4 for x in asked) and tied.feasible(np.array(asked)).all()
    assert any((x[:8] == tied.reference[:8]).all() for x in asked)


def told(strategy: Exact, real: Problem, n: int) -> np.ndarray:
    asked = strategy.ask(n)
    strategy.tell(asked, Results(real.estimate(asked)))
    return asked


@pytest.mark.parametrize("seed", range(3))
def test_what_one_part_can_do_alone_is_not_lost(seed: int) -> None:
    """Sums promise much of a first part that in truth ruins everything: the second has its share."""
    problem, real = unlike(seed, share=0.75)
    loss = real.loss.copy()
    loss[:8, :4] += 30.0
    real = Problem(loss, real.costs, real.budgets)
    n = 16
    joint = minimize(problem, Exact(problem, parts=PARTS), real.estimate, n)
    alone = problem.held(np.arange(20) < 8)
    part = minimize(alone, Exact(alone), real.estimate, n // 2)
    assert joint.loss.min() <= part.loss.min() * 1.05
    inside = (joint.designs[:, :8] == 4).all(axis=1)
    assert inside.sum() >= n // 2  # what is far behind has no share
    first = minimize(problem, Exact(problem), real.estimate, n)
    assert joint.loss.min() <= first.loss.min()


def test_restored_in_the_middle_it_asks_for_the_same() -> None:
    problem, real = unlike(5, share=0.75)
    strategy = Exact(problem, parts=PARTS)
    for _ in range(4):
        told(strategy, real, 3)
        other = Exact(problem, parts=PARTS)
        other.load_state_dict(json.loads(json.dumps(strategy.state_dict())))
        assert np.array_equal(other.ask(5), deepcopy(strategy).ask(5))


def test_asked_one_by_one_each_part_has_its_turn() -> None:
    problem, real = unlike(0, share=0.75)
    strategy = Exact(problem, parts=PARTS)
    asked = np.concatenate([told(strategy, real, 1) for _ in range(3)])
    assert np.array_equal(asked, Exact(problem, parts=PARTS).ask(3))

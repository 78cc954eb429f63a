"""Searches by error weighed against a cost, and the candidates for a front that they leave."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.search import get_strategy
from netsmith.search.agents.amc_strategy import AmcStrategy
from netsmith.search.agents.ddpg import DdpgConfig
from netsmith.search.registry import Traits, strategy_names, strategy_spec
from netsmith.search.strategy import Problem
from netsmith.study.evaluator import Outcome
from netsmith.study.guaranteed import UNITS, Weighed, accuracy_guaranteed

sys.path.insert(0, str(Path(__file__).parents[1] / "decisions"))
sys.path.insert(0, str(Path(__file__).parent))
from test_closing import case, losses

SMALL = DdpgConfig(hidden=(16, 16), warmup=10, batch=16, discount=0.0, updates=1.0, decay=0.9)


class Told:
    """Designs that are right on fewer images the more their choices lose; remembers what it was asked."""

    inherits = False

    def __init__(self, loss: np.ndarray, space: Any = None) -> None:
        self.loss, self.space, self.asked = loss, space, list[tuple[int, ...]]()

    def evaluate(self, proposals: Any) -> Any:
        for design in self.space.canonical(proposals.designs):
            self.asked.append(tuple(design))
            lost = float(self.loss[np.arange(len(design)), design].sum())
            yield Outcome(lost, figures={"accuracy": 0.95 * float(np.exp(-lost)), "divergence": lost})


@pytest.fixture(scope="module")
def pricing():  # type: ignore[no-untyped-def]
    return case("zoo:digits", (1, 8, 8))[3]


def search(pricing, cost: str, evaluations: int = 30, **more: Any):  # type: ignore[no-untyped-def]
    made: list[AmcStrategy] = []

    def make(problem: Problem, **reward: Any) -> AmcStrategy:
        strategy = get_strategy("amc", problem, pricing.space.decisions, 0, config=SMALL, **reward)
        assert isinstance(strategy, AmcStrategy)
        made.append(strategy)
        return strategy

    loss = losses(pricing)
    told = Told(loss, pricing.space)
    traits = strategy_spec("amc").traits
    return accuracy_guaranteed(pricing, loss, cost, told, make, traits, evaluations, name="amc", **more), told, made[0]


@pytest.mark.parametrize("cost", ["macs", "latency"])
def test_designs_are_rewarded_by_error_times_the_logarithm_of_the_absolute_cost(pricing, cost: str) -> None:  # type: ignore[no-untyped-def]
    found, told, agent = search(pricing, cost, 30)
    assert agent.reward.kind == "guaranteed" and agent.reward.resource == cost and agent.reward.unit == UNITS[cost]
    assert not agent.problem.budgets, "nothing is projected"
    np.testing.assert_allclose(found.cost, pricing.predict(found.designs, cost))
    lost = told.loss[np.arange(found.designs.shape[1]), found.designs].sum(axis=1)
    np.testing.assert_allclose(found.error, 1 - 0.95 * np.exp(-lost))
    assert len(told.asked) == len(set(told.asked)) == len(found) > 10  # each is run once
    given = float(pricing.predict(pricing.space.reference, cost)[0])
    assert found.cost.max() > 1.5 * found.cost.min() and found.cost.max() <= given * (1 + 1e-9)


def test_candidates_are_what_no_other_beats_from_the_most_accurate_to_the_cheapest(pricing) -> None:  # type: ignore[no-untyped-def]
    found, _, _ = search(pricing, "macs", 40)
    best = found.candidates
    assert 1 < len(best) < len(found)
    assert (np.diff(best.error) > 0).all() and (np.diff(best.cost) < 0).all()
    beaten = (found.error[:, None] <= best.error) & (found.cost[:, None] <= best.cost)
    beaten &= (found.error[:, None] < best.error) | (found.cost[:, None] < best.cost)
    assert not beaten.any()
    for error, cost in zip(found.error, found.cost, strict=True):  # every design is beaten or met by a candidate
        assert ((best.error <= error) & (best.cost <= cost)).any()
    limit = float(np.median(found.cost))
    assert (found.within(limit).cost <= limit).all() and found.within(limit).candidates.error.min() >= best.error.min()
    again = Weighed.from_dict({k: np.asarray(v).tolist() for k, v in best.to_dict().items()}, best.designs.shape[1])
    assert (again.designs == best.designs).all() and (again.cost == best.cost).all()


def test_equals_are_counted_once() -> None:
    designs = np.arange(5)[:, None]
    found = Weighed(designs, np.array([0.1, 0.1, 0.2, 0.1, 0.3]), np.array([4.0, 4.0, 2.0, 5.0, 2.0]))
    assert found.candidates.designs.ravel().tolist() == [0, 2]


def test_other_budgets_are_kept(pricing) -> None:  # type: ignore[no-untyped-def]
    limit = 0.6 * float(pricing.predict(pricing.space.reference, "size")[0])
    found, _, _ = search(pricing, "macs", 20, budgets={"size": limit})
    assert (pricing.predict(found.designs, "size") <= limit * (1 + 1e-9)).all()


def test_what_has_no_such_reward_or_is_no_sum_is_refused(pricing) -> None:  # type: ignore[no-untyped-def]
    loss = losses(pricing)
    with pytest.raises(InputError, match="memory is none: use --strategy exact"):
        search(pricing, "memory")
    with pytest.raises(InputError, match="--strategy mine has no reward that weighs accuracy"):
        accuracy_guaranteed(pricing, loss, "macs", Told(loss), get_strategy, Traits(), 5, name="mine")
    assert {n for n in strategy_names() if strategy_spec(n).traits.guarantees} == {"amc", "haq"}

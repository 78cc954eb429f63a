"""The loop meets measured budgets although predictions are biased, and says when it cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from netsmith.errors import InfeasibleError
from netsmith.search import get_strategy
from netsmith.search.registry import strategy_spec
from netsmith.study.approximation import SequentialApproximation
from netsmith.study.closing import Attempt, close
from netsmith.study.study import Study

sys.path.insert(0, str(Path(__file__).parents[1] / "decisions"))
from test_pricing import case


@pytest.fixture(scope="module")
def pricing():  # type: ignore[no-untyped-def]
    return case("zoo:digits", (1, 8, 8))[3]


def solver(pricing, loss, limits, strategy="exact") -> SequentialApproximation:  # type: ignore[no-untyped-def]
    space, traits = pricing.space.decisions, strategy_spec(strategy).traits
    study = Study(lambda problem: get_strategy(strategy, problem, space), traits, None, 0)
    return SequentialApproximation(pricing, loss, limits, study)


def losses(pricing) -> np.ndarray:  # type: ignore[no-untyped-def]
    space = pricing.space
    rng = np.random.default_rng(0)
    k = space.values.shape[1]
    loss = np.where(np.arange(k) < space.decisions.sizes[:, None], 0.0, np.inf)
    for d, n in enumerate(space.decisions.sizes):
        loss[d, :n] = (
            np.linspace(1, 0, n) * rng.uniform(0.1, 1) * (0.01 if space.decisions.decisions[d].kind == "bits" else 1)
        )
    return loss


@pytest.mark.parametrize("bias", [0.7, 1.0, 1.6])
@pytest.mark.parametrize("share", [0.6, 0.4])
def test_measured_budget_is_met_under_a_biased_prediction(pricing, bias: float, share: float) -> None:  # type: ignore[no-untyped-def]
    def measure(design: np.ndarray) -> float:
        # the device disagrees with the model: a constant, a factor, and integer layers that gain less
        predicted = float(pricing.predict(design)[0])
        return bias * predicted + 2e-6 + 1e-7 * len(pricing.space.bits(design))

    limit = share * measure(pricing.space.reference)
    seen: list[Attempt] = []
    best, attempts = close(solver(pricing, losses(pricing), {"latency": limit}), measure, seen.append)
    assert best.met and best.measured_s <= limit
    assert best.measured_s > 0.8 * limit  # nothing is given away
    assert attempts == seen and len(attempts) <= 8


def test_impossible_budget_names_the_smallest_reachable(pricing) -> None:  # type: ignore[no-untyped-def]
    def measure(design: np.ndarray) -> float:
        return float(pricing.predict(design)[0])

    with pytest.raises(InfeasibleError, match="smallest") as caught:
        close(solver(pricing, losses(pricing), {"latency": 1e-9}), measure)
    assert caught.value.reachable["latency"] > 1e-9


def test_budget_on_macs_needs_no_device(pricing) -> None:  # type: ignore[no-untyped-def]
    def measure(design: np.ndarray) -> float:
        raise AssertionError("a MACs budget must not measure")

    limit = 0.5 * float(pricing.predict(pricing.space.reference, "macs")[0])
    best, _ = close(solver(pricing, losses(pricing), {"macs": limit}), measure)
    assert pricing.predict(np.array(best.design), "macs")[0] <= limit


@pytest.mark.parametrize("strategy", ["greedy", "random", "uniform"])
def test_baseline_strategies_keep_the_budget_and_lose_more(pricing, strategy: str) -> None:  # type: ignore[no-untyped-def]
    def measure(design: np.ndarray) -> float:
        return float(pricing.predict(design)[0])

    limit, loss = {"latency": 0.5 * measure(pricing.space.reference)}, losses(pricing)
    best, _ = close(solver(pricing, loss, limit), measure)
    other, _ = close(solver(pricing, loss, limit, strategy), measure)
    assert best.met and other.met
    assert best.loss <= other.loss * (1 + 1e-6)

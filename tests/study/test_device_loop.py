"""The loop that closes on the device, over made-up networks of known times: correction, aims, what counts as met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from netsmith.errors import InfeasibleError
from netsmith.study.device_loop import AIMS, ENOUGH, GOOD_ENOUGH, LOWER, ROUNDS, DeviceLoop, Tried, within_aims


@dataclass(frozen=True)
class Net:
    """A network by its predicted latency; it loses the less, the longer it takes."""

    key: float
    size: float = 1.0

    @property
    def predicted(self) -> dict[str, float]:
        return {"latency": self.key, "size": self.size}

    @property
    def loss(self) -> float:
        return -self.key


@dataclass
class Case:
    """Networks that take ``time(predicted)``, a budget of 1 s and one of 2 bytes."""

    nets: Sequence[Net]
    time: Callable[[float], float]
    aim: float = AIMS[0]
    fallback: bool = True
    factors: list[float] = field(default_factory=list)
    noted: list[Tried[Net]] = field(default_factory=list)

    def find(self, factor: float, tried: Sequence[Tried[Net]]) -> Net:
        assert list(tried) == self.noted
        self.factors.append(factor)
        within = [n for n in self.nets if n.key * factor <= 1.0]
        if not within:
            raise InfeasibleError("none")
        return min(within, key=lambda n: n.loss)

    def run(self) -> tuple[Tried[Net], list[Tried[Net]]]:
        return DeviceLoop(
            {"latency": 1.0, "size": 2.0}, 1.0, self.find,
            lambda tried: min(self.nets, key=lambda n: n.key) if self.fallback else None,
            lambda net: self.time(net.key), self.noted.append, self.aim, "board", "raise it",
        ).run()  # fmt: skip


GRID = [Net(n / 200) for n in range(1, 400)]


@pytest.mark.parametrize("bias", [0.6, 1.0, 1.7])
def test_predictions_are_corrected_until_the_budget_is_used_and_kept(bias: float) -> None:
    case = Case(GRID, lambda s: bias * s + 0.05)
    best, tried = case.run()
    assert tried == case.noted and len(tried) <= 3
    assert GOOD_ENOUGH <= best.measured_s <= (1 + AIMS[0]) / 2 and best.met
    assert case.factors[0] == 1 / AIMS[0]
    for before, after, factor in zip(tried[:-1], tried[1:], case.factors[1:], strict=True):
        correction = before.measured_s / before.found.key
        assert factor == pytest.approx(correction / AIMS[0])
        assert after.predicted_s == pytest.approx(after.found.key * correction)


def test_a_lower_aim_leaves_more_to_spare() -> None:
    high, low = (Case(GRID, lambda s: s, aim).run()[0].measured_s for aim in AIMS)
    assert low < high <= AIMS[0] and low <= AIMS[1]


def test_three_that_keep_the_budget_are_enough_and_the_best_of_them_is_taken() -> None:
    # each is far faster than predicted after the one before it, so that none is near the budget
    nets, times = [Net(0.5), Net(1.0), Net(2.0), Net(4.0), Net(8.0)], {0.5: 0.4, 1.0: 0.35, 2.0: 0.3, 4.0: 0.3}
    best, tried = Case(nets, lambda s: times.get(s, 9.0)).run()
    assert [t.found.key for t in tried] == [0.5, 1.0, 2.0][: len(tried)] and len(tried) == ENOUGH
    assert best.found.key == 2.0


def test_the_same_network_again_lowers_the_aim_where_it_does_not_keep_the_budget() -> None:
    case = Case([Net(0.4), Net(0.96, size=3.0)], lambda s: s)  # the greater one keeps the latency, but not the size
    best, tried = case.run()
    assert [t.found.key for t in tried] == [0.96, 0.4] and best == tried[1] and not tried[0].met
    assert case.factors[:3] == pytest.approx([1 / AIMS[0], 1 / AIMS[0], 1 / (AIMS[0] * LOWER)])


def test_within_the_budget_but_with_nothing_to_spare_is_better_than_a_failure() -> None:
    best, tried = Case([Net(0.9)], lambda s: 0.99).run()
    assert best.met and best.measured_s == 0.99 and not tried[0].met
    best, tried = Case([Net(0.8), Net(0.9)], lambda s: {0.9: 0.999, 0.8: 0.99}[s]).run()
    assert [t.found.key for t in tried] == [0.9, 0.8] and best.found.key == 0.8  # the one that is further from it


def test_a_budget_that_nothing_meets_says_what_was_reached() -> None:
    case = Case(GRID, lambda s: s + 3.0)
    said = r"budget of 1.00 s cannot be met on board: the smallest that was reached is 3.00 s; raise it"
    with pytest.raises(InfeasibleError, match=said) as no:
        case.run()
    assert no.value.reachable == {"latency": 3.005, "size": 1.0} and len(case.noted) <= ROUNDS
    case = Case(GRID, lambda s: s + 3.0, fallback=False)  # nothing to fall back on: it stops with what it has
    with pytest.raises(InfeasibleError, match=r"cannot be met on board"):
        case.run()
    assert len(case.factors) == len(case.noted) + 1 < ROUNDS
    with pytest.raises(InfeasibleError, match=r"cannot be met together with the others on board"):
        Case([Net(0.5, size=3.0)], lambda s: s).run()


@pytest.mark.parametrize(("slow", "rounds", "notes"), [(0, 1, 0), (1, 2, 1), (2, 2, 2)])
def test_a_finished_network_over_its_budget_is_made_again_with_a_lower_aim(slow: int, rounds: int, notes: int) -> None:
    seen: list[Any] = []
    said: list[str] = []

    def once(number: int, aim: float) -> tuple[str, dict[str, Any]]:
        seen.append((number, aim))
        return f"network {number}", {"latency_measured_s": 2.0 if number < slow else 0.9}

    found, _ = within_aims({"latency": 1.0}, once, said.append)
    assert seen == list(enumerate(AIMS))[:rounds] and found == f"network {rounds - 1}"
    assert len(said) == notes and sum("aiming lower" in s for s in said) == min(notes, 1)
    assert within_aims({"macs": 1.0}, once, said.append)[0] == "network 0"

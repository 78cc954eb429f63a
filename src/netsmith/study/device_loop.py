"""The loop that closes on the device: find within the budgets, measure, correct the prediction, find again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from netsmith.errors import InfeasibleError
from netsmith.units import format_apart, reached_of

ROUNDS = 8
#: Share of the latency budget to aim at; the rest absorbs the noise of measuring the finished network again.
AIMS = (0.97, 0.93)
LOWER = 0.97  #: of the aim, where the same network is found again and does not keep the budgets
GOOD_ENOUGH = 0.92  #: a network this close to the budget is not improved further
ENOUGH = 3  #: networks that keep the budgets; no more are looked for


class Candidate(Protocol):
    """What is found: a network with its predictions."""

    @property
    def key(self) -> Hashable:
        """What tells it from others."""
        ...

    @property
    def predicted(self) -> Mapping[str, float]:
        """Costs in SI units, at least of every budget; latency as predicted without any correction."""
        ...

    @property
    def loss(self) -> float:
        """By which it is preferred to others; lower is better."""
        ...


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True)
class Tried(Generic[C]):
    """A candidate on the device.

    Attributes:
        found: the candidate.
        predicted_s: latency that was predicted for it when it was chosen, corrections included.
        measured_s: latency that was measured.
        met: whether every budget holds, latency as measured, with half of the share that is not aimed at to spare; of
            what is chosen, without that.
    """

    found: C
    predicted_s: float
    measured_s: float
    met: bool


@dataclass(frozen=True)
class DeviceLoop(Generic[C]):
    """Finds the candidate of least loss whose costs, latency as measured, keep every budget.

    Attributes:
        budgets: cost name -> limit in SI units, latency among them.
        correction: measured over predicted latency, as far as it is known before.
        find: (factor, tried) -> the best candidate whose predicted latency times ``factor`` keeps the budget.
        least: tried -> what to measure where there is none, such as the candidate of least predicted latency; or None.
        measure: candidate -> latency in seconds.
        note: called with everything that was tried, as it is tried.
        aim: share of the latency budget to aim at.
        target: name of the device.
        remedy: what a user can do about a budget that nothing meets.
        warn: told why nothing was found where what ``least`` gives is tried instead.
    """

    budgets: Mapping[str, float]
    correction: float
    find: Callable[[float, Sequence[Tried[C]]], C]
    least: Callable[[Sequence[Tried[C]]], C | None]
    measure: Callable[[C], float]
    note: Callable[[Tried[C]], None]
    aim: float
    target: str
    remedy: str
    warn: Callable[[str], None] = lambda why: None

    def run(self) -> tuple[Tried[C], list[Tried[C]]]:
        """Return the chosen candidate and everything that was tried.

        Raises:
            InfeasibleError: nothing keeps the budgets; ``reachable`` has the costs of what was the fastest.
        """
        limit, aim, correction, tried = self.budgets["latency"], self.aim, self.correction, list[Tried[C]]()
        for _ in range(ROUNDS):
            try:
                found = self.find(correction / aim, tried)
            except InfeasibleError as error:
                fallback = self.least(tried)
                if fallback is None:
                    break
                found = fallback
                self.warn(str(error))
            if any(t.found.key == found.key for t in tried):
                if any(t.met for t in tried) or ((last := self.least(tried)) is not None and last.key == found.key):
                    break
                aim *= LOWER
                continue
            measured, predicted = self.measure(found), found.predicted["latency"]
            keeps = self._keeps(found, measured, (1 + self.aim) / 2)
            tried.append(Tried(found, predicted * correction, measured, keeps))
            self.note(tried[-1])
            correction = measured / predicted
            met = [t for t in tried if t.met]
            if (tried[-1].met and measured >= GOOD_ENOUGH * limit) or len(met) >= ENOUGH:
                break
        return self._best(tried), tried

    def _keeps(self, found: C, measured: float, share: float) -> bool:
        others = (found.predicted[n] <= v * (1 + 1e-9) for n, v in self.budgets.items() if n != "latency")
        return all(others) and measured <= self.budgets["latency"] * share

    def _best(self, tried: Sequence[Tried[C]]) -> Tried[C]:
        limit = self.budgets["latency"]
        met = [t for t in tried if t.met]
        # with nothing to spare it may be over the budget when it is measured again, but it is no proof of a failure
        if met:
            return min(met, key=lambda t: (t.found.loss, t.measured_s))
        near = [t for t in tried if self._keeps(t.found, t.measured_s, 1.0)]
        if near:
            return replace(min(near, key=lambda t: t.measured_s), met=True)
        fastest = min(tried, key=lambda t: t.measured_s)
        others = " together with the others" if fastest.measured_s <= limit else ""
        most, reached = format_apart("latency", limit, fastest.measured_s)
        raise InfeasibleError(
            f"the latency budget of {most} cannot be met{others} on {self.target}: the smallest that was reached is "
            f"{reached}; {self.remedy}",
            {n: fastest.found.predicted[n] for n in self.budgets} | {"latency": fastest.measured_s},
        )


def within_aims(
    limits: Mapping[str, float], once: Callable[[int, float], tuple[Any, dict[str, Any]]], note: Callable[[str], None]
) -> tuple[Any, dict[str, Any]]:
    """What is found and what building it gives, ``once(number, aim)``; again with a lower aim where it is too slow."""
    for number, aim in enumerate(AIMS):
        found, result = once(number, aim)
        if "latency" not in limits or (result["latency_measured_s"] or 0.0) <= limits["latency"]:
            break
        lower = "; aiming lower" if aim != AIMS[-1] else ""
        reached = reached_of({"latency": result["latency_measured_s"]}, {"latency": limits["latency"]})
        note(f"  the finished network is over its budget when measured again, {reached}{lower}")
    return found, result

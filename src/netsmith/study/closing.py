"""Closing the loop on the device for designs of a network, with prices expanded around what was tried last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from netsmith.decisions.kind import Designs
from netsmith.study.approximation import SequentialApproximation
from netsmith.study.device_loop import AIMS, DeviceLoop, Tried
from netsmith.study.study import Found


@dataclass(frozen=True)
class Attempt:
    """One design on the device.

    Attributes:
        design: choice indices.
        predicted_s: latency that was predicted for it when it was chosen, corrections included.
        measured_s: latency that was measured.
        loss: its summed sensitivity; or as it was evaluated, where the search evaluates designs.
        bound: proven lower bound on that sum for the budget it was solved for, where the strategy proves one.
        met: whether every budget holds, latency as measured; but for what is chosen, with a little to spare.
    """

    design: tuple[int, ...]
    predicted_s: float
    measured_s: float
    loss: float
    bound: float | None
    met: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "design": list(self.design), "predicted_s": self.predicted_s, "measured_s": self.measured_s,
            "loss": self.loss, "bound": self.bound, "met": self.met,
        }  # fmt: skip


@dataclass(frozen=True)
class Solved:
    """A design that was found: its predicted costs, its loss, and the proven bound on that where there is one."""

    design: Designs
    predicted: dict[str, float]
    loss: float
    bound: float | None

    @property
    def key(self) -> tuple[int, ...]:
        return tuple(int(k) for k in self.design)


def close(
    solver: SequentialApproximation, measure: Callable[[Designs], float],
    note: Callable[[Attempt], None] = lambda attempt: None, aim: float = AIMS[0], remedy: str = "raise --latency",
    warn: Callable[[str], None] = lambda why: None,
) -> tuple[Attempt, list[Attempt]]:  # fmt: skip
    """The design of least loss whose costs, latency as measured, keep every budget, and all attempts.

    Args:
        solver: finds designs by predicted costs.
        measure: design -> measured latency in seconds; not called where no latency is budgeted.
        note: told each attempt.
        aim: share of the latency budget to aim at.
        remedy: what the user can do where nothing keeps the budgets, the end of the sentence.
        warn: told why nothing was found where the design of least cost is tried instead.

    Raises:
        InfeasibleError: no design keeps the budgets; ``reachable`` has the smallest values.
    """
    budgets, start = solver.budgets, solver.pricing.start

    def solved(found: Found) -> Solved:
        predicted = {name: solver.predict(found.design, name) for name in budgets}
        loss = solver.summed(found.design) if found.loss is None else found.loss
        return Solved(found.design, predicted, loss, found.bound)

    if "latency" not in budgets:
        only = solved(solver.solve(1.0, start))
        met = all(only.predicted[n] <= limit * (1 + 1e-9) for n, limit in budgets.items())
        predicted_s = solver.predict(only.design)
        attempt = _attempt(Tried(only, predicted_s, predicted_s, met))
        return attempt, [attempt]

    def around(tried: Sequence[Tried[Solved]]) -> Designs:
        return tried[-1].found.design if tried else start

    best, tried = DeviceLoop(
        budgets, measure(start) / solver.predict(start),
        find=lambda factor, tried: solved(solver.solve(factor, around(tried))),
        least=lambda tried: solved(Found(solver.least(around(tried)))),
        measure=lambda found: measure(found.design), note=lambda tried: note(_attempt(tried)),
        aim=aim, target=solver.pricing.target.name, remedy=remedy, warn=warn,
    ).run()  # fmt: skip
    return _attempt(best), [_attempt(t) for t in tried]


def _attempt(tried: Tried[Solved]) -> Attempt:
    found = tried.found
    return Attempt(found.key, tried.predicted_s, tried.measured_s, found.loss, found.bound, tried.met)

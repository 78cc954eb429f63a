"""Closing the loop on the device for designs of a network: prices are expanded around what was tried last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netsmith.decisions.kind import Designs, FloatArray
from netsmith.decisions.pricing import Pricing
from netsmith.errors import InfeasibleError
from netsmith.jobs.device_loop import AIMS, DeviceLoop, Tried
from netsmith.jobs.proposals import Proposal
from netsmith.search.dominated import without_dominated
from netsmith.search.solver.exact import minimise_cost
from netsmith.search.strategy import Problem


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


@dataclass
class Loop:
    """Finds the design of least loss whose costs, latency as measured, keep every budget.

    Attributes:
        pricing: predictions.
        loss: ``(D, K)`` sensitivities.
        budgets: cost name -> limit in SI units; latency in seconds.
        measure: design -> measured latency in seconds.
        propose: problem -> the best design that the strategy finds for it.
        aim: share of the latency budget to aim at.
        exact: whether proposals are made with prices that are right at every design on the way.
        remedy: what the user can do where nothing keeps the budgets, the end of the sentence.
    """

    pricing: Pricing
    loss: FloatArray
    budgets: Mapping[str, float]
    measure: Callable[[Designs], float]
    propose: Callable[[Problem], Proposal]
    on_attempt: Callable[[Attempt], None] = lambda attempt: None
    aim: float = AIMS[0]
    exact: bool = False
    remedy: str = "raise --latency"

    def run(self) -> tuple[Attempt, list[Attempt]]:
        """Return the chosen attempt and all attempts.

        Raises:
            InfeasibleError: no design keeps the budgets; ``reachable`` has the smallest values.
        """
        start = self.pricing.start
        if "latency" not in self.budgets:
            only = self._solved(self._solve(1.0, start))
            met = all(only.predicted[n] <= limit * (1 + 1e-9) for n, limit in self.budgets.items())
            predicted_s = self._predict(only.design)
            attempt = _attempt(Tried(only, predicted_s, predicted_s, met))
            return attempt, [attempt]

        def around(tried: Sequence[Tried[Solved]]) -> Designs:
            return tried[-1].found.design if tried else start

        best, tried = DeviceLoop(
            self.budgets, self.measure(start) / self._predict(start),
            find=lambda factor, tried: self._solved(self._solve(factor, around(tried))),
            least=lambda tried: self._solved(Proposal(self._fastest(around(tried)))),
            measure=lambda found: self.measure(found.design), note=lambda tried: self.on_attempt(_attempt(tried)),
            aim=self.aim, target=self.pricing.target.name, remedy=self.remedy,
        ).run()  # fmt: skip
        return _attempt(best), [_attempt(t) for t in tried]

    def _solved(self, found: Proposal) -> Solved:
        predicted = {name: self._predict(found.design, name) for name in self.budgets}
        loss = self._summed(found.design) if found.loss is None else found.loss
        return Solved(found.design, predicted, loss, found.bound)

    def _predict(self, design: Designs, cost: str = "latency") -> float:
        return float(self.pricing.predict(design, cost)[0])

    def _summed(self, design: Designs) -> float:
        return float(self.loss[np.arange(len(design)), design].sum())

    @property
    def _expanded(self) -> str:
        """The budgeted cost whose table may be wrong away from where it is expanded; none where all are exact."""
        return next((n for n in ("latency", "energy") if n in self.budgets), "")

    def _problem(self, correction: float, around: Designs) -> Problem:
        costs = {name: self.pricing.table(name, around) for name in self.budgets}
        limits = {n: v / correction if n == self._expanded else v for n, v in self.budgets.items()}
        return without_dominated(Problem(self.loss, costs, limits, self.pricing.space.decisions.tied))

    def _solve(self, correction: float, around: Designs) -> Proposal:
        """Solve, renew the expansion at the solution, and solve again until the prediction of the design is right.

        The cost table is exact at the design that it is expanded around; elsewhere the design's own prediction decides,
        and what the table got wrong goes into the limit of the next solve.
        """
        best: Proposal | None = None
        cost = self._expanded
        limit = self.budgets.get(cost, np.inf) / correction * (1 + 1e-9)
        scale = 1.0
        seen: set[tuple[int, ...]] = set()
        failure: InfeasibleError | None = None
        for _ in range(6):
            problem = self._problem(correction / scale, around)
            try:
                found = self.propose(problem)
            except InfeasibleError as error:
                failure = error
                if np.array_equal(around, self.pricing.start):
                    around = self._fastest(around)  # the table may be too dear here and right where things are small
                    continue
                break
            design = self.pricing.space.canonical(found.design)
            found = replace(found, design=design, loss=self._summed(design) if found.loss is None else found.loss)
            if not cost:
                return found
            predicted = self._predict(design, cost)
            if predicted <= limit and (best is None or _loss(found) < _loss(best)):
                best = found
            if predicted <= limit and (tuple(design) in seen or self.exact or self.pricing.is_exact(cost)):
                break
            seen.add(tuple(design))
            scale *= min(limit / predicted, 1.5) * (1.0 if predicted <= limit else 0.995)
            around = design
        if best is not None:
            return best
        raise failure or InfeasibleError("no design keeps the predicted budget", {})

    def _fastest(self, around: Designs) -> Designs:
        """The design of least predicted cost, of the one whose table is expanded."""
        space = self.pricing.space
        for _ in range(3):
            cost = self._expanded
            problem = Problem(self.loss, {cost: self.pricing.table(cost, around)}, {}, space.decisions.tied)
            _, design = minimise_cost(problem, cost, time_limit=20.0)
            design = space.canonical(design)
            if np.array_equal(design, around):
                break
            around = design
        return around


def _loss(proposal: Proposal) -> float:
    return np.inf if proposal.loss is None else proposal.loss


def _attempt(tried: Tried[Solved]) -> Attempt:
    found = tried.found
    return Attempt(found.key, tried.predicted_s, tried.measured_s, found.loss, found.bound, tried.met)

"""Closing the loop on the device: solve, build, measure, correct the prediction, solve again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netsmith.compression.choices import Designs, FloatArray
from netsmith.compression.pricing import Pricing
from netsmith.errors import InfeasibleError
from netsmith.jobs.proposals import Proposal
from netsmith.search.solver.exact import minimise_cost
from netsmith.search.strategy import Problem

ROUNDS = 8
#: Share of the latency budget to aim at; the rest absorbs the noise of measuring the finished network again.
AIMS = (0.97, 0.93)
GOOD_ENOUGH = 0.92  #: a design this close to the budget is not improved further


@dataclass(frozen=True)
class Attempt:
    """One design on the device.

    Attributes:
        design: choice indices.
        predicted_s: latency that was predicted for it when it was chosen, corrections included.
        measured_s: latency that was measured.
        loss: its summed sensitivity; or as it was evaluated, where the search evaluates designs.
        bound: proven lower bound on that sum for the budget it was solved for, where the strategy proves one.
        met: whether every budget holds, latency as measured.
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
    """

    pricing: Pricing
    loss: FloatArray
    budgets: Mapping[str, float]
    measure: Callable[[Designs], float]
    propose: Callable[[Problem], Proposal]
    on_attempt: Callable[[Attempt], None] = lambda attempt: None
    aim: float = 0.97
    exact: bool = False

    def run(self) -> tuple[Attempt, list[Attempt]]:
        """Return the chosen attempt and all attempts.

        Raises:
            InfeasibleError: no design keeps the budgets; ``reachable`` has the smallest values.
        """
        choices = self.pricing.choices
        start = self._fast_start()
        if "latency" not in self.budgets:
            attempt = self._attempt(self._solve(1.0, start), 1.0)
            return attempt, [attempt]
        attempts: list[Attempt] = []
        limit = self.budgets["latency"]
        correction = self.measure(start) / self._predict(start)
        aim = self.aim
        for _ in range(ROUNDS):
            try:
                found = self._solve(correction / aim, start)
            except InfeasibleError:
                found = Proposal(self._fastest(start))
            design = found.design
            if any(a.design == tuple(design) for a in attempts):
                if any(a.met for a in attempts) or tuple(design) == tuple(self._fastest(start)):
                    break
                aim *= 0.97
                continue
            attempt = self._attempt(found, correction)
            attempts.append(attempt)
            self.on_attempt(attempt)
            correction = attempt.measured_s / self._predict(design)
            start = design
            if attempt.met and attempt.measured_s >= GOOD_ENOUGH * limit:
                break
            if attempt.met and len([a for a in attempts if a.met]) >= 3:
                break
        met = [a for a in attempts if a.met]
        if not met:
            least = min(attempts, key=lambda a: a.measured_s)
            costs = {n: float(self.pricing.predict(np.array(least.design), n)[0]) for n in self.budgets}
            costs["latency"] = least.measured_s
            raise InfeasibleError(
                f"the latency budget of {limit * 1e3:.4g} ms cannot be met on {self.pricing.target.name}: "
                f"the smallest that was reached is {least.measured_s * 1e3:.4g} ms; raise --latency or allow "
                "more --methods",
                costs,
            )
        best = min(met, key=lambda a: (a.loss, a.measured_s))
        assert len(best.design) == len(choices.space)
        return best, attempts

    def _predict(self, design: Designs) -> float:
        return float(self.pricing.predict(design)[0])

    def _attempt(self, found: Proposal, correction: float) -> Attempt:
        design = found.design
        measured = self.measure(design) if "latency" in self.budgets else self._predict(design)
        costs = {n: float(self.pricing.predict(design, n)[0]) for n in self.budgets if n != "latency"}
        met = all(v <= self.budgets[n] * (1 + 1e-9) for n, v in costs.items())
        met &= "latency" not in self.budgets or measured <= self.budgets["latency"] * (1 + self.aim) / 2
        loss = self._summed(design) if found.loss is None else found.loss
        design_ = tuple(int(i) for i in design)
        return Attempt(design_, self._predict(design) * correction, measured, loss, found.bound, met)

    def _summed(self, design: Designs) -> float:
        return float(self.loss[np.arange(len(design)), design].sum())

    @property
    def _expanded(self) -> str:
        """The budgeted cost whose table may be wrong away from where it is expanded; none where all are exact."""
        return next((n for n in ("latency", "energy") if n in self.budgets), "")

    def _problem(self, correction: float, around: Designs) -> Problem:
        costs = {name: self.pricing.table(name, around) for name in self.budgets}
        limits = {n: v / correction if n == self._expanded else v for n, v in self.budgets.items()}
        return Problem(self.loss, costs, limits, self.pricing.choices.space.tied)

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
                if np.array_equal(around, self._fast_start()):
                    around = self._fastest(around)  # the table may be too dear here and right where things are small
                    continue
                break
            design = self.pricing.choices.canonical(found.design)
            found = replace(found, design=design, loss=self._summed(design) if found.loss is None else found.loss)
            if not cost:
                return found
            predicted = float(self.pricing.predict(design, cost)[0])
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

    def _fast_start(self) -> Designs:
        """All layers in integers, nothing pruned: nearer to most solutions than the network as given."""
        choices = self.pricing.choices
        design = choices.original.copy()
        design[len(choices.groups) + len(choices.branches) :] = 0
        return design

    def _fastest(self, around: Designs) -> Designs:
        """The design of least predicted cost, of the one whose table is expanded."""
        choices = self.pricing.choices
        for _ in range(3):
            cost = self._expanded
            problem = Problem(self.loss, {cost: self.pricing.table(cost, around)}, {}, choices.space.tied)
            _, design = minimise_cost(problem, cost, time_limit=20.0)
            design = choices.canonical(design)
            if np.array_equal(design, around):
                break
            around = design
        return around


def _loss(proposal: Proposal) -> float:
    return np.inf if proposal.loss is None else proposal.loss

"""Sequential approximation: costs that no table has exactly are expanded around a design, and anew at each solution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from netsmith.decisions.kind import BoolArray, Designs, FloatArray
from netsmith.decisions.pricing import Pricing
from netsmith.errors import InfeasibleError
from netsmith.search.dominated import without_dominated
from netsmith.search.solver.exact import minimise_most
from netsmith.search.strategy import Problem
from netsmith.space import as_sums
from netsmith.study.study import Found

ROUNDS = 6  #: solutions around which the expansion is renewed
_TIGHTER = 0.98  #: of a limit on memory, where the table let a design pass that is over it


@dataclass
class SequentialApproximation:
    """Finds the design of least loss whose predicted costs keep every budget.

    Attributes:
        pricing: predictions; its cost tables are exact at the design that they are expanded around.
        loss: ``(D, K)`` sensitivities.
        budgets: cost name -> limit in SI units; latency in seconds.
        find: problem -> the best design that a study finds for it.
        renewed: whether what is found was priced right at every design on the way.
        allowed: ``(D, K)``, which choices may be taken, if not all.
    """

    pricing: Pricing
    loss: FloatArray
    budgets: Mapping[str, float]
    find: Callable[[Problem], Found]
    renewed: bool = False
    allowed: BoolArray | None = None

    def solve(self, correction: float, around: Designs) -> Found:
        """Solve, renew the expansion at the solution, and solve again until the prediction of the design is right.

        Away from where a table is expanded the design's own prediction decides, and what the table got wrong goes into
        the limit of the next solve.

        Args:
            correction: what the expanded cost really is over what is predicted.
            around: the design ``(D,)`` to begin with.

        Raises:
            InfeasibleError: no design keeps the budgets.
        """
        best: Found | None = None
        cost, memory = self.expanded, self.moving_memory
        limit = self.budgets.get(cost, np.inf) / correction * (1 + 1e-9)
        room = self.budgets.get("memory", np.inf) * (1 + 1e-9)
        scale, tighter = 1.0, 1.0
        seen: set[tuple[int, ...]] = set()
        failure: InfeasibleError | None = None
        for _ in range(ROUNDS):
            problem = self._problem(correction / scale, around, tighter)
            try:
                found = self.find(problem)
            except InfeasibleError as error:
                failure = error
                if np.array_equal(around, self.pricing.start):
                    around = self.least(around)  # the table may be too dear here and right where things are small
                    continue
                break
            design = self.pricing.space.canonical(found.design)
            found = replace(found, design=design, loss=self.summed(design) if found.loss is None else found.loss)
            if not cost and not memory:
                return found
            predicted = self.predict(design, cost) if cost else 0.0
            fits = not memory or self.predict(design, "memory") <= room
            within = predicted <= limit and fits
            if within and (best is None or _loss(found) < _loss(best)):
                best = found
            exact = (not cost or self.pricing.is_exact(cost)) and not memory
            if within and (tuple(design) in seen or self.renewed or exact):
                break
            seen.add(tuple(design))
            if cost:
                scale *= min(limit / predicted, 1.5) * (1.0 if predicted <= limit else 0.995)
            tighter *= 1.0 if fits else _TIGHTER
            around = design
        if best is not None:
            return best
        raise failure or InfeasibleError("no design keeps the predicted budget", {})

    def least(self, around: Designs) -> Designs:
        """The design of least predicted cost, of the one whose table is expanded."""
        space = self.pricing.space
        cost = self.expanded or ("memory" if "memory" in self.budgets else "")
        for _ in range(3):
            sums, _ = as_sums({cost: self.pricing.table(cost, around)}, {cost: 0.0})
            problem = Problem(self.loss, sums, {}, space.decisions.tied)
            _, design = minimise_most(problem, tuple(sums), time_limit=20.0)
            design = space.canonical(design)
            if np.array_equal(design, around):
                break
            around = design
        return around

    def predict(self, design: Designs, cost: str = "latency") -> float:
        """A cost of a design in SI units."""
        return float(self.pricing.predict(design, cost)[0])

    def summed(self, design: Designs) -> float:
        """The summed loss of the choices of a design, each taken alone."""
        return float(self.loss[np.arange(len(design)), design].sum())

    @property
    def expanded(self) -> str:
        """The budgeted sum whose table may be wrong away from where it is expanded; none where all are exact."""
        return next((n for n in ("latency", "energy") if n in self.budgets), "")

    @property
    def moving_memory(self) -> bool:
        """Whether peak memory is budgeted and its table may be wrong away from where it is expanded."""
        return "memory" in self.budgets and not self.pricing.is_exact("memory")

    def _problem(self, correction: float, around: Designs, tighter: float) -> Problem:
        limits = {n: v / correction if n == self.expanded else v for n, v in self.budgets.items()}
        if "memory" in limits:
            limits["memory"] *= tighter
        costs, limits = as_sums({name: self.pricing.table(name, around) for name in self.budgets}, limits)
        space = self.pricing.space
        loss = self.loss if self.allowed is None else np.where(self.allowed, self.loss, np.inf)
        return without_dominated(Problem(loss, costs, limits, space.decisions.tied, given=space.reference))


def _loss(found: Found) -> float:
    return np.inf if found.loss is None else found.loss

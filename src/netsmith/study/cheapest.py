"""The design of least predicted cost at a given loss, where cost tables are expanded around designs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from netsmith.decisions.kind import Designs, FloatArray
from netsmith.decisions.pricing import Pricing
from netsmith.errors import InfeasibleError
from netsmith.search.cheapest import Cheapest, least_cost
from netsmith.search.dominated import without_dominated
from netsmith.search.strategy import Problem
from netsmith.space import as_sums
from netsmith.study.approximation import ROUNDS


@dataclass(frozen=True)
class AtLoss:
    """A design of least cost among those of a small enough summed loss.

    Attributes:
        design: ``(D,)``.
        cost: as predicted, SI units.
        loss: its summed sensitivities.
        bound: proven: no design of a summed loss that is allowed costs less; of the cost table that ``exact`` is about.
        exact: whether that table is right at every design; otherwise it is expanded around ``design``, right there,
            and the bound is of what it says of others.
    """

    design: Designs
    cost: float
    loss: float
    bound: float
    exact: bool


def cheapest(
    pricing: Pricing, loss: FloatArray, name: str, most: float, budgets: Mapping[str, float] | None = None,
    around: Designs | None = None, time_limit: float | None = 60.0,
) -> AtLoss:  # fmt: skip
    """Find the design of least predicted cost whose summed loss is at most ``most``, within other budgets.

    A table that is right only around some design is expanded anew at each solution, until solutions repeat; of what
    was found the design counts that is predicted to cost least.

    Args:
        loss: ``(D, K)`` sensitivities.
        name: of the cost that is minimised.
        budgets: cost name -> limit in SI units, as predicted.
        around: a design ``(D,)`` to begin with.
        time_limit: seconds for one solution.

    Raises:
        InfeasibleError: no design keeps the budgets and loses so little.
    """
    space, limits = pricing.space, dict(budgets or {})
    exact = all(pricing.is_exact(cost) for cost in {name, *limits})
    around = pricing.start if around is None else around

    def solved(around: Designs) -> Cheapest:
        table = pricing.table(name, around)
        costs, kept = as_sums({n: pricing.table(n, around) for n in limits}, limits)
        steps, _ = as_sums({name: table}, {name: -np.inf})
        lean = without_dominated(Problem(loss, costs | steps, kept, space.decisions.tied, given=space.reference))
        return least_cost(replace(lean, costs=costs), table, most, time_limit)

    bounds: dict[tuple[int, ...], float] = {}
    best: AtLoss | None = None
    for _ in range(ROUNDS):
        try:
            found = solved(around)
        except InfeasibleError:
            if best is None:
                raise
            break
        bounds[tuple(around)] = found.bound
        design = space.canonical(found.design)
        if all(float(pricing.predict(design, n)[0]) <= limit * (1 + 1e-9) for n, limit in limits.items()):
            cost = float(pricing.predict(design, name)[0])
            if best is None or cost < best.cost:
                summed = float(loss[np.arange(len(design)), design].sum())
                best = AtLoss(design, cost, summed, min(found.bound, cost) if exact else np.nan, exact)
        if exact or tuple(design) in bounds:
            break
        around = design
    if best is None:
        raise InfeasibleError("no design that was found keeps the predicted budgets and loses so little", {})
    if exact:
        return best
    if tuple(best.design) not in bounds:
        bounds[tuple(best.design)] = solved(best.design).bound
    return AtLoss(best.design, best.cost, best.loss, min(bounds[tuple(best.design)], best.cost), False)

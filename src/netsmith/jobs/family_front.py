"""Networks of a design space for a front: one search, and a network at each of several limits on one cost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netsmith.errors import InfeasibleError
from netsmith.search.solver.exact import solve
from netsmith.search.strategy import Problem
from netsmith.space import CostTable
from netsmith.study.choosing import Chooser, Chosen


def reach(tables: Mapping[str, CostTable], cost: str, limits: Mapping[str, float]) -> tuple[float, float]:
    """The least and the greatest that networks of a family cost within limits, as predicted.

    Args:
        tables: of a family, whose costs are sums over its decisions.
        limits: in the unit of the tables; one on ``cost`` itself bounds the greatest.

    Raises:
        InfeasibleError: no network keeps the limits.
    """
    table = tables[cost]
    there = np.isfinite(table.unary)
    others = {name: limit for name, limit in limits.items() if name != cost}
    problem = Problem.over(tables, others, np.where(there, table.unary, 0.0))
    cheapest = np.asarray(solve(problem).choice if others else problem.loss.argmin(axis=1))
    least = float(table.price(cheapest[None])[0])
    most = float(table.fixed + np.where(there, table.unary, -np.inf).max(axis=1).sum())
    limit = limits.get(cost, most)
    if limit < least * (1 - 1e-9):
        raise InfeasibleError(
            f"no network of this space keeps {cost} of {limit:g}, the smallest reachable is {least:g}", {cost: least}
        )
    return least, max(least, min(most, limit))


def middle_of(least: float, most: float) -> float:
    """The limit under which probabilities are learned that serve all of a front."""
    return float(np.sqrt(least * most))


def choose_along(chooser: Chooser, cost: str, limits: Mapping[str, float], count: int) -> list[Chosen]:
    """At most ``count`` networks, from the one that is preferred to all others to the cheapest, each within ``limits``.

    The limits on ``cost`` between these two have equal ratios. A network that two of them have is there once.

    Raises:
        InfeasibleError: no network keeps the limits.
    """
    least, most = reach(chooser.tables, cost, limits)
    found = [chooser.choose({**limits, cost: most})]
    for limit in np.geomspace(max(found[0].predicted[cost], least), least, count)[1:]:
        found.append(chooser.choose({**limits, cost: float(limit) * (1 + 1e-9)}))
    return list({chosen.key: chosen for chosen in found}.values())

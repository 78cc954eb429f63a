"""The exact search the other way round: the design of least cost among those whose summed loss is small enough.

What the solver minimises and what it keeps below a limit are tables of the same kind, so the two change their roles:
the cost is the objective, the loss a budget beside the others. A cost that is the largest of several sums, as peak
memory is, is found by bisection: a limit is proven too low where no design within it loses little enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from netsmith.errors import InfeasibleError
from netsmith.search.solver.exact import Solution, solve
from netsmith.search.strategy import Designs, FloatArray, Problem
from netsmith.space import CostTable, Factor, MaxTable, as_sums

LOSS = "summed loss"  #: what the loss is called where it is a budget
_ALLOWED = "allowed combinations"  #: a budget that only what the cost forbids breaks
_NEAR = 1e-3  #: a largest cost is halved in to this share, then lowered from design to design
_LOWER = 64  #: times that it is lowered at most
_BELOW = 1e-6  #: a share of a cost by which a design must be cheaper to count as cheaper


class Cheapest(NamedTuple):
    """A design ``(D,)``, its cost by the table, and what no design that loses as little costs less than, proven."""

    design: Designs
    cost: float
    bound: float


def least_cost(
    problem: Problem, cost: CostTable | MaxTable, most: float, time_limit: float | None = None
) -> Cheapest:  # fmt: skip
    """Find the design of least cost whose summed loss is at most ``most``.

    Args:
        problem: its loss with interactions, ties, and budgets that are kept as well; choices of infinite loss are not
            taken.
        cost: over the same decisions; a factor may forbid combinations (``inf``).
        most: in the unit of the loss.
        time_limit: seconds for one solution; the bound is then what was proven until they were over.

    Raises:
        InputError: tables that do not fit together.
        InfeasibleError: no design keeps the budgets and loses so little; ``reachable["loss"]`` is the least loss.
        NetsmithError: the time was over before any design was found.
    """
    try:
        if isinstance(cost, CostTable):
            return _least_sum(problem, cost, most, time_limit)
        return _least_maximum(problem, cost, most, time_limit)
    except InfeasibleError:
        least = solve(problem, time_limit).loss  # says itself where the budgets alone are too much
        raise InfeasibleError(
            f"no design within the budgets has a summed loss of at most {most:.4g}; the least is {least:.4g}",
            {"loss": least},
        ) from None


def _least_sum(problem: Problem, cost: CostTable, most: float, time_limit: float | None) -> Cheapest:
    """Of a sum of terms: one solution of the problem with its roles changed."""
    loss = np.asarray(problem.loss, dtype=np.float64)
    unary = np.pad(cost.unary, ((0, 0), (0, max(loss.shape[1] - cost.unary.shape[1], 0))), constant_values=np.inf)
    unit = max((float(np.abs(v[np.isfinite(v)]).max(initial=0.0)) for v in (unary, *_values(cost))), default=0.0) or 1.0
    costs: dict[str, CostTable] = {**problem.costs, LOSS: CostTable(0.0, loss, problem.interactions)}
    budgets = {**problem.budgets, LOSS: most}
    factors, forbidden = _allowed(cost)
    if forbidden:
        costs[_ALLOWED] = CostTable(0.0, np.where(np.isfinite(unary), 0.0, np.inf), forbidden)
        budgets[_ALLOWED] = 1.0
    if most == np.inf:
        budgets.pop(LOSS)
    swapped = Problem(
        unary / unit, costs, budgets, problem.tied, tuple(Factor(f.rows, f.values / unit) for f in factors),
        problem.given,
    )  # fmt: skip
    found = solve(swapped, time_limit)
    price = float(cost.price(found.choice)[0])
    return Cheapest(found.choice, price, min(cost.fixed + found.bound * unit, price))


def _values(cost: CostTable) -> list[FloatArray]:
    return [f.values for f in cost.factors]


def _allowed(cost: CostTable) -> tuple[tuple[Factor, ...], tuple[Factor, ...]]:
    """The factors of a cost with 0 for what they forbid, and factors that are infinite there and 0 elsewhere."""
    ones, forbidden = [], []
    for f in cost.factors:
        there = np.isfinite(f.values)
        ones.append(Factor(f.rows, np.where(there, f.values, 0.0)))
        if not there.all():
            forbidden.append(Factor(f.rows, np.where(there, 0.0, np.inf)))
    return tuple(ones), tuple(forbidden)


def _least_maximum(problem: Problem, cost: MaxTable, most: float, time_limit: float | None) -> Cheapest:
    """Of the largest of several sums: a limit on all of them is lowered for as long as the least loss is small enough.

    What a step needs alone is a bound to begin with. Once it is near, each design that is found sets the next limit
    just below its own cost, until there is none.
    """
    cost = cost.without_dominated()
    alone = [_least_sum(problem, step, most, time_limit) for step in cost.steps]
    designs = np.array([one.design for one in alone])
    prices = cost.price(designs)
    low, best, peak = max(one.bound for one in alone), designs[int(prices.argmin())], float(prices.min())
    lowered = 0
    while low < peak * (1 - _BELOW) and lowered < _LOWER:
        near = peak - low <= _NEAR * abs(peak)
        limit = peak * (1 - _BELOW) if near else (low + peak) / 2
        lowered += near
        found = _within(problem, cost, limit, time_limit)
        if found is not None and problem.estimate(found.choice[None])[0] <= most + 1e-9 * abs(most):
            best, peak = found.choice, float(cost.price(found.choice)[0])
        elif found is None or found.bound > most + 1e-9 * abs(most):
            low = limit
        else:
            break  # the time was over before either was known
    return Cheapest(best, peak, min(low, peak))


def _within(problem: Problem, cost: MaxTable, limit: float, time_limit: float | None) -> Solution | None:
    """The design of least loss among those whose every step costs at most ``limit``; nothing where there is none."""
    sums, limits = as_sums({"cost": cost}, {"cost": limit})
    costs: Mapping[str, CostTable] = {**problem.costs, **sums}
    try:
        return solve(replace(problem, costs=costs, budgets={**problem.budgets, **limits}), time_limit)
    except InfeasibleError:
        return None

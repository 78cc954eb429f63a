"""One choice for every layer, least loss within budgets: the exact search over plain tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from netsmith.errors import InputError, did_you_mean
from netsmith.hardware.target import CostTable
from netsmith.search.solver.exact import Solution, solve
from netsmith.search.strategy import FloatArray, Problem


def allocate(
    loss: ArrayLike,
    costs: Mapping[str, ArrayLike],
    budgets: Mapping[str, float],
    tied: Sequence[Sequence[int]] = (),
    time_limit: float | None = None,
) -> Solution:
    """Choose one of K options (such as bit-widths) for each of L layers, exactly.

    Minimises ``sum_l loss[l, choice[l]]`` subject to ``sum_l costs[name][l, choice[l]] <= budgets[name]``.

    Args:
        loss: ``(L, K)`` loss of each option; ``inf`` forbids it.
        costs: name to ``(L, K)``, any units.
        budgets: name to upper bound, in the units of the cost of that name; costs without a budget are only reported.
        tied: disjoint groups of layers that take the same option.
        time_limit: seconds; afterwards the best design so far, with its gap.

    Returns:
        ``choice (L,)``, ``loss``, ``bound`` (proven), ``costs`` (name to number), ``gap``, ``seconds``, ``status``.

    Raises:
        InputError: tables, budgets or ties that do not fit together.
        InfeasibleError: no choice keeps the budgets; ``reachable`` has the smallest possible value of each.

    Example:
        >>> netsmith.allocate([[4.0, 1.0], [9.0, 2.0]], {"bytes": [[1, 2], [2, 4]]}, {"bytes": 5}).choice
        array([0, 1])
    """
    table = _matrix("loss", loss)
    if not np.isfinite(table).any(axis=1).all():
        row = int(np.flatnonzero(~np.isfinite(table).any(axis=1))[0])
        raise InputError(f"the loss of row {row} is infinite for every option; at least one must be allowed")
    tables = {}
    for name, values in costs.items():
        cost = _matrix(f"cost {name!r}", values)
        if cost.shape != table.shape:
            raise InputError(f"cost {name!r} has shape {cost.shape}, but loss has {table.shape}; they must agree")
        if not (np.isfinite(cost) & np.isfinite(table)).any(axis=1).all():
            row = int(np.flatnonzero(~(np.isfinite(cost) & np.isfinite(table)).any(axis=1))[0])
            raise InputError(f"row {row} has no option with a finite loss and a finite cost {name!r}")
        tables[name] = CostTable(0.0, cost)
    for name, limit in budgets.items():
        if name not in tables:
            known = ", ".join(tables) or "none"
            raise InputError(f"no cost for the budget {name!r}{did_you_mean(name, list(tables))}; known costs: {known}")
        if not isinstance(limit, int | float | np.number) or np.isnan(limit) or limit < 0:
            raise InputError(f"the budget {name!r} is {limit!r}; it must be a number that is not negative")
    seen: set[int] = set()
    for group in tied:
        members = [int(i) for i in group]
        if any(not 0 <= i < len(table) for i in members):
            raise InputError(f"tied group {members} names a row outside 0..{len(table) - 1}")
        if len(set(members)) < len(members) or seen & set(members):
            raise InputError(f"tied group {members} names a row twice or overlaps another group; join them into one")
        seen |= set(members)
    finite = {name: float(limit) for name, limit in budgets.items() if np.isfinite(limit)}
    return solve(Problem(table, tables, finite, [[int(i) for i in g] for g in tied]), time_limit)


def _matrix(what: str, values: ArrayLike) -> FloatArray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{what} must be a rectangular table of numbers, one row a layer") from None
    if array.ndim != 2 or not array.size:
        raise InputError(f"{what} has shape {array.shape}; it must be (layers, options) and not empty")
    if np.isnan(array).any() or np.isneginf(array).any():
        row, column = np.argwhere(np.isnan(array) | np.isneginf(array))[0]
        raise InputError(f"{what} has {array[row, column]} at row {row}, option {column}; use inf to forbid an option")
    return array

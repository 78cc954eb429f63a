"""One choice for every layer, least loss within budgets: the exact search over plain tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.search.solver.exact import Solution, solve
from netsmith.search.strategy import FloatArray, Problem
from netsmith.space import CostTable

_MOST = 1e50  #: sums of such numbers, and products of a few, are still finite
_LEAST = 1e-50  #: smaller ones are 0


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
        loss: ``(L, K)`` loss of each option, at most 1e50; ``inf`` forbids it.
        costs: name to ``(L, K)``, any units in which numbers are at most 1e50.
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
    for name, values in _named("costs", costs, '{"bytes": [[1, 2], [2, 4]]}').items():
        what = f"cost {shown(name)}"
        cost = _matrix(what, values)
        if cost.shape != table.shape:
            raise InputError(f"{what} has shape {cost.shape}, but loss has {table.shape}; they must agree")
        if not (np.isfinite(cost) & np.isfinite(table)).any(axis=1).all():
            row = int(np.flatnonzero(~(np.isfinite(cost) & np.isfinite(table)).any(axis=1))[0])
            raise InputError(f"row {row} has no option with a finite loss and a finite {what}")
        tables[name] = CostTable(0.0, cost)
    limits = {}
    for name, limit in _named("budgets", budgets, '{"bytes": 5}').items():
        if name not in tables:
            known = ", ".join(tables) or "none"
            raise InputError(
                f"no cost for the budget {shown(name)}{did_you_mean(name, list(tables))}; known costs: {known}"
            )
        value = _real(limit)
        if value is None or not value >= 0:
            raise InputError(f"the budget {shown(name)} is {shown(limit)}; it must be a number that is not negative")
        if value <= _MOST:  # more than the table can come to is no limit
            limits[name] = value
    seconds = None if time_limit is None else _real(time_limit)
    if time_limit is not None and (seconds is None or not seconds > 0):
        raise InputError(f"time_limit is {shown(time_limit)}; it must be a number of seconds above 0, or None")
    return solve(Problem(table, tables, limits, _groups(tied, len(table))), seconds)


def _named(what: str, values: Any, example: str) -> dict[str, Any]:
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise InputError(f"{what} is {shown(values)}; it must be a mapping from names, such as {example}")
    return dict(values)


def _real(value: Any) -> float | None:
    """A number as a float, infinite where it is too large for one; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value == abs(value) else -math.inf


def _groups(tied: Any, rows: int) -> list[list[int]]:
    try:
        groups = [[index(i) for i in group] for group in tied]
    except TypeError:
        raise InputError(
            f"tied is {shown(tied)}; it must be groups of row numbers, such as [(0, 2)], that take the same option"
        ) from None
    seen: set[int] = set()
    for members in groups:
        if any(not 0 <= i < rows for i in members):
            raise InputError(f"tied group {shown(members)} names a row outside 0..{rows - 1}")
        if len(set(members)) < len(members) or seen & set(members):
            raise InputError(
                f"tied group {shown(members)} names a row twice or overlaps another group; join them into one"
            )
        seen |= set(members)
    return [members for members in groups if members]


def _matrix(what: str, values: ArrayLike) -> FloatArray:
    problem = f"{what} must be a rectangular table of numbers, one row a layer"
    try:
        given = np.asarray(values)
        if given.dtype.kind not in "iuf" and not (given.dtype == object and all(_is_real(v) for v in given.flat)):
            raise InputError(problem)
        array = given.astype(np.float64)
    except OverflowError:
        raise InputError(f"{what} has a number above {_MOST:g}; write it in a larger unit") from None
    except (TypeError, ValueError, RuntimeError):
        raise InputError(problem) from None
    if array.ndim != 2 or not array.size:
        raise InputError(f"{what} has shape {array.shape}; it must be (layers, options) and not empty")
    for wrong, remedy in (
        (np.isnan(array) | np.isneginf(array), "use inf to forbid an option"),
        (np.isfinite(array) & (np.abs(array) > _MOST), f"write it in a larger unit, numbers are at most {_MOST:g}"),
    ):
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise InputError(f"{what} has {array[row, column]} at row {row}, option {column}; {remedy}")
    array[np.abs(array) < _LEAST] = 0.0
    return array


def _is_real(value: Any) -> bool:
    return _real(value) is not None

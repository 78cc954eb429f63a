"""Lagrangian relaxation: budgets become prices, every group of decisions chooses for itself.

``L(mu) = min_x loss(x) + sum_b mu_b (cost_b(x) - limit_b)`` is a lower bound on the optimum for every ``mu >= 0``, and
its minimisers are points of the convex hull of what is reachable. The best bound is that of the linear relaxation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from netsmith.search.solver.elimination import Elimination
from netsmith.search.solver.program import bounds, loosened
from netsmith.search.solver.quiet import quiet_library
from netsmith.search.strategy import Designs, FloatArray
from netsmith.space import CostTable

#: Multipliers ``(M, B)`` to minimising cells ``(M, groups)`` and what these sum to in every table, ``(M, tables)``.
_Minimise = Callable[[FloatArray], tuple[Designs, FloatArray]]

#: Multipliers tried at a time: from the best known so far to where the model of all bounds has its maximum.
_STEPS = np.array([0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])


def relax(
    tables: Sequence[CostTable], limits: FloatArray, rounds: int = 60, tree: Elimination | None = None,
    close: float = 1e-7,
) -> tuple[float, FloatArray, Designs]:  # fmt: skip
    """Maximise ``L`` by cutting planes (Kelley 1960), several multipliers on the line to the next one at a time.

    With factors left in the tables and no ``tree``, every term takes its own minimum: the bound stays one, but is
    weaker.

    Args:
        tables: the objective first, then the cost of each budget.
        limits: ``(B,)``.
        rounds: of the cutting-plane method; the bound is valid after any number.
        tree: an elimination of the tables.
        close: good enough is a bound that is this share of the objective's range below the best one.

    Returns:
        the bound, multipliers ``(B,)``, and the minimising cells ``(P, groups)`` that were met. Where every design has
        a forbidden combination, the bound is infinite and nothing was met.
    """
    limits = loosened(limits)
    minimise = _separately(tables) if tree is None else _together(tree)
    low, high = bounds(tables[0])[0], _highest_finite(tables[0])
    span = (high - low) or 1.0
    slack = np.array([limit - bounds(t)[0] for t, limit in zip(tables[1:], limits, strict=True)])
    size = np.maximum(np.abs(limits), np.abs(slack))
    top = span / np.maximum(slack, 1e-6 * np.where(size > 0, size, 1.0))  # no multiplier of one budget needs more
    best, at = -np.inf, np.zeros(len(limits))
    ask = np.concatenate([np.zeros((1, len(limits))), top * np.geomspace(1e-6, 1.0, 13)[:, None]])
    planes: list[FloatArray] = []
    met: list[Designs] = []
    for _ in range(rounds if len(limits) else 1):
        x, sums = minimise(ask)
        if not np.isfinite(sums).all():
            return np.inf, at, np.empty((0, x.shape[1]), dtype=np.int64)
        excess = sums[:, 1:] - limits
        bound = sums[:, 0] + (ask * excess).sum(axis=1)
        met.append(x)
        planes.append(np.column_stack([sums[:, :1], excess]))
        if bound.max() > best:
            best, at = float(bound.max()), ask[bound.argmax()]
        if not len(limits):
            break
        enough = close * (best - low) + 1e-12 * span
        ceiling, target = _highest(np.concatenate(planes), top, best, at, enough)
        if ceiling - best <= enough:
            break
        ask = at + _STEPS[:, None] * (target - at)
    return best, at, np.unique(np.concatenate(met), axis=0)


def _highest_finite(table: CostTable) -> float:
    """An upper bound on the cost of any design without a forbidden combination."""
    parts = [*table.unary, *(f.values for f in table.factors)]
    return table.fixed + sum(float(p[np.isfinite(p)].max(initial=-np.inf)) for p in parts)


def _separately(tables: Sequence[CostTable]) -> _Minimise:
    """Every group and every factor for itself."""
    terms = _terms(tables)
    fixed = np.array([t.fixed for t in tables])
    groups = len(tables[0].unary)

    def minimise(multipliers: FloatArray) -> tuple[Designs, FloatArray]:
        value = terms[:, :, 0] + np.tensordot(multipliers, terms[:, :, 1:], axes=(1, 2))
        x = value.argmin(axis=2)
        return x[:, :groups], terms[np.arange(len(terms)), x].sum(axis=1) + fixed

    return minimise


def _together(tree: Elimination) -> _Minimise:
    """Exactly, with what factors couple."""

    def minimise(multipliers: FloatArray) -> tuple[Designs, FloatArray]:
        x = tree.best(tree.run(np.column_stack([np.ones(len(multipliers)), multipliers])))
        return x, np.column_stack([t.price(x) for t in tree.tables])

    return minimise


def _terms(tables: Sequence[CostTable]) -> FloatArray:
    """Every group's cells and every factor's as ``(terms, cells, tables)``; ``inf`` loss where one may not be taken."""
    groups, width = tables[0].unary.shape
    rows = sorted({f.rows for t in tables for f in t.factors})
    shape = {f.rows: f.values.size for t in tables for f in t.factors}
    terms = np.zeros((groups + len(rows), max([width, *shape.values()]), len(tables)))
    terms[:groups, width:, 0] = np.inf
    for i, r in enumerate(rows):
        terms[groups + i, shape[r] :, 0] = np.inf
    for i, t in enumerate(tables):
        terms[:groups, :width, i] = t.unary
        for f in t.factors:
            terms[groups + rows.index(f.rows), : f.values.size, i] += f.values.ravel()
    forbidden = ~np.isfinite(terms).all(axis=2)
    terms[forbidden] = 0.0
    terms[forbidden, 0] = np.inf
    return terms


def _highest(
    planes: FloatArray, top: FloatArray, best: float, at: FloatArray, close: float
) -> tuple[float, FloatArray]:
    """Where the lowest of all planes ``loss + mu excess`` is highest, ``0 <= mu <= 1000 top``, and how high.

    Solved around the best point known, in the units of what the planes next to it leave open: the solver's tolerance
    is absolute, and the losses of choices that nobody would take are orders of magnitude above that.
    """
    from scipy.optimize import linprog

    above = planes[:, 0] + planes[:, 1:] @ at - best
    unit = max(float(np.median(above)), close, 1e-300)
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = np.column_stack([np.ones(len(planes)), -planes[:, 1:] * (top / unit)])
    size = np.abs(matrix).max(axis=1)
    if not np.isfinite(size).all():
        return best, at  # as below
    cost = np.zeros(len(top) + 1)
    cost[0] = -1.0
    limits = [(None, None), *[(-a, 1e3 - a) for a in at / top]]
    with quiet_library():
        result = linprog(cost, matrix / size[:, None], above / unit / size, bounds=limits, method="highs")
    if result.x is None:
        return best, at  # lost in rounding: what is there is a bound
    return float(result.x[0]) * unit + best, np.maximum(at + np.asarray(result.x[1:]) * top, 0.0)

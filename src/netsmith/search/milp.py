"""The integer program behind the exact search, solved by HiGHS (``scipy.optimize.milp``).

One binary ``x[v, k]`` for each choice of each variable. A cost term over several variables gets joint variables
``z[cell]`` in [0, 1] whose sums over cells equal the x of each of its axes (the local polytope): once x is integral,
z is the one cell that x names, and the relaxation is as tight as one factor allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netsmith.errors import NetsmithError
from netsmith.hardware.target import CostTable
from netsmith.search.reduced import embed, restrict
from netsmith.search.strategy import Designs, FloatArray

#: Rows are scaled to this right-hand side: HiGHS accepts 1e-6 of violation, which is then 1e-9 of a budget.
_ROW = 1e3
_SLACK = 1e-9


@dataclass(frozen=True)
class Answer:
    """``x (V,)`` or None, its objective, the proven lower bound, and "optimal", "infeasible" or "time limit"."""

    x: Designs | None
    value: float
    bound: float
    status: str


def solve_model(
    objective: CostTable,
    budgets: Sequence[tuple[CostTable, float]],
    sizes: Designs,
    cuts: Sequence[Designs] = (),
    known: float | None = None,
    time_limit: float | None = None,
) -> Answer:
    """Minimise ``objective`` under ``budgets`` over variables with ``sizes`` choices, except at the designs ``cuts``.

    Args:
        known: objective of a known solution that is not among ``cuts``: choices that cannot beat it are dropped.
    """
    keep = [np.arange(s) for s in sizes]
    rows = list(budgets)
    if known is not None:  # a margin, so that the known solution itself survives rounding
        low, _ = _range(objective)
        rows.append((objective, known + 1e-7 * max(abs(known - low), 1e-12)))
    keep, tables = _prune(keep, rows)
    if any(not len(k) for k in keep):
        return Answer(None, np.inf, np.inf, "infeasible")
    active = [(t, limit) for t, (_, limit) in zip(tables, budgets, strict=False) if _range(t)[1] > limit]
    return _highs(restrict(objective, keep), active, keep, cuts, known, time_limit)


def _range(table: CostTable) -> tuple[float, float]:
    """A lower and an upper bound on the cost of any design (forbidden cells count as unbounded)."""
    top = np.where(np.isfinite(table.unary), table.unary, -np.inf).max(axis=1).sum()
    low = table.unary.min(axis=1).sum()
    for f in table.factors:
        low, top = low + f.values.min(), top + f.values.max()
    return float(table.fixed + low), float(table.fixed + top)


def _prune(keep: list[Designs], rows: Sequence[tuple[CostTable, float]]) -> tuple[list[Designs], list[CostTable]]:
    """Drop choices that break a budget even with the cheapest of everything else."""
    tables = [restrict(t, keep) for t, _ in rows]
    for _ in range(4):
        alive = np.ones((len(keep), max(len(k) for k in keep)), dtype=bool)
        for table, (_, limit) in zip(tables, rows, strict=True):
            least = table.unary - table.unary.min(axis=1, keepdims=True) + _range(table)[0]
            for f in table.factors:
                base = f.values.min()
                for axis, r in enumerate(f.rows):
                    others = tuple(a for a in range(f.values.ndim) if a != axis)
                    least[r, : f.values.shape[axis]] += f.values.min(axis=others) - base
            alive &= least <= limit + _SLACK * abs(limit)
        local = [np.flatnonzero(alive[v, : len(k)]) for v, k in enumerate(keep)]
        if all(len(a) == len(k) for a, k in zip(local, keep, strict=True)):
            break
        keep = [k[a] for k, a in zip(keep, local, strict=True)]
        if any(not len(k) for k in keep):
            break
        tables = [restrict(t, local) for t in tables]
    return keep, tables


class _Block:
    """The joint variables of one set of variables; choices that no table tells apart share a cell."""

    def __init__(self, rows: tuple[int, ...], stack: FloatArray) -> None:
        self.rows = rows
        scale = np.where(np.isfinite(stack), np.abs(stack), 0.0).reshape(len(stack), -1).max(axis=1)
        rounded = stack / np.maximum(scale, 1e-300).reshape(-1, *[1] * len(rows))
        self.groups = []
        for axis in range(len(rows)):
            slices = np.moveaxis(rounded, axis + 1, 0).reshape(stack.shape[axis + 1], -1)
            _, first, group = np.unique(slices.round(12), axis=0, return_index=True, return_inverse=True)
            self.groups.append(group.ravel())
            rounded, stack = rounded.take(first, axis=axis + 1), stack.take(first, axis=axis + 1)
        self.values = stack
        self.allowed = np.isfinite(stack).all(axis=0)
        self.size = self.allowed.size


def _blocks(tables: Sequence[CostTable], sizes: Sequence[int]) -> list[_Block]:
    """Blocks for the widest factors of all tables together; narrower factors live inside them."""
    hosts: list[tuple[int, ...]] = []
    for rows in sorted({f.rows for t in tables for f in t.factors}, key=lambda r: (-len(r), r)):
        if not any(set(rows) <= set(h) for h in hosts):
            hosts.append(rows)
    stacks = {h: np.zeros((len(tables), *(sizes[r] for r in h))) for h in hosts}
    for i, table in enumerate(tables):
        for f in table.factors:
            host = next(h for h in hosts if set(f.rows) <= set(h))
            stacks[host][i] += embed(f.values, f.rows, host)
    return [_Block(h, s) for h, s in stacks.items()]


def _highs(
    objective: CostTable,
    budgets: Sequence[tuple[CostTable, float]],
    keep: list[Designs],
    cuts: Sequence[Designs],
    known: float | None,
    time_limit: float | None,
) -> Answer:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    sizes = [len(k) for k in keep]
    start = np.concatenate([[0], np.cumsum(sizes)])
    tables = [objective, *(t for t, _ in budgets)]
    blocks = _blocks(tables, sizes)
    offset = start[-1] + np.concatenate([[0], np.cumsum([b.size for b in blocks])]).astype(np.int64)
    width = int(offset[-1])

    coefficients = np.zeros((len(tables), width))
    for i, t in enumerate(tables):
        coefficients[i, : start[-1]] = np.concatenate([t.unary[v, :s] for v, s in enumerate(sizes)])
    upper = np.ones(width)
    for b, o in zip(blocks, offset, strict=False):
        coefficients[:, o : o + b.size] = np.where(b.allowed, b.values, 0.0).reshape(len(tables), -1)
        upper[o : o + b.size] = b.allowed.ravel()

    # Equalities: one choice a variable; the sums of a block's cells are the choices of each of its axes.
    entries: list[tuple[Designs, Designs, FloatArray]] = []
    right: list[FloatArray] = [np.ones(len(sizes))]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    entries.append((owner, np.arange(start[-1]), np.ones(start[-1])))
    row = len(sizes)
    for b, o in zip(blocks, offset, strict=False):
        cells = np.indices(b.allowed.shape).reshape(len(b.rows), -1)
        for axis, v in enumerate(b.rows):
            entries.append((row + cells[axis], o + np.arange(b.size), np.ones(b.size)))
            entries.append((row + b.groups[axis], start[v] + np.arange(sizes[v]), -np.ones(sizes[v])))
            row += b.allowed.shape[axis]
            right.append(np.zeros(b.allowed.shape[axis]))
    r, c, v_ = (np.concatenate([e[i] for e in entries]) for i in range(3))
    equal = np.concatenate(right)
    constraints = [LinearConstraint(coo_array((v_, (r, c)), shape=(row, width)).tocsr(), equal, equal)]

    if budgets:
        matrix, limits = coefficients[1:].copy(), np.array([limit for _, limit in budgets])
        limits = limits - np.array([t.fixed for t, _ in budgets])
        # A one-hot row may be shifted by any constant: make the cheapest choice of every variable cost nothing.
        for v, s in enumerate(sizes):
            least = matrix[:, start[v] : start[v] + s].min(axis=1)
            matrix[:, start[v] : start[v] + s] -= least[:, None]
            limits -= least
        size = np.array([abs(limit) for _, limit in budgets])
        scale = _ROW / np.where(size > 0, size, np.abs(matrix).max(axis=1).clip(min=1e-300))
        constraints.append(LinearConstraint(matrix * scale[:, None], -np.inf, limits * scale))
    no_good = _no_good(cuts, keep, start, width)
    if len(no_good):
        constraints.append(LinearConstraint(no_good, -np.inf, len(sizes) - 1))

    goal = coefficients[0].copy()
    base = objective.fixed
    for v, s in enumerate(sizes):
        least = goal[start[v] : start[v] + s].min()
        goal[start[v] : start[v] + s] -= least
        base += float(least)
    span = (known - base) if known is not None and known > base else float(np.abs(goal).max())
    unit = _ROW / span if span > 0 else 1.0

    binary = (np.arange(width) < start[-1]).astype(np.int64)
    options: dict[str, float] = {"mip_rel_gap": 0.0}
    if time_limit is not None:
        options["time_limit"] = max(time_limit, 1e-3)
    result = milp(goal * unit, integrality=binary, bounds=Bounds(0, upper), constraints=constraints, options=options)
    if result.status == 2:
        return Answer(None, np.inf, np.inf, "infeasible")
    if result.status not in (0, 1):
        raise NetsmithError(f"the integer program could not be solved: {result.message}")
    status = "optimal" if result.status == 0 else "time limit"
    dual = result.mip_dual_bound
    bound = base + float(dual) / unit if dual is not None and np.isfinite(dual) else _range(objective)[0]
    if result.x is None:
        return Answer(None, np.inf, bound, status)
    picked = [int(np.argmax(result.x[start[v] : start[v + 1]])) for v in range(len(sizes))]
    value = float(objective.price(np.array([picked]))[0])
    return Answer(np.array([keep[v][k] for v, k in enumerate(picked)]), value, min(bound, value), status)


def _no_good(cuts: Sequence[Designs], keep: list[Designs], start: Designs, width: int) -> FloatArray:
    """Rows that forbid each design of ``cuts`` (those that the kept choices can still reach)."""
    rows = []
    for cut in cuts:
        place = [np.flatnonzero(k == c) for k, c in zip(keep, cut, strict=True)]
        if all(len(p) for p in place):
            row = np.zeros(width)
            row[[start[v] + p[0] for v, p in enumerate(place)]] = 1.0
            rows.append(row)
    return np.array(rows)

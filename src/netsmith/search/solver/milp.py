"""The integer program behind the exact search, solved by HiGHS (``scipy.optimize.milp``).

One binary ``x[v, k]`` for each choice of each variable. A cost term over several variables gets joint variables
``z[cell]`` in [0, 1] whose sums over cells equal the x of each of its axes (the local polytope): once x is integral,
z is the one cell that x names, and the relaxation is as tight as one factor allows.

Before that, small sets of coupled variables become one (``program.py``), and the Lagrangian bound (``relaxation.py``)
with a good known design drops every choice that cannot be in a better one; of mixed precision little is left, and where
couplings form a chain or a tree nothing at all (``coupled.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from netsmith.errors import NetsmithError
from netsmith.search.solver.coupled import search_coupled
from netsmith.search.solver.few import best_of_few
from netsmith.search.solver.polish import polish
from netsmith.search.solver.program import Far, Program, above, bounds, join, program, prune, rows, target
from netsmith.search.solver.quiet import quiet_library
from netsmith.search.solver.reduced import embed
from netsmith.search.solver.relaxation import relax
from netsmith.search.strategy import Designs, FloatArray
from netsmith.space import CostTable

#: Rows are scaled to this right-hand side: HiGHS accepts 1e-6 of violation, which is then 1e-9 of a budget.
_ROW = 1e3


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
    far: Far | None = None,
    guess: Callable[[], Designs | None] = lambda: None,
    mend: Callable[[Designs], Designs | None] = lambda starts: None,
    time_limit: float | None = None,
    gap: float = 0.0,
    floor: float = -np.inf,
) -> Answer:
    """Minimise ``objective`` under ``budgets`` over variables with ``sizes`` choices, away from the designs of ``far``.

    Args:
        guess: a design ``(V,)`` that keeps all this, asked for where none is found on the way: choices that cannot
            beat it are dropped.
        mend: from designs ``(P, V)`` that need not keep all this to the best nearby that does.
        gap: a design is good enough if nothing is better by more than this share of its value. A tenth of it is aimed
            at, so that the bound still serves the next-best designs.
        floor: a lower bound that is known already.
    """
    start = perf_counter()

    def over() -> bool:
        return time_limit is not None and perf_counter() - start > time_limit

    far = far or Far(np.empty((0, len(sizes)), dtype=np.int64), np.ones(len(sizes), dtype=np.int64))
    limits = np.array([limit for _, limit in budgets])
    model = program([objective, *(t for t, _ in budgets)], sizes)
    model = prune(model, *rows(model, limits))
    if not all(model.sizes):
        return Answer(None, np.inf, np.inf, "infeasible")
    active = [b for b, limit in enumerate(limits) if bounds(model.tables[b + 1])[1] > limit]
    limits = limits[active]
    model = replace(model, tables=(model.tables[0], *(model.tables[b + 1] for b in active)))
    model = join(model, far)
    if not all(model.sizes):
        return Answer(None, np.inf, np.inf, "infeasible")

    known, value, bound, searched = None, np.inf, floor, False
    if any(t.factors for t in model.tables):
        known = guess()
        if known is not None:
            value = float(objective.price(known)[0])
            model = prune(model, *rows(model, limits, target(value, gap / 10)))
            model = join(model, far) if all(model.sizes) else model
        if any(t.factors for t in model.tables) and all(model.sizes):
            found = search_coupled(model, objective, limits, far, known, value, gap, mend, over)
            if found is not None:
                model, known, value, bound = found.model, found.known, found.value, max(bound, found.bound)
                searched = True
    if known is not None and target(value, gap) <= bound + 1e-12 * abs(bound):
        return Answer(known, value, min(bound, value), "optimal")
    plain, listed = not any(t.factors for t in model.tables), False
    for _ in range(2 if plain else 1 - searched):
        if not all(model.sizes):
            break
        least, mu, met = relax(model.tables, limits)
        bound = max(bound, min(least, target(value, gap / 10)))
        better = polish(model, limits, far, met, mu) if plain else None
        if better is not None and better[1] < value:
            known, value = better
        enough = target(value, gap / 10)
        if known is not None and target(value, gap) <= bound + 1e-12 * abs(bound):
            return Answer(known, value, min(bound, value), "optimal")
        model = prune(model, *rows(model, limits, enough, mu))
    if all(model.sizes):
        if plain and known is not None:
            listed, x, least = best_of_few(model, limits, far, mu, above(model, enough))
            answer = Answer(x, least, least if x is not None else enough, "optimal" if x is not None else "infeasible")
        if not listed:
            left = None if time_limit is None else time_limit - (perf_counter() - start)
            answer = _highs(model, limits, far, target(value, gap / 10), left, gap / 10)
    else:
        answer = Answer(None, np.inf, np.inf, "infeasible")
    if known is not None:  # what was dropped on the way is no better than the target
        proven = min(max(answer.bound, bound), target(value, gap / 10))
        if answer.x is None or answer.value > value:
            return Answer(known, value, proven, "time limit" if answer.status == "time limit" else "optimal")
        bound = min(proven, answer.value)
    return replace(answer, bound=min(max(answer.bound, bound), answer.value) if known is None else bound)


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
    for own in sorted({f.rows for t in tables for f in t.factors}, key=lambda r: (-len(r), r)):
        if not any(set(own) <= set(h) for h in hosts):
            hosts.append(own)
    stacks = {h: np.zeros((len(tables), *(sizes[r] for r in h))) for h in hosts}
    for i, table in enumerate(tables):
        for f in table.factors:
            host = next(h for h in hosts if set(f.rows) <= set(h))
            stacks[host][i] += embed(f.values, f.rows, host)
    return [_Block(h, s) for h, s in stacks.items()]


def _highs(model: Program, limits: FloatArray, far: Far, known: float, time_limit: float | None, gap: float) -> Answer:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    sizes, tables, objective = model.sizes, model.tables, model.tables[0]
    start = np.concatenate([[0], np.cumsum(sizes)])
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

    if len(limits):
        matrix, size = coefficients[1:].copy(), np.abs(limits)
        limits = limits - np.array([t.fixed for t in tables[1:]])
        # A one-hot row may be shifted by any constant: make the cheapest choice of every variable cost nothing.
        for v, s in enumerate(sizes):
            least = matrix[:, start[v] : start[v] + s].min(axis=1)
            matrix[:, start[v] : start[v] + s] -= least[:, None]
            limits -= least
        scale = _ROW / np.where(size > 0, size, np.abs(matrix).max(axis=1).clip(min=1e-300))
        constraints.append(LinearConstraint(matrix * scale[:, None], -np.inf, limits * scale))
    near = _nearness(model, far, width)
    if len(near):
        constraints.append(LinearConstraint(near, -np.inf, far.least * (len(sizes) - 1)))

    goal = coefficients[0].copy()
    base = objective.fixed
    for v, s in enumerate(sizes):
        least = goal[start[v] : start[v] + s].min()
        goal[start[v] : start[v] + s] -= least
        base += float(least)
    span = (known - base) if base < known < np.inf else float(np.abs(goal).max())
    unit = _ROW / span if span > 0 else 1.0

    binary = (np.arange(width) < start[-1]).astype(np.int64)
    # HiGHS takes the gap as a share of its own objective, from which the least of every group is taken off.
    share = gap * min(abs(known) / (known - base), 1e3) if base < known < np.inf else gap
    options: dict[str, float] = {"mip_rel_gap": share}
    if time_limit is not None:
        options["time_limit"] = max(time_limit, 1e-3)
    with quiet_library():
        result = milp(
            goal * unit, integrality=binary, bounds=Bounds(0, upper), constraints=constraints, options=options
        )
    if result.status == 2:
        return Answer(None, np.inf, np.inf, "infeasible")
    if result.status not in (0, 1):
        raise NetsmithError(f"the integer program could not be solved: {result.message}")
    status = "optimal" if result.status == 0 else "time limit"
    dual = result.mip_dual_bound
    bound = base + float(dual) / unit if dual is not None and np.isfinite(dual) else bounds(objective)[0]
    if result.x is None:
        return Answer(None, np.inf, bound, status)
    picked = np.array([[int(np.argmax(result.x[start[g] : start[g + 1]])) for g in range(len(sizes))]])
    value = float(objective.price(picked)[0])
    return Answer(model.expand(picked)[0], value, min(bound, value), status)


def _nearness(model: Program, far: Far, width: int) -> FloatArray:
    """Rows that keep designs away from each cut: what a group's distance lacks of ``far.least``, summed."""
    rows = np.zeros((len(far.cuts), width))
    apart = [model.distances(g, far) for g in range(len(model.cells))]
    flat = np.concatenate(apart, axis=1)
    rows[:, : flat.shape[1]] = far.least - flat
    reached = np.sum([a.min(axis=1) for a in apart], axis=0) < far.least
    return np.asarray(rows[reached])

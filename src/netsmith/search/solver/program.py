"""A problem's tables on their way to the solver: coupled variables become one, choices that cannot be best go.

Both steps are exact. Two variables that a cost couples (the weight and activation bits of a layer) are one variable
over the pairs of their choices, and a choice goes if another one of its variable is no worse in every table, whatever
the rest of the design is. What then remains of a mixed-precision problem is a plain multiple-choice knapsack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from netsmith.search.solver.reduced import canonical, restrict
from netsmith.search.strategy import Designs, FloatArray
from netsmith.space import CostTable, Factor

#: Half of the tolerance of ``Problem.feasible``, so that what the search room holds for feasible is feasible there.
SLACK = 5e-10
#: Differences below this share of a table's range are rounding.
_NOISE = 1e-13
#: Coupled variables become one if they have at most so many cells together, in steps of at most so many at once.
_WHOLE, _JOINT = 4096, 768
#: Pairs of choices are compared where that takes at most so many numbers.
_COMPARED = 4_000_000


@dataclass(frozen=True)
class Far:
    """Designs to keep away from: at least ``least`` decisions apart from each of ``cuts (M, V)``.

    ``weight (V,)`` is how many decisions a variable stands for.
    """

    cuts: Designs
    weight: Designs
    least: int = 1


@dataclass(frozen=True)
class Program:
    """Tables over groups of variables.

    Attributes:
        members: the variables of each group.
        cells: for each group ``(n, members)``, the choices that its n cells stand for.
        tables: canonical tables over groups and cells, the objective first, then the budgeted costs.
    """

    members: tuple[tuple[int, ...], ...]
    cells: tuple[Designs, ...]
    tables: tuple[CostTable, ...]

    @property
    def sizes(self) -> list[int]:
        return [len(c) for c in self.cells]

    def expand(self, x: Designs) -> Designs:
        """Cells ``(N, groups)`` to choices of the variables ``(N, V)``."""
        out = np.empty((len(x), sum(len(m) for m in self.members)), dtype=np.int64)
        for g, members in enumerate(self.members):
            out[:, list(members)] = self.cells[g][x[:, g]]
        return out

    def take(self, keep: Sequence[Designs]) -> Program:
        """Only the cells ``keep[g]`` of each group."""
        if all(len(k) == n for k, n in zip(keep, self.sizes, strict=True)):
            return self
        cells = tuple(c[k] for c, k in zip(self.cells, keep, strict=True))
        return replace(self, cells=cells, tables=tuple(restrict(t, keep) for t in self.tables))

    def distances(self, group: int, far: Far) -> Designs:
        """Decisions in which each cell differs from each cut, ``(M, n)``, at most ``far.least``."""
        members = list(self.members[group])
        apart = (far.cuts[:, None, members] != self.cells[group]) @ far.weight[members]
        return np.asarray(np.minimum(apart, far.least))


def program(tables: Sequence[CostTable], sizes: Designs) -> Program:
    """One group for each variable; ``tables`` are canonical, the objective first."""
    cells = tuple(np.arange(s)[:, None] for s in sizes)
    return Program(tuple((v,) for v in range(len(sizes))), cells, tuple(tables))


def bounds(table: CostTable) -> tuple[float, float]:
    """A lower and an upper bound on the cost of any design (forbidden cells count as unbounded)."""
    top = np.where(np.isfinite(table.unary), table.unary, -np.inf).max(axis=1).sum()
    low = table.unary.min(axis=1).sum()
    for f in table.factors:
        low, top = low + f.values.min(), top + f.values.max()
    return float(table.fixed + low), float(table.fixed + top)


def loosened(limits: FloatArray) -> FloatArray:
    """Limits with the tolerance of ``Problem.feasible``, ``(B,)``: what is proven has to hold for all that it lets in.

    Where a limit is the least reachable cost, multipliers are large enough for the tolerance to be worth some loss.
    """
    return np.asarray(limits + 2 * SLACK * np.abs(limits))


def combine(tables: Sequence[CostTable], weights: FloatArray) -> CostTable:
    """The weighted sum of tables (weights of 0 leave out what a table forbids)."""
    used = [(t, float(w)) for t, w in zip(tables, weights, strict=True) if w != 0]
    if len(used) == 1 and used[0][1] == 1.0:
        return used[0][0]
    factors: dict[tuple[int, ...], FloatArray] = {}
    for t, w in used:
        for f in t.factors:
            factors[f.rows] = factors[f.rows] + w * f.values if f.rows in factors else w * f.values
    unary = np.sum([w * t.unary for t, w in used], axis=0)
    return CostTable(sum(w * t.fixed for t, w in used), unary, tuple(Factor(r, v) for r, v in factors.items()))


def target(value: float, gap: float) -> float:
    """What a design has to beat to matter beside a known one of ``value``."""
    return value - gap * abs(value) if np.isfinite(value) else np.inf


def above(model: Program, known: float) -> float:
    """The value of a known design with a margin, so that it survives rounding itself."""
    return known + 1e-7 * max(abs(known - bounds(model.tables[0])[0]), 1e-12)


def rows(
    model: Program, limits: FloatArray, known: float = np.inf, mu: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Weights of the tables and limits of all that a better design keeps: budgets, loss and Lagrangian."""
    weights, right = [np.eye(len(limits) + 1)[1:]], [limits]
    if np.isfinite(known):
        known = above(model, known)
        weights.append(np.eye(len(limits) + 1)[:1])
        right.append(np.array([known]))
        if mu is not None and mu.any():
            weights.append(np.append(1.0, mu)[None])
            right.append(np.array([known + mu @ loosened(limits)]))
    return np.concatenate(weights), np.concatenate(right)


def prune(program: Program, weights: FloatArray, limits: FloatArray) -> Program:
    """Drop cells that break a row even with the best of everything else.

    Args:
        weights: ``(R, tables)``; row r is the weighted sum of the tables.
        limits: ``(R,)`` its upper bound.
    """
    for _ in range(4):
        rows = [combine(program.tables, w) for w in weights]
        alive = np.ones(program.tables[0].unary.shape, dtype=bool)
        for table, limit in zip(rows, limits, strict=True):
            least = table.unary - table.unary.min(axis=1, keepdims=True) + bounds(table)[0]
            for f in table.factors:
                base = f.values.min()
                if base == np.inf:  # every combination is forbidden
                    return replace(program, cells=tuple(c[:0] for c in program.cells))
                for axis, r in enumerate(f.rows):
                    others = tuple(a for a in range(f.values.ndim) if a != axis)
                    least[r, : f.values.shape[axis]] += f.values.min(axis=others) - base
            alive &= least <= limit + 2 * SLACK * abs(limit)
        keep = [np.flatnonzero(alive[g, :n]) for g, n in enumerate(program.sizes)]
        done = all(len(k) == n for k, n in zip(keep, program.sizes, strict=True))
        if done:
            break
        if any(not len(k) for k in keep):
            return replace(program, cells=tuple(c[k] for c, k in zip(program.cells, keep, strict=True)))
        program = program.take(keep)
    return program


def dominate(program: Program, far: Far) -> Program:
    """Drop cells that another cell of the group can replace in every design, at no more loss or cost.

    The other must be at least as far from every cut. Of equals the first stays.
    """
    worst = [np.zeros((n, n)) for n in program.sizes]  # [a, b]: the most by which a exceeds b in any table
    for table in program.tables:
        excess = [_excess(u[:n, None], u[:n]) for u, n in zip(table.unary, program.sizes, strict=True)]
        size = max(float(np.abs(table.unary[np.isfinite(table.unary)]).max(initial=0.0)), 1e-300)
        for f in table.factors:
            for axis, g in enumerate(f.rows):
                flat = np.moveaxis(f.values, axis, 0).reshape(f.values.shape[axis], -1)
                if flat.size * len(flat) <= _COMPARED:
                    excess[g] = excess[g] + _excess(flat[:, None], flat).max(axis=2)
                else:
                    excess[g] = np.full_like(excess[g], np.inf)
        for g, e in enumerate(excess):
            worst[g] = np.maximum(worst[g], np.where(e <= _NOISE * size, 0.0, np.inf))
    keep = []
    for g, w in enumerate(worst):
        better = w <= 0
        if len(far.cuts):
            apart = np.unique(program.distances(g, far), axis=0)
            better &= (apart[:, :, None] >= apart[:, None, :]).all(axis=0)
        order = np.arange(len(w))
        better &= ~better.T | (order[:, None] < order)
        keep.append(np.flatnonzero(~better.any(axis=0)))
    return program.take(keep)


def _excess(a: FloatArray, b: FloatArray) -> FloatArray:
    """``a - b``; infinite where only a is forbidden, and 0 where b is, which never speaks against a."""
    forbidden = ~np.isfinite(b)
    return np.where(forbidden, 0.0, a - np.where(forbidden, 0.0, b))


def join(program: Program, far: Far) -> Program:
    """Make one group of the groups that factors couple, where that stays small, dropping what is dominated.

    Where forbidden combinations leave nothing, a group is empty.
    """
    program = dominate(program, far)
    while True:
        taken = _couples(program)
        if not taken:
            return program
        rest = sorted(set(range(len(program.cells))) - {g for c in taken for g in c})
        program = _allowed(_regroup(program, sorted([*taken, *((g,) for g in rest)])))
        if not all(program.sizes):
            return program
        program = dominate(program, far)


def _allowed(program: Program) -> Program:
    """Without the cells that a table forbids; where a group has no other, with an empty group."""
    keep = [
        np.flatnonzero(np.all([np.isfinite(t.unary[g, :n]) for t in program.tables], axis=0))
        for g, n in enumerate(program.sizes)
    ]
    if not all(len(k) for k in keep):
        return replace(program, cells=tuple(c[k] for c, k in zip(program.cells, keep, strict=True)))
    return program.take(keep)


def _couples(program: Program) -> list[tuple[int, ...]]:
    """Disjoint sets of groups to join now, the smallest first."""
    sizes = program.sizes
    rows = sorted({f.rows for t in program.tables for f in t.factors})
    label = np.arange(len(sizes))
    for r in rows:
        label[np.isin(label, label[list(r)])] = label[list(r)].min()
    whole = {int(c): float(np.prod(np.array(sizes, dtype=float)[label == c])) for c in np.unique(label)}
    taken: list[tuple[int, ...]] = []
    used: set[int] = set()
    for r in sorted(rows, key=lambda r: np.prod([sizes[g] for g in r])):
        small = np.prod([sizes[g] for g in r]) <= _JOINT and whole[int(label[r[0]])] <= _WHOLE
        if small and not used & set(r):
            taken.append(r)
            used |= set(r)
    return taken


def _regroup(program: Program, parts: Sequence[tuple[int, ...]]) -> Program:
    """One group for each part, over all combinations of the cells of its groups."""
    sizes = program.sizes
    own = [np.indices([sizes[g] for g in part]).reshape(len(part), -1) for part in parts]  # (part, cells)
    place = {g: (p, i) for p, part in enumerate(parts) for i, g in enumerate(part)}
    width = max(o.shape[1] for o in own)

    def moved(table: CostTable) -> CostTable:
        unary = np.full((len(parts), width), np.inf)
        for p, part in enumerate(parts):
            unary[p, : own[p].shape[1]] = table.unary[np.array(part)[:, None], own[p]].sum(axis=0)
        factors = []
        for f in table.factors:
            hosts = sorted({place[g][0] for g in f.rows})
            index: list[NDArray[np.int64]] = []
            for g in f.rows:
                p, i = place[g]
                index.append(own[p][i].reshape([-1 if h == p else 1 for h in hosts]))
            values = f.values[tuple(index)]
            if len(hosts) == 1:
                unary[hosts[0], : len(values)] += values
            else:
                factors.append(Factor(tuple(hosts), values))
        return canonical(CostTable(table.fixed, unary, tuple(factors)))

    members = tuple(tuple(v for g in part for v in program.members[g]) for part in parts)
    cells = tuple(
        np.concatenate([program.cells[g][o] for g, o in zip(part, index, strict=True)], axis=1)
        for part, index in zip(parts, own, strict=True)
    )
    return Program(members, cells, tuple(moved(t) for t in program.tables))

"""Variable elimination: the least of sums of tables over decisions that costs couple along chains and trees.

A layer's cost couples the widths before and behind it and its bits, so the tables of a network form nearly a chain,
with residual streams as stars and triangles. Eliminating one variable after another (bucket elimination, Dechter 1999)
gives the exact minimum of any weighted sum of the tables in one pass over their cells, whatever the number of designs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from netsmith.search.solver.reduced import embed
from netsmith.search.strategy import Designs, FloatArray
from netsmith.space import CostTable

#: Cells of all buckets together, beyond which variables are not eliminated.
_CELLS = 6_000_000


@dataclass(frozen=True)
class Bucket:
    """What is decided when one variable goes: all terms over it and variables that go later.

    Attributes:
        variable: what goes.
        clique: sorted variables of the terms, ``variable`` among them.
        axis: of ``variable`` in the clique.
        parent: bucket that takes what is left, a table over the rest of the clique; -1 for a number.
    """

    variable: int
    clique: tuple[int, ...]
    axis: int
    parent: int

    @property
    def context(self) -> tuple[int, ...]:
        return self.clique[: self.axis] + self.clique[self.axis + 1 :]


@dataclass(frozen=True)
class Pass:
    """The minima of R weighted sums of tables.

    Attributes:
        least: ``(R,)``.
        excess: for each bucket ``(R, *clique)``, how far a choice is above the best one, given the rest of the clique,
            with everything eliminated before at its best. The excesses of a design sum to its value less ``least``.
    """

    least: FloatArray
    excess: list[FloatArray]


class Elimination:
    """An order of elimination for tables over groups of variables, and what follows from it.

    Args:
        tables: canonical, over the same groups.
        sizes: cells of each group.
    """

    def __init__(self, tables: Sequence[CostTable], sizes: Sequence[int]) -> None:
        self.tables, self.sizes = tuple(tables), list(sizes)
        self.buckets = _buckets({f.rows for t in tables for f in t.factors}, self.sizes)

    @property
    def cells(self) -> float:
        """Cells of all buckets together."""
        return sum(_product(self.sizes, b.clique) for b in self.buckets)

    @classmethod
    def of(cls, tables: Sequence[CostTable], sizes: Sequence[int]) -> Elimination | None:
        """None where buckets would be too large, as in densely connected networks."""
        made = cls(tables, sizes)
        return made if made.cells <= _CELLS else None

    @cached_property
    def _values(self) -> tuple[list[FloatArray], list[FloatArray | None]]:
        """For each bucket its own terms ``(tables, *clique)``, and ``inf`` where one forbids a cell, else 0."""
        place = {b.variable: i for i, b in enumerate(self.buckets)}
        values = []
        for b in self.buckets:
            own = [t.unary[b.variable, : self.sizes[b.variable]] for t in self.tables]
            values.append(np.array([embed(u, (b.variable,), b.clique) for u in own]))
        for i, t in enumerate(self.tables):
            for f in t.factors:
                at = min(place[v] for v in f.rows)
                clique = self.buckets[at].clique
                full = [len(self.tables), *(self.sizes[v] for v in clique)]
                if list(values[at].shape) != full:
                    values[at] = np.broadcast_to(values[at], full).copy()
                values[at][i] += embed(f.values, f.rows, clique)
        forbidden: list[FloatArray | None] = []
        for v in values:
            ok = np.isfinite(v).all(axis=0)
            forbidden.append(None if ok.all() else np.where(ok, 0.0, np.inf))
            v[:, ~ok] = 0.0
        return values, forbidden

    def run(self, weights: FloatArray) -> Pass:
        """Minimise ``weights (R, tables)`` times the tables."""
        values, forbidden = self._values
        totals = [np.tensordot(weights, v, axes=1) for v in values]
        least = weights @ np.array([t.fixed for t in self.tables])
        for i, b in enumerate(self.buckets):
            total, mask = totals[i], forbidden[i]
            if mask is not None:
                total = total + mask
            best = total.min(axis=b.axis + 1, keepdims=True)
            totals[i] = total - np.where(np.isfinite(best), best, 0.0)
            left = best.squeeze(b.axis + 1)
            if b.parent < 0:
                least = least + left.reshape(len(weights), -1)[:, 0]
                continue
            clique = self.buckets[b.parent].clique
            shape = [len(weights), *(1 if v not in b.context else self.sizes[v] for v in clique)]
            totals[b.parent] = totals[b.parent] + left.reshape(shape)
        return Pass(least, totals)

    def best(self, found: Pass) -> Designs:
        """The design of each minimum, ``(R, groups)``."""
        rows = np.arange(len(found.least))
        x = np.zeros((len(rows), len(self.sizes)), dtype=np.int64)
        for b, excess in zip(reversed(self.buckets), reversed(found.excess), strict=True):
            moved = np.moveaxis(excess, b.axis + 1, -1)
            x[:, b.variable] = moved[(rows, *(x[:, v] for v in b.context))].argmin(axis=1)
        return x

    def marginals(self, found: Pass) -> list[FloatArray]:
        """For each group ``(R, cells)``: how far the best design with that cell is above the least."""
        inside: list[FloatArray] = [np.empty(0)] * len(self.buckets)
        out: list[FloatArray] = [np.empty(0)] * len(self.sizes)
        for i in reversed(range(len(self.buckets))):
            b, above = self.buckets[i], found.excess[i]
            if b.parent >= 0:
                parent = self.buckets[b.parent].clique
                gone = tuple(a + 1 for a, v in enumerate(parent) if v not in b.context)
                above = above + np.expand_dims(inside[b.parent].min(axis=gone), b.axis + 1)
            inside[i] = above
            others = tuple(a + 1 for a in range(len(b.clique)) if a != b.axis)
            out[b.variable] = above.min(axis=others)
        return out


def _product(sizes: Sequence[int], variables: Iterable[int]) -> float:
    """Cells over variables, of which a stream that many layers read may have more than an integer holds."""
    return prod(float(sizes[v]) for v in variables)


def _buckets(rows: set[tuple[int, ...]], sizes: Sequence[int]) -> list[Bucket]:
    """Buckets in the order of elimination, the smallest next."""
    near: list[set[int]] = [{v} for v in range(len(sizes))]
    for r in rows:
        for v in r:
            near[v] |= set(r)
    cost = [_product(sizes, n) for n in near]
    left, cliques = set(range(len(sizes))), list[tuple[int, tuple[int, ...]]]()
    while left:
        v = min(left, key=lambda u: (cost[u], u))
        left.remove(v)
        cliques.append((v, tuple(sorted(near[v]))))
        rest = near[v] - {v}
        for u in rest:
            near[u] = (near[u] | rest) - {v}
        for u in rest:
            cost[u] = _product(sizes, near[u])
    place = {v: i for i, (v, _) in enumerate(cliques)}
    return [Bucket(v, c, c.index(v), min((place[u] for u in c if u != v), default=-1)) for v, c in cliques]

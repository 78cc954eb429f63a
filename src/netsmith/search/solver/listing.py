"""The designs that come close to the Lagrangian bound, listed best first: what beats a known design is among them.

At multipliers ``mu`` every design that keeps the budgets and beats a known one has a Lagrangian between the bound and
the known loss. Going through the buckets of an elimination backwards, the value of what is decided so far plus the
least of the rest is known exactly, for Lagrangians at several multipliers, for the loss and for each cost; what exceeds
a limit goes. Multipliers next to the best ones tell prefixes apart that spend too much or too little of a budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from netsmith.search.solver.elimination import Elimination, Pass
from netsmith.search.strategy import Designs, FloatArray

#: So many numbers are held at once.
_NUMBERS = 30_000_000


@dataclass(frozen=True)
class Listing:
    """Designs below the limits of every row.

    Attributes:
        x: ``(N, groups)`` cells.
        sums: ``(N, R)`` the value of each row.
        bound: every design within the limits that is not listed loses at least this; ``inf`` if all are listed.
    """

    x: Designs
    sums: FloatArray
    bound: float


def list_designs(tree: Elimination, found: Pass, limits: FloatArray, offset: FloatArray, most: int) -> Listing:
    """List designs whose every row is at most its limit.

    Args:
        limits: ``(R,)``.
        offset: ``(P,)``; the first P rows less this are lower bounds on the loss of a design that keeps the budgets.
            If there are more than ``most``, those stay for which the highest of them is lowest.
    """
    room = limits - found.least
    room = room + 1e-12 * np.abs(limits)
    bound = np.inf
    spent = np.zeros((len(room), 1 if (room >= 0).all() else 0))
    live: dict[int, Designs] = {}
    trail: list[tuple[Designs, Designs]] = []
    last = _last_use(tree)
    for i in reversed(range(len(tree.buckets))):
        b = tree.buckets[i]
        moved = np.moveaxis(found.excess[i], b.axis + 1, -1)
        step = max(_NUMBERS // (len(room) * moved.shape[-1]), 1)
        parts = []
        for start in range(0, spent.shape[1], step):
            at = slice(start, start + step)
            given: tuple[Any, ...] = (slice(None), *(live[v][at] for v in b.context))
            total = spent[:, at, None] + (moved[given] if b.context else moved[:, None])
            label, cell = np.nonzero((total <= room[:, None, None]).all(axis=0))
            parts.append((label + start, cell, total[:, label, cell]))
        if not parts:
            break
        label, cell, spent = (np.concatenate([p[j] for p in parts], axis=-1) for j in range(3))
        if len(label) > most:
            least = (spent[: len(offset)] + (found.least[: len(offset)] - offset)[:, None]).max(axis=0)
            stay = np.argpartition(least, most)
            bound = min(bound, float(least[stay[most]]))
            stay = np.sort(stay[:most])
            label, cell, spent = label[stay], cell[stay], spent[:, stay]
        live = {v: x[label] for v, x in live.items() if last[v] < i}
        live[b.variable] = cell
        trail.append((label, cell))
    n = spent.shape[1]
    x = np.zeros((n, len(tree.sizes)), dtype=np.int64)
    at_ = np.arange(n)
    for b, (label, cell) in zip(tree.buckets, reversed(trail), strict=False):
        x[:, b.variable], at_ = cell[at_], label[at_]
    return Listing(x, (found.least[:, None] + spent).T, bound)


def _last_use(tree: Elimination) -> dict[int, int]:
    """The first bucket of the order in which each variable is context: once that is decided it is no longer needed."""
    last: dict[int, int] = {b.variable: i for i, b in enumerate(tree.buckets)}
    for i, b in reversed(list(enumerate(tree.buckets))):
        for v in b.context:
            last[v] = i
    return last

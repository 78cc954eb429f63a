"""Good designs from hull points: the best swaps of one choice, then of two at once, until none is left."""

from __future__ import annotations

import numpy as np

from netsmith.search.program import Far, Program
from netsmith.search.strategy import Designs, FloatArray

#: Half of the tolerance of ``Problem.feasible``, so that what is feasible here is feasible there.
_SLACK = 5e-10
#: Swaps of two are tried between so many cells, swaps of one from so many numbers' worth of starts.
_PAIRED, _NUMBERS = 700, 20_000_000


def polish(program: Program, limits: FloatArray, far: Far, starts: Designs) -> tuple[Designs, float] | None:
    """The best design that swaps reach from ``starts`` and from next to the cuts.

    Args:
        program: without factors (every cost is a sum over groups).
        limits: of its tables after the first, ``(B,)``.
        far: designs to keep away from.
        starts: ``(P, groups)`` cells; they may break the limits by one swap.

    Returns:
        the variables ``(V,)`` and the loss; None if nothing feasible was met.
    """
    sizes = np.array(program.sizes)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    owner = np.repeat(np.arange(len(sizes)), sizes)
    flat = np.concatenate([np.array([t.unary[g, :n] for t in program.tables]).T for g, n in enumerate(sizes)])
    loss, cost = flat[:, 0], flat[:, 1:]
    # Keeping a distance is a budget as well: of nearness.
    apart = np.concatenate([program.distances(g, far) for g in range(len(sizes))], axis=1)
    cost = np.column_stack([cost, -apart.T])
    fixed = np.array([t.fixed for t in program.tables])
    most = np.concatenate([limits + _SLACK * np.abs(limits) - fixed[1:], np.full(len(far.cuts), -far.least + 0.5)])

    x = np.concatenate([starts[-max(_NUMBERS // (cost.size + 1), 1) :], _cells(program, far.cuts[-16:])]) + first
    x = _swapped(x, loss, cost, most, owner)
    if x is None:
        return None
    improved = len(loss) <= _PAIRED
    while improved:
        improved = False
        here = x[owner]
        gain, spend = loss - loss[here], cost - cost[here]
        room = most - cost[x].sum(axis=0)
        better = gain[:, None] + gain < -1e-12 * max(abs(float(loss[x].sum())), 1e-300)
        better &= owner[:, None] < owner
        i, j = np.nonzero(better)
        for row in range(len(most)):
            fits = spend[i, row] + spend[j, row] <= room[row]
            i, j = i[fits], j[fits]
        if len(i):
            best = int((gain[i] + gain[j]).argmin())
            x[owner[i[best]]], x[owner[j[best]]] = i[best], j[best]
            improved = True
    design = program.expand((x - first)[None])[0]
    return design, float(loss[x].sum() + fixed[0])


def _cells(program: Program, cuts: Designs) -> Designs:
    """The cuts as cells, those of them that the program still has."""
    x = np.zeros((len(cuts), len(program.cells)), dtype=np.int64)
    found = np.ones(len(cuts), dtype=bool)
    for g, members in enumerate(program.members):
        same = (program.cells[g] == cuts[:, None, list(members)]).all(axis=2)
        x[:, g], found = same.argmax(axis=1), found & same.any(axis=1)
    return x[found]


def _swapped(x: Designs, loss: FloatArray, cost: FloatArray, most: FloatArray, owner: Designs) -> Designs | None:
    """The best feasible design one swap away from any of ``x (P, groups)``, or among them."""
    best, found = np.inf, None
    for row in x:
        here = row[owner]
        after = loss[row].sum() + loss - loss[here]
        fits = np.isfinite(after) & (cost[row].sum(axis=0) + cost - cost[here] <= most).all(axis=1)
        cell = int(np.where(fits, after, np.inf).argmin())
        if fits[cell] and after[cell] < best:
            best, found = float(after[cell]), row.copy()
            found[owner[cell]] = cell
    return found

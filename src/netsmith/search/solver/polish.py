"""Good designs from hull points: the best swaps of one choice, then of two at once, until none is left."""

from __future__ import annotations

import numpy as np

from netsmith.search.solver.program import SLACK, Far, Program
from netsmith.search.strategy import Designs, FloatArray

#: Swaps of two are tried between so many cells, from so many designs and from so many cuts.
_PAIRED, _STARTS, _CUTS = 500, 4, 16
#: Starts are as many as take so many numbers.
_NUMBERS = 20_000_000


def polish(
    program: Program, limits: FloatArray, far: Far, starts: Designs, mu: FloatArray
) -> tuple[Designs, float] | None:
    """The best design that swaps reach from ``starts`` and from next to the cuts.

    Args:
        program: without factors (every cost is a sum over groups).
        limits: of its tables after the first, ``(B,)``.
        far: designs to keep away from.
        starts: ``(P, groups)`` cells; they may break the limits by one swap.
        mu: ``(B,)`` loss per unit of each cost; cells that are cheap at this price are paired.

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
    most = np.concatenate([limits + SLACK * np.abs(limits) - fixed[1:], np.full(len(far.cuts), -far.least + 0.5)])

    x, near = starts[-max(_NUMBERS // (cost.size + 1), 1) :] + first, _cells(program, far.cuts[-_CUTS:]) + first
    reduced = loss + np.where(np.isfinite(cost[:, : len(mu)]), cost[:, : len(mu)], 0.0) @ mu
    reduced -= np.minimum.reduceat(reduced, first)[owner]
    core = np.argsort(reduced, kind="stable")[:_PAIRED]
    best, found = np.inf, None
    for here in [*_swapped(np.concatenate([x, near]), loss, cost, most, owner)[:_STARTS], *near]:
        value = _paired(here, loss, cost, most, owner, core, best)
        if value < best:
            best, found = value, here
    if found is None:
        return None
    return program.expand((found - first)[None])[0], best + float(fixed[0])


def _paired(
    x: Designs, loss: FloatArray, cost: FloatArray, most: FloatArray, owner: Designs, core: Designs, enough: float
) -> float:
    """Change ``x (groups,)`` by the best swap of one or two cells of ``core`` until none is left.

    Returns:
        the loss; ``inf`` if x is not feasible and no swap makes it so at less loss than ``enough``.
    """
    own = owner[core]
    last, swapped = np.inf, False
    while True:
        now = float(loss[x].sum())
        fits_now = bool((cost[x].sum(axis=0) <= most).all())
        least = 1e-12 * abs(now) if fits_now else min(now - enough, np.finfo(float).max)
        here = x[own]
        gain, spend = loss[core] - loss[here], cost[core] - cost[here]
        room = most - cost[x].sum(axis=0)
        better = (gain[:, None] + gain < -least) & (own[:, None] < own)
        np.fill_diagonal(better, gain < -least)
        i, j = np.nonzero(better)
        for row in range(len(most)):
            fits = spend[i, row] + np.where(i == j, 0.0, spend[j, row]) <= room[row]
            i, j = i[fits], j[fits]
        # Where numbers differ by so much that rounding is a gain, swaps would lead on and on.
        stuck = swapped and not (fits_now and now < last)
        if not len(i) or stuck:
            return now if fits_now else np.inf
        last, swapped = now if fits_now else np.inf, True
        best = int((gain[i] + np.where(i == j, 0.0, gain[j])).argmin())
        x[own[i[best]]], x[own[j[best]]] = core[i[best]], core[j[best]]


def _cells(program: Program, cuts: Designs) -> Designs:
    """The cuts as cells, those of them that the program still has."""
    x = np.zeros((len(cuts), len(program.cells)), dtype=np.int64)
    found = np.ones(len(cuts), dtype=bool)
    for g, members in enumerate(program.members):
        same = (program.cells[g] == cuts[:, None, list(members)]).all(axis=2)
        x[:, g], found = same.argmax(axis=1), found & same.any(axis=1)
    return x[found]


def _swapped(x: Designs, loss: FloatArray, cost: FloatArray, most: FloatArray, owner: Designs) -> Designs:
    """For each of ``x (P, groups)`` the best feasible design at most one swap away, if any; the best first."""
    found, losses = [], []
    for row in np.unique(x, axis=0):
        here = row[owner]
        after = loss[row].sum() + loss - loss[here]
        fits = np.isfinite(after) & (cost[row].sum(axis=0) + cost - cost[here] <= most).all(axis=1)
        cell = int(np.where(fits, after, np.inf).argmin())
        if fits[cell]:
            found.append(row)
            losses.append(after[cell])
            row[owner[cell]] = cell
    return np.array(found, dtype=np.int64).reshape(-1, x.shape[1])[np.argsort(losses, kind="stable")]

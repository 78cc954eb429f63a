"""Exact search by listing: where few designs can beat the known one, they are simply all looked at.

At the best multipliers ``mu`` a design's Lagrangian is the bound plus what each group's cell is above the group's
cheapest. A design that beats the known one has a Lagrangian below the known loss, so these excesses fit into the gap;
after joining and pruning that is often a few thousand designs.
"""

from __future__ import annotations

import numpy as np

from netsmith.search.solver.program import SLACK, Far, Program, loosened
from netsmith.search.strategy import Designs, FloatArray

#: So many designs are listed at most; counted on so many steps of the gap.
_MOST, _STEPS = 300_000, 500


def best_of_few(
    program: Program, limits: FloatArray, far: Far, mu: FloatArray, known: float
) -> tuple[bool, Designs | None, float]:
    """The best design below ``known``, if there are few enough to look at.

    Args:
        program: without factors.
        limits: of its tables after the first, ``(B,)``.
        mu: multipliers ``(B,)``, loss per unit of each cost.

    Returns:
        whether all were looked at, the variables ``(V,)`` of the best or None if there is none, and its loss.
    """
    flat = [np.array([t.unary[g, :n] for t in program.tables]) for g, n in enumerate(program.sizes)]  # (tables, n)
    excess = [f[0] + mu @ f[1:] for f in flat]
    fixed = np.array([t.fixed for t in program.tables])
    gap = known - float(sum(e.min() for e in excess) + fixed[0] + mu @ (fixed[1:] - loosened(limits)))
    excess = [e - e.min() for e in excess]
    if not np.isfinite(gap) or gap < 0 or _count(excess, gap) > _MOST:
        return False, None, np.inf
    order = sorted(range(len(flat)), key=lambda g: -float(np.partition(excess[g], 1)[1]) if len(excess[g]) > 1 else 0.0)
    most = np.append(known, limits + SLACK * np.abs(limits)) - fixed
    least = np.array([f.min(axis=1) for f in flat])
    rest = least.sum(axis=0)
    above, sums = np.zeros(1), np.zeros((1, len(most)))
    trail: list[tuple[Designs, Designs]] = []
    for g in order:
        rest = rest - least[g]
        higher = above[:, None] + excess[g]
        label, cell = np.nonzero(higher <= gap * (1 + 1e-9))
        total = sums[label] + flat[g][:, cell].T
        fits = (total + rest <= most + 1e-12 * np.abs(most)).all(axis=1)
        label, cell = label[fits], cell[fits]
        above, sums = higher[label, cell], total[fits]
        trail.append((label, cell))
    ranked = np.argsort(sums[:, 0], kind="stable")
    for i in range(0, len(ranked), 256):
        at = ranked[i : i + 256]
        x = np.empty((len(at), len(flat)), dtype=np.int64)
        for g, (label, cell) in zip(reversed(order), reversed(trail), strict=True):
            x[:, g], at = cell[at], label[at]
        apart = np.sum([program.distances(g, far)[:, x[:, g]] for g in range(len(flat))], axis=0)
        good = np.flatnonzero((apart >= far.least).all(axis=0))
        if len(good):
            loss = float(program.tables[0].price(x[good[:1]])[0])
            return True, program.expand(x[good[:1]])[0], loss
    return True, None, np.inf


def _count(excess: list[FloatArray], gap: float) -> float:
    """At least the number of designs whose excesses sum to no more than ``gap``."""
    count = np.zeros(_STEPS + 1)
    count[0] = 1
    for e in excess:
        steps = np.floor(e / max(gap, 1e-300) * _STEPS).clip(max=_STEPS + 1).astype(int)
        kept = steps[steps <= _STEPS]
        count = np.sum([np.concatenate([np.zeros(s), count[: _STEPS + 1 - s]]) for s in kept], axis=0)
    return float(count.sum())

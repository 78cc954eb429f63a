"""Exact search where costs couple decisions along a network: prices by relaxation, then the designs next to its bound.

The relaxation minimises over all designs at once by variable elimination, so that its bound is as tight as that of any
linear program over whole designs; what separates it from the optimum is at most about one step of one decision. Every
choice whose best design cannot beat the known one goes, and the designs next to the bound are listed: the best of them
is known next, and once the list holds all that could be better, it is the optimum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from netsmith.search.solver.elimination import Elimination
from netsmith.search.solver.listing import Listing, list_designs
from netsmith.search.solver.program import SLACK, Far, Program, above, combine, dominate, loosened, target
from netsmith.search.solver.relaxation import relax
from netsmith.search.strategy import Designs, FloatArray
from netsmith.space import CostTable

#: So many designs are listed, one number after the other, until the optimum is proven or the gap is small enough.
_MOST = (3_000, 30_000, 300_000)
#: Lagrangians are taken at the best multipliers and with one of them by these shares larger or smaller.
_SPREAD = (0.5, 0.8, 0.95, 1.05, 1.25, 2.0)
#: So many points of the hull are mended.
_STARTS = 6
#: More refinements of one list than this bring little.
_ROUNDS = 6


@dataclass(frozen=True)
class Found:
    """Where the search stands.

    Attributes:
        model: what is left of the program; a group without cells if nothing is better than the known design.
        known: variables ``(V,)`` of the best design met, or None.
        value: its loss.
        bound: lower bound on the loss of any design that is not known.
    """

    model: Program
    known: Designs | None
    value: float
    bound: float


def search_coupled(
    model: Program, objective: CostTable, limits: FloatArray, far: Far, known: Designs | None, value: float, gap: float,
    mend: Callable[[Designs], Designs | None], out_of_time: Callable[[], bool],
) -> Found | None:  # fmt: skip
    """Search a program with factors.

    Args:
        objective: over single variables.
        limits: of its tables after the first, ``(B,)``.
        far: designs to keep away from.
        known, value: a design ``(V,)`` that keeps all this and its loss, if there is one; else None and ``inf``.
        gap: share of its loss by which a known design may be beaten and still be good enough.
        mend: from designs ``(P, V)`` that need not keep the limits to the best that do nearby, or None.
        out_of_time: whether to end with what there is.

    Returns:
        None where the couplings are too dense to be eliminated.
    """
    bound = -np.inf
    for most in _MOST:
        for _ in range(_ROUNDS):
            tree = Elimination.of(model.tables, model.sizes)
            if tree is None:
                return None if bound == -np.inf else Found(model, known, value, bound)
            least, mu, met = relax(model.tables, limits, tree=tree, close=1e-5)
            if least == np.inf:  # forbidden combinations leave nothing that is better
                return Found(_emptied(model), known, value, target(value, gap / 10))
            near = np.argsort(combine(model.tables, np.append(1.0, mu)).price(met), kind="stable")[:_STARTS]
            mended = mend(model.expand(met[near]))
            if mended is not None and (loss := float(objective.price(mended)[0])) < value:
                known, value = mended, loss
            enough = target(value, gap / 10)
            bound = max(bound, min(least, enough))
            weights, right, offset = _limits(model, limits, mu, enough)
            few = [0, *range(len(offset), len(right))]  # one Lagrangian drops most, and then the others are cheap
            model = _possible(model, tree, weights[few], right[few], far)
            if all(model.sizes):
                tree = Elimination(model.tables, model.sizes)
                model = _possible(model, tree, weights, right, far)
            if not all(model.sizes):
                return Found(model, known, value, enough)
            tree = Elimination(model.tables, model.sizes)
            listing = list_designs(tree, tree.run(weights), right, offset, most)
            bound = max(bound, min(listing.bound, enough))
            best = _best(model, listing, far)
            better = best is not None and best[1] < enough
            if best is not None and best[1] < value:
                known, value = best
            if listing.bound == np.inf:
                return Found(_emptied(model), known, value, min(enough, value))
            if target(value, gap) <= bound + 1e-12 * abs(bound) or out_of_time():
                return Found(model, known, value, bound)
            if not better:
                break
    return Found(model, known, value, bound)


def _possible(model: Program, tree: Elimination, weights: FloatArray, right: FloatArray, far: Far) -> Program:
    """The program without the cells whose best design is above the limit of a row, and what is then dominated."""
    found = tree.run(weights)
    alive = [(found.least[:, None] + m <= right[:, None]).all(axis=0) for m in tree.marginals(found)]
    if all(a.all() for a in alive):
        return model
    if not all(a.any() for a in alive):
        return _emptied(model)
    model = model.take([np.flatnonzero(a) for a in alive])
    return dominate(model, far) if all(model.sizes) else model


def _emptied(model: Program) -> Program:
    """The program without any cell: there is nothing left that is better."""
    return replace(model, cells=tuple(c[:0] for c in model.cells))


def _limits(
    model: Program, limits: FloatArray, mu: FloatArray, known: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rows ``(R, tables)`` and their limits: Lagrangians, loss, and budgets of all that is better than ``known``.

    The third are the costs at the limits, ``(P,)``, of the P Lagrangians.
    """
    prices = [mu]
    for share in _SPREAD:
        prices += [mu * np.where(np.arange(len(mu)) == b, share, 1.0) for b in range(len(mu))]
    known, multipliers = above(model, known), np.array(prices)
    offset = multipliers @ loosened(limits)
    right = np.array([*(known + offset), known, *(limits + SLACK * np.abs(limits))])
    lagrangians = np.column_stack([np.ones(len(multipliers)), multipliers])
    return np.concatenate([lagrangians, np.eye(len(limits) + 1)]), right, offset


def _best(model: Program, listing: Listing, far: Far) -> tuple[Designs, float] | None:
    """The variables of the listed design of least loss that is far from every cut, and its loss."""
    ranked = np.argsort(listing.sums[:, -len(model.tables)], kind="stable")
    for i in range(0, len(ranked), 256):
        x = listing.x[ranked[i : i + 256]]
        apart = np.sum([model.distances(g, far)[:, x[:, g]] for g in range(x.shape[1])], axis=0)
        good = np.flatnonzero((apart >= far.least).all(axis=0))
        if len(good):
            chosen = x[good[:1]]
            return model.expand(chosen)[0], float(model.tables[0].price(chosen)[0])
    return None

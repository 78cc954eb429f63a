"""The Lagrangian relaxation of a whole problem, as the bound that tests hold the solver against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsmith.search.solver.elimination import Elimination
from netsmith.search.solver.program import Far, Program, join, program
from netsmith.search.solver.reduced import reduce
from netsmith.search.solver.relaxation import relax
from netsmith.search.strategy import Designs, Problem


@dataclass(frozen=True)
class Relaxation:
    """What the relaxation proves and finds.

    Attributes:
        bound: lower bound on the loss of any design within the budgets; infinite where forbidden combinations leave
            none.
        multipliers: loss per unit of each budgeted cost, at the bound.
        designs: ``(P, D)`` hull points that were met, the bound's last ones among them; not all keep the budgets.
        rounded: the one of least loss that keeps them, ``(D,)``; None if none does.
    """

    bound: float
    multipliers: dict[str, float]
    designs: Designs
    rounded: Designs | None


def lagrange(problem: Problem) -> Relaxation:
    """The Lagrangian bound of a problem and hull points near its budgets.

    Raises:
        InputError: tables that do not fit together.
    """
    reduced = reduce(problem)
    tables = [reduced.objective, *(reduced.costs[n] for n in reduced.limits)]
    small = join(program(tables, reduced.sizes), Far(np.empty((0, len(reduced.sizes)), dtype=np.int64), reduced.weight))
    if not all(small.sizes):
        return Relaxation(np.inf, dict.fromkeys(reduced.limits, 0.0), np.empty((0, len(problem.loss)), np.int64), None)
    bound, mu, x = relax(small.tables, np.array(list(reduced.limits.values())), tree=eliminated(small))
    designs = np.unique(reduced.expand(small.expand(x)), axis=0)
    fits = designs[problem.feasible(designs)]
    rounded = fits[problem.estimate(fits).argmin()] if len(fits) else None
    return Relaxation(bound, dict(zip(reduced.limits, mu.tolist(), strict=True)), designs, rounded)


def eliminated(model: Program) -> Elimination | None:
    """An elimination of what factors couple; None where there are none, or too large ones."""
    return Elimination.of(model.tables, model.sizes) if any(t.factors for t in model.tables) else None

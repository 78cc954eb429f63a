"""Dynamic programming over one integer budget: a second, independent way to the optimum."""

from __future__ import annotations

import numpy as np

from netsmith.errors import InfeasibleError, InputError
from netsmith.search.solver.program import Far, join, program
from netsmith.search.solver.reduced import reduce
from netsmith.search.strategy import Designs, Problem
from netsmith.units import over

#: Costs this share of a cell above a whole number count as that number; far under the tolerance of a budget.
_ROUNDING = 1e-9


def solve_dp(problem: Problem, cells: int = 10_000) -> Designs:
    """The best design ``(D,)`` for one budget, with every cost rounded up to a grid.

    ``best[c]`` is the least loss that the groups so far can have at ``c`` cells of cost; each group of decisions takes
    its own minimum over its choices, for all c at once. As costs are rounded up the budget is never broken, and the
    result is no worse than the optimum at the limit less one cell for each group of decisions.

    Args:
        problem: with exactly one budget; costs and interactions may couple only decisions that are few enough to be
            joined into one group.
        cells: of the grid, which reaches from the least reachable cost to the limit.

    Raises:
        InputError: not one budget, or decisions that are coupled in too many ways.
        InfeasibleError: nothing fits, once rounded up.
    """
    if len(problem.budgets) != 1 or cells < 1:
        raise InputError(f"dynamic programming takes one budget and a cell or more, not {len(problem.budgets)} budgets")
    reduced = reduce(problem)
    ((name, limit),) = reduced.limits.items()
    far = Far(np.empty((0, len(reduced.sizes)), dtype=np.int64), reduced.weight)
    small = join(program([reduced.objective, reduced.costs[name]], reduced.sizes), far)
    loss, cost = small.tables
    if loss.factors or cost.factors:
        raise InputError("dynamic programming needs decisions that are coupled in small groups; use solve instead")
    least = cost.unary.min(axis=1)
    room = limit - cost.fixed - float(least.sum())
    if room < -_ROUNDING * abs(limit):
        low = cost.fixed + float(least.sum())
        raise InfeasibleError(f"no design keeps {over(name, limit, low)}; loosen the budget", {name: low})
    step = max(room, 0.0) / cells
    extra = cost.unary - least[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.ceil(extra / step - _ROUNDING) if step > 0 else np.where(extra > 0, np.inf, 0.0)
    best = np.zeros(cells + 1)
    taken = np.zeros((len(least), cells + 1), dtype=np.int16)
    for g, size in enumerate(small.sizes):
        option = np.full((size, cells + 1), np.inf)
        for k in range(size):
            if whole[g, k] <= cells:
                shift = int(whole[g, k])
                option[k, shift:] = best[: cells + 1 - shift] + loss.unary[g, k]
        taken[g] = option.argmin(axis=0)
        best = option.min(axis=0)
    x, left = np.empty(len(least), dtype=np.int64), cells
    for g in reversed(range(len(least))):
        x[g] = taken[g, left]
        left -= int(whole[g, x[g]])
    return np.asarray(reduced.expand(small.expand(x[None]))[0])

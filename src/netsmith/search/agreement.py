"""Whether losses of choices add up to those of designs: how far estimates agree with what designs really lose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netsmith.errors import InputError
from netsmith.search.random import Random
from netsmith.search.solver.reduced import reduce
from netsmith.search.strategy import Designs, FloatArray, Problem

Evaluate = Callable[[Designs], FloatArray]  #: designs ``(N, D)`` to their real losses ``(N,)``


def additivity(
    problem: Problem, evaluate: Evaluate, n: int = 50, seed: int = 0, within: bool = False
) -> dict[str, float]:
    """How well the estimate ranks random designs: the check that summed losses mean something.

    Args:
        evaluate: real losses ``(N,)`` of designs ``(N, D)``; those that are not finite rank last.
        n: designs.
        within: take random designs that fill the budgets, where the search will look, instead of any.

    Returns:
        ``spearman``, ``kendall``, ``pearson`` of estimated and real loss, the ``slope`` of the real on the estimated
        loss, and ``n``.

    Raises:
        InputError: fewer than three designs, or losses that are not one number a design.
    """
    from scipy.stats import kendalltau, spearmanr

    reduced = reduce(problem)
    if within:
        designs = Random(problem, seed=seed).ask(n)
    else:
        sample = np.random.default_rng(seed).integers(0, reduced.sizes, size=(n, len(reduced.sizes)), dtype=np.int64)
        designs = reduced.expand(np.unique(sample, axis=0))
    if len(designs) < 3:
        raise InputError(f"{len(designs)} designs tell no rank correlation; allow three or more")
    loss = np.asarray(evaluate(designs), dtype=np.float64)
    if loss.shape != (len(designs),):
        raise InputError(f"evaluate returned shape {loss.shape}; it must return one loss for each of {len(designs)}")
    loss, estimate = np.where(np.isfinite(loss), loss, np.inf), problem.estimate(designs)
    varied = len(np.unique(loss)) > 1 and len(np.unique(estimate)) > 1
    usable = np.isfinite(loss) & np.isfinite(estimate)
    x, y = estimate[usable], loss[usable]
    spread, common = float(x.std() * y.std()), float(((x - x.mean()) * (y - y.mean())).mean())
    return {
        "spearman": float(spearmanr(estimate, loss).statistic) if varied else 0.0,
        "kendall": float(kendalltau(estimate, loss).statistic) if varied else 0.0,
        "pearson": common / spread if spread > 0 else 0.0,
        "slope": common / float(x.var()) if x.var() > 0 else 0.0,
        "n": float(len(designs)),
    }

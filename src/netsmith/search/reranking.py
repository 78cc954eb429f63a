"""The best designs of the estimate, evaluated for real: how good the estimate is, and which design wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netsmith.errors import InputError
from netsmith.search.history import History
from netsmith.search.random import Random
from netsmith.search.solver.exact import solve_k_best
from netsmith.search.solver.reduced import reduce
from netsmith.search.strategy import Designs, FloatArray, Problem

Evaluate = Callable[[Designs], FloatArray]  #: designs ``(N, D)`` to their real losses ``(N,)``


@dataclass(frozen=True)
class Reranked(History):
    """Designs in the order of their estimated loss, and what they really lose.

    Attributes:
        estimate: ``(T,)`` estimated loss of each design.
        spearman: rank correlation of estimated and real loss; 0 if either is constant.
        kendall: Kendall's tau-b of the same.
    """

    estimate: FloatArray
    spearman: float
    kendall: float


def rerank(
    problem: Problem,
    evaluate: Evaluate,
    k: int,
    distance: int = 1,
    gap: float = 1e-4,
    time_limit: float | None = 60.0,
) -> Reranked:
    """Evaluate the k best designs of the estimate; ``best`` is the one that really loses least.

    The next-best designs of a table of losses are near-duplicates; ``distance`` keeps them apart.

    Args:
        evaluate: real losses ``(N,)`` of designs ``(N, D)``, lower is better; those that are not finite rank last.
        distance: any two differ in at least so many decisions.
        gap: as in ``solve``; what the estimate cannot tell apart need not be proven.
        time_limit: seconds for each design.

    Raises:
        InfeasibleError: no design keeps the budgets.
        InputError: losses that are not one number a design.
    """
    if k < 1 or distance < 1:
        raise InputError(f"k is {k} and distance {distance}; both must be 1 or more")
    designs = np.array([s.choice for s in solve_k_best(problem, k, time_limit, distance=distance, gap=gap)])
    return _compared(problem, designs, evaluate)


def additivity(
    problem: Problem, evaluate: Evaluate, n: int = 50, seed: int = 0, within: bool = False
) -> dict[str, float]:
    """How well the estimate ranks random designs: the check that summed losses mean something.

    Args:
        evaluate: real losses ``(N,)`` of designs ``(N, D)``.
        n: designs.
        within: take random designs that fill the budgets, where the search will look, instead of any.

    Returns:
        ``spearman``, ``kendall``, ``pearson`` of estimated and real loss, the ``slope`` of the real on the estimated
        loss, and ``n``.

    Raises:
        InputError: fewer than three designs, or losses that are not one number a design.
    """
    reduced = reduce(problem)
    if within:
        designs = Random(problem, seed=seed).ask(n)
    else:
        sample = np.random.default_rng(seed).integers(0, reduced.sizes, size=(n, len(reduced.sizes)), dtype=np.int64)
        designs = reduced.expand(np.unique(sample, axis=0))
    if len(designs) < 3:
        raise InputError(f"{len(designs)} designs tell no rank correlation; allow three or more")
    got = _compared(problem, designs, evaluate)
    usable = np.isfinite(got.loss) & np.isfinite(got.estimate)
    x, y = got.estimate[usable], got.loss[usable]
    spread, common = float(x.std() * y.std()), float(((x - x.mean()) * (y - y.mean())).mean())
    return {
        "spearman": got.spearman,
        "kendall": got.kendall,
        "pearson": common / spread if spread > 0 else 0.0,
        "slope": common / float(x.var()) if x.var() > 0 else 0.0,
        "n": float(len(designs)),
    }


def _compared(problem: Problem, designs: Designs, evaluate: Evaluate) -> Reranked:
    from scipy.stats import kendalltau, spearmanr

    loss = np.asarray(evaluate(designs), dtype=np.float64)
    if loss.shape != (len(designs),):
        raise InputError(f"evaluate returned shape {loss.shape}; it must return one loss for each of {len(designs)}")
    loss = np.where(np.isfinite(loss), loss, np.inf)
    estimate = problem.estimate(designs)
    varied = len(loss) > 1 and len(np.unique(loss)) > 1 and len(np.unique(estimate)) > 1
    spearman = float(spearmanr(estimate, loss).statistic) if varied else 0.0
    kendall = float(kendalltau(estimate, loss).statistic) if varied else 0.0
    return Reranked(designs, loss, problem.feasible(designs), estimate, spearman, kendall)

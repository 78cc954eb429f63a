"""Random problems, small enough for brute force."""

from __future__ import annotations

from itertools import product

import numpy as np

from netsmith.hardware.target import CostTable, Factor
from netsmith.search.strategy import Problem


def random_problem(
    seed: int, decisions: int, choices: int, budgets: int, tie: bool, factors: int, forbid: bool = False
):
    """Costs with pair and triple terms (some separable), integer-valued half of the time so that limits are met."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, choices + 1, decisions) if forbid else np.full(decisions, choices)
    tied = []
    if tie and decisions >= 4:
        picked = rng.permutation(decisions)[:5]
        tied = [picked[:2].tolist(), picked[2:].tolist()] if decisions >= 5 else [picked[:2].tolist()]
        for group in tied:
            sizes[group] = sizes[group].min()
    padded = np.arange(choices) >= sizes[:, None]
    loss = np.where(padded, np.inf, np.sort(rng.gamma(0.7, 2.0, (decisions, choices)), axis=1)[:, ::-1])
    costs = {}
    for b in range(budgets):
        unary = rng.gamma(1.0, 1.0, (decisions, choices)).cumsum(axis=1)
        terms = []
        for _ in range(factors):
            arity = int(rng.integers(2, 4)) if decisions >= 3 else 2
            rows = tuple(int(r) for r in rng.permutation(decisions)[:arity])
            shape = [int(sizes[r]) for r in rows]
            kind = rng.integers(3)
            values = rng.gamma(1.0, 1.0, shape)
            if kind == 1:  # a product, as of input and output channels
                values = np.ones(shape)
                for axis, s in enumerate(shape):
                    values = values * np.linspace(0.2, 1.0, s).reshape([-1 if a == axis else 1 for a in range(arity)])
            elif kind == 2:  # additive: must vanish
                values = np.add.outer(
                    rng.random(shape[0]), rng.random(shape[1:]) if arity == 2 else np.zeros(shape[1:])
                )
            terms.append(Factor(rows, 3.0 * values))
        if seed % 2:
            unary, terms = unary.round(), [Factor(f.rows, f.values.round()) for f in terms]
        costs[f"cost{b}"] = CostTable(float(b), np.where(padded, np.inf, unary), tuple(terms))
    problem = Problem(loss, costs, {}, tied)
    every = designs_of(problem)
    limits = {}
    for name, table in costs.items():
        prices = table.price(every)
        limits[name] = float(np.quantile(prices, rng.uniform(0.05, 0.6), method="lower"))
    return Problem(loss, costs, limits, tied)


def designs_of(problem: Problem) -> np.ndarray:
    """All designs that keep the ties and take no forbidden choice."""
    finite = np.isfinite(problem.loss)
    for table in problem.costs.values():
        finite = finite & np.isfinite(table.unary)
    leader = list(range(len(finite)))
    for group in problem.tied:
        for i in group:
            leader[i] = group[0]
            finite[group[0]] &= finite[i]
    free = sorted(set(leader))
    grid = np.array(list(product(*(np.flatnonzero(finite[i]) for i in free))), dtype=np.int64)
    return grid[:, [free.index(i) for i in leader]]


def brute_force(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """All feasible designs and their losses, best first."""
    every = designs_of(problem)
    every = every[problem.feasible(every)]
    loss = problem.loss[np.arange(len(problem.loss)), every].sum(axis=1)
    order = np.argsort(loss, kind="stable")
    return every[order], loss[order]

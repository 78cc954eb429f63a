"""Random problems, small enough for brute force."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from netsmith.search.strategy import Problem
from netsmith.space import CostTable, Factor


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
    loss = problem.estimate(every)
    order = np.argsort(loss, kind="stable")
    return every[order], loss[order]


def with_pairs(problem: Problem, seed: int, terms: int = 4) -> Problem:
    """The same with random interactions, over tied decisions as well, large enough to change the optimum."""
    rng = np.random.default_rng(seed)
    (d, k), scale = problem.loss.shape, float(np.median(problem.loss[np.isfinite(problem.loss)]))
    pairs = [tuple(int(r) for r in rng.permutation(d)[:2]) for _ in range(terms)]
    factors = tuple(Factor(p, 3.0 * scale * rng.standard_normal((k, k))) for p in pairs)
    return replace(problem, interactions=factors)


def mixed_precision(seed: int, layers: int, budgets: int, alpha: float, noise: float = 0.0) -> Problem:
    """Bits 2..8 for the weights and activations of each layer (decisions 2l and 2l + 1), as on an accelerator.

    The loss falls about fourfold a bit; latency is the larger of bit operations and traffic, energy their sum, size
    the weights'. Limits lie ``alpha`` of the way from all low to all high.
    """
    rng = np.random.default_rng(seed)
    bits, decisions = np.arange(2, 9), 2 * layers
    decay = rng.uniform(1.0, 1.6, (decisions, 1))
    loss = 10 ** rng.normal(0, 1.0, (decisions, 1)) * np.exp(-decay * (bits - 2))
    loss = (loss - loss[:, -1:]) * (1 + noise * rng.standard_normal(loss.shape))
    macs, params, acts = (10 ** rng.uniform(low, 2, layers) for low in (0, -1, -1))
    none, w, a = np.zeros((decisions, 7)), bits[:, None], bits
    latency, energy = [], []
    for i in range(layers):
        compute, traffic = macs[i] * w * a / 64, (params[i] * w + acts[i] * a) / 8
        latency.append(Factor((2 * i, 2 * i + 1), np.maximum(compute, traffic * rng.uniform(0.3, 1.5))))
        energy.append(Factor((2 * i, 2 * i + 1), compute / 2 + 2 * traffic))
    size = none.copy()
    size[::2] = params[:, None] * bits / 8
    tables = [CostTable(0.0, none, tuple(latency)), CostTable(0.0, none, tuple(energy)), CostTable(0.0, size)]
    costs = dict(list(zip(("latency", "energy", "size"), tables, strict=True))[:budgets])
    ends = np.array([[0] * decisions, [6] * decisions])
    return Problem(loss, costs, {n: float(c.price(ends) @ [1 - alpha, alpha]) for n, c in costs.items()})

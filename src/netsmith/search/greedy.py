"""Greedy search: give up the least loss for each saved cost until the budgets hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netsmith.search.random import Random
from netsmith.search.solver.moves import descend
from netsmith.search.strategy import Designs, Problem
from netsmith.space import Space


class Greedy(Random):
    """The greedy design first, then greedy designs of a randomly distorted loss (GRASP); none twice.

    From the least loss, take again and again the move of least loss for each saved share of the broken budgets; then
    spend what the last step left over. Not optimal even for one budget, hence the baseline of the exact search.

    Args:
        refill: whether to spend what is left over.
    """

    def __init__(self, problem: Problem, space: Space | None = None, seed: int = 0, refill: bool = True) -> None:
        super().__init__(problem, space, seed)
        self.refill = refill

    def _draw(self, attempt: int, n: int) -> Designs:
        if attempt >= self.patience - 2:  # distortion finds nothing new: any feasible design will do
            return super()._draw(attempt, n)
        plain = not self.asked and attempt == 0
        rows = [self._greedy(0.0 if plain and i == 0 else 0.2 * (attempt + 1)) for i in range(n)]
        return np.array(rows, dtype=np.int64)

    def _greedy(self, spread: float) -> Designs:
        moves = self.moves
        if spread:
            loss = self.reduced.objective.unary
            finite = np.isfinite(loss)
            factor = np.exp(spread * self.rng.standard_normal(loss.shape))
            base = loss.min(axis=1, keepdims=True)
            loss = np.where(finite, base + (np.where(finite, loss, 0.0) - np.where(finite, base, 0.0)) * factor, np.inf)
            moves = self.moves.going_by(replace(self.reduced.objective, unary=loss))
        x = descend(moves, self.refill)
        if x is None:  # a trap that no single move leaves
            x = self.feasible(moves.objective.unary.argmin(axis=1)[None], self.refill)[0]
        return x

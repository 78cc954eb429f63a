"""Evolution: children of the best designs told so far, kept at the budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netsmith.errors import InputError, NetsmithError
from netsmith.search.random import Random
from netsmith.search.solver.exact import solve
from netsmith.search.solver.moves import descend, fill, repair
from netsmith.search.solver.program import bounds
from netsmith.search.strategy import Designs, Problem, Results
from netsmith.space import Space

#: A changed decision goes to a neighbouring choice in so many cases, to any other one in the rest.
_NEIGHBOUR = 0.75


class Evolution(Random):
    """Tournament, crossover and mutation over designs that keep the budgets; none is asked twice.

    The first ``population`` designs fill the budgets at random; with ``warm`` and an estimate of the loss that tells
    designs apart they are the exact optimum of the estimate, the greedy design, and mutants of them for half of the
    rest. Then each child has one or two parents, the best of ``tournament`` drawn from the population, which is the
    best of the last ``age`` told designs (all of them by default: elitist; fewer: the ageing of regularised evolution,
    Real et al., AAAI 2019, which forgets lucky evaluations). One or two decisions change, mostly to a neighbouring
    choice; the child is repaired and spends what a few moves can, but is not filled up, which would undo it.

    Works without an estimate (a loss table of zeros): then the told losses alone steer, and spare budget is spent on
    any decision.

    Args:
        population: designs that may be parents, 2 or more.
        tournament: designs drawn for each parent; more is greedier.
        age: how many of the last told designs may be parents; None for all.
        crossover: share of children with two parents.
        warm: start from the optimum of the estimated loss.
        start: designs to begin with instead, ``(n, D)``; brought inside the budgets and up to them.

    Raises:
        InputError: an option out of range.
    """

    def __init__(
        self,
        problem: Problem,
        space: Space | None = None,
        seed: int = 0,
        population: int = 32,
        tournament: int = 4,
        age: int | None = None,
        crossover: float = 0.5,
        warm: bool = True,
        start: Designs | None = None,
    ) -> None:
        super().__init__(problem, space, seed)
        if population < 2 or tournament < 1 or (age is not None and age < 2) or not 0 <= crossover <= 1:
            raise InputError("evolution takes population >= 2, tournament >= 1, age >= 2 and crossover in 0..1")
        self.population, self.tournament, self.age, self.crossover = population, tournament, age, crossover
        self.warm = warm
        self._given = start
        self._queue: list[list[int]] = []  #: of the designs to begin with, those that were not asked for yet
        self._start: Designs | None = None
        self._told: list[tuple[list[int], float]] = []

    def ask(self, n: int) -> Designs:
        if self._given is not None:
            filled = self.feasible(self.reduced.contract(self._given))
            self._queue = filled[np.sort(np.unique(filled, axis=0, return_index=True)[1])].tolist()  # first ones first
            self._given = None
        first = self._new(np.array(self._queue[:n], dtype=np.int64), n)
        self._queue = self._queue[n:]
        if not first:
            return super().ask(n)
        self.asked += [[int(k) for k in x] for x in first]
        return self.reduced.expand(np.array(first))

    def _draw(self, attempt: int, n: int) -> Designs:
        if attempt >= self.patience - 4:  # neither children nor mutants are new: any feasible design will do
            return super()._draw(attempt, n)
        if len(self.asked) < self.population and len(self._told) < self.population:
            return self._first(n)
        parents = self._parents()
        if len(parents) < 2:
            return super()._draw(0, n)
        return self._children(parents, max(n, 8), changes=2 + attempt // 2)

    def _first(self, n: int) -> Designs:
        """Designs to begin with."""
        low, high = bounds(self.reduced.objective)
        told = high > low  # does the estimate tell designs apart?
        if not (self.warm and told):
            return super()._draw(0, n)
        if self._start is None:
            self._start = self._estimated()
        mutants, others = self._children(self._start, max(n, 8), changes=2), super()._draw(0, n)
        both = min(len(mutants), len(others))
        mixed = np.stack([mutants[:both], others[:both]], axis=1).reshape(-1, others.shape[1])
        return np.concatenate([self._start, mixed, others[both:]])

    def _estimated(self) -> Designs:
        """The exact and the greedy design of the estimated loss, ``(1..2, V)``."""
        found = []
        try:
            design = solve(self.problem, time_limit=10.0, gap=1e-4).choice
            found.append(self.reduced.contract(design[None])[0])
        except NetsmithError:
            pass  # infeasible, which the random designs find out as well, or out of time
        greedy = descend(self.moves)
        if greedy is not None:
            found.append(greedy)
        return np.unique(found or [self.anchor], axis=0)

    def _parents(self) -> Designs:
        """The population, best first, ``(P, V)``."""
        recent = self._told[-self.age :] if self.age else self._told
        rank = np.argsort([y for _, y in recent], kind="stable")[: self.population]
        return np.array([recent[i][0] for i in rank], dtype=np.int64).reshape(-1, len(self.reduced.choices))

    def _children(self, parents: Designs, n: int, changes: int) -> Designs:
        """``n`` designs from parents that are sorted best first, ``(n, V)``; up to ``changes`` decisions change."""
        rng, count = self.rng, len(parents)
        first, second = rng.integers(0, count, size=(2, n, self.tournament)).min(axis=2)
        both = (rng.random(n) < self.crossover)[:, None] & (rng.random((n, parents.shape[1])) < 0.5)
        x = np.where(both, parents[second], parents[first])
        sizes = self.reduced.sizes
        free = np.flatnonzero(sizes > 1)
        for change in range(changes if len(free) else 0):
            # The last change always happens; each before it in half of the children.
            row = np.flatnonzero((rng.random(n) < 0.5) | (change == changes - 1))
            v = free[rng.integers(0, len(free), size=len(row))]
            k, size = x[row, v], sizes[v]
            side = np.where(rng.random(len(row)) < 0.5, -1, 1)
            near = np.where((k + side < 0) | (k + side >= size), k - side, k + side)
            other = (k + rng.integers(1, size)) % size
            x[row, v] = np.where(rng.random(len(row)) < _NEIGHBOUR, near, other)
        x, fits = repair(self.moves, rng, x)
        return fill(self.moves, rng, x[fits], steps=changes + 1)

    def tell(self, designs: Designs, results: Results) -> None:
        told = self.reduced.contract(np.atleast_2d(designs))
        for x, y in zip(told.tolist(), results.loss, strict=True):
            self._seen.add(tuple(x))
            if np.isfinite(y) and min(x) >= 0:
                self._told.append((x, float(y)))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "told": [[list(x), y] for x, y in self._told], "queue": self._queue}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._told = [([int(k) for k in x], float(y)) for x, y in state["told"]]
        self._seen |= {tuple(x) for x, _ in self._told}
        self._queue, self._given = [list(x) for x in state["queue"]], None

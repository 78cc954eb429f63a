"""Projection onto the budgets: lower the choices of a design, one by one, until every budget holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netsmith.errors import InputError
from netsmith.search.solver.exact import solve
from netsmith.search.solver.moves import Moves, descend
from netsmith.search.solver.reduced import Reduced, reduce
from netsmith.search.strategy import Designs, Problem

RULES = ("sweep", "cheapest")

#: Designs that are projected together, so that the stages of a sweep stay in the cache.
_BLOCK = 8


class Projection:
    """Brings variables of a reduced problem inside its budgets; ties, forbidden choices and pinned decisions stay.

    ``sweep`` is HAQ's rule (Wang et al., CVPR 2019): go from the last decision to the first, lower each by one choice
    and stop as soon as the budgets hold; repeat. With the decisions of a network in order of execution, a layer's
    activations after its weights, activation bits of the last layer fall first. All stages of a sweep are priced at
    once.

    ``cheapest`` is ours: take the move that costs the least estimated loss (``Problem.loss``) for each saved share of
    the broken budgets, again and again, as the greedy search does.

    Decisions move towards the lowest choices; where even these break a budget, as a choice that ranks lower need not
    cost less, towards a feasible design instead, found exactly. Both rules therefore end within the budgets.

    Raises:
        InputError: an unknown rule.
        InfeasibleError: no design keeps the budgets; ``reachable`` has the smallest reachable value of each.
    """

    def __init__(self, problem: Problem, reduced: Reduced, rule: str = "sweep") -> None:
        if rule not in RULES:
            raise InputError(f"unknown projection rule {rule!r}; known: {', '.join(RULES)}")
        self.rule, self.moves = rule, Moves(reduced)
        self.floor = np.zeros(len(reduced.choices), dtype=np.int64)
        if not self.moves.feasible(self.floor[None])[0]:
            any_loss = np.where(np.isfinite(problem.loss), 0.0, np.inf)
            self.floor = reduced.contract(solve(replace(problem, loss=any_loss)).choice[None])[0]
        self._movable = np.flatnonzero(reduced.sizes > 1)[::-1]  # the last decision first

    def __call__(self, x: Designs) -> Designs:
        """Variables ``(N, V)`` inside the budgets, ``(N, V)``; those that were inside are returned as they are."""
        x = x.copy()
        if not len(x):
            return x
        over = np.flatnonzero(~self.moves.feasible(x))
        if self.rule == "cheapest":
            for i in over:
                found = descend(self.moves, refill=False, start=x[i])
                x[i] = x[i] if found is None else found
            over = np.flatnonzero(~self.moves.feasible(x))  # traps that no single move leaves
        for start in range(0, len(over), _BLOCK):
            block = over[start : start + _BLOCK]
            x[block] = self._sweep(x[block])
        return x

    def _sweep(self, x: Designs) -> Designs:
        stage = np.tri(len(self._movable), dtype=bool)  # in stage s the first s + 1 of ``_movable`` have moved
        over = np.arange(len(x))
        while len(over):
            here = x[over]
            move = np.sign(self.floor - here)[:, self._movable]
            stages = np.repeat(here[:, None], len(stage), axis=1)
            stages[:, :, self._movable] += np.where(stage, move[:, None], 0)
            fits = self.moves.feasible(stages.reshape(-1, x.shape[1])).reshape(len(over), -1)
            fits[:, -1] |= ~move.any(axis=1)  # at the floor, which is feasible
            done = fits.any(axis=1)
            x[over] = stages[np.arange(len(over)), np.where(done, fits.argmax(axis=1), -1)]
            over = over[~done]
        return x


def project(problem: Problem, designs: Designs, rule: str = "sweep") -> Designs:
    """Designs ``(N, D)`` brought inside the budgets, ``(N, D)``; see :class:`Projection` for rules and errors.

    Raises:
        InputError: a design breaks a tie or takes a choice that the problem forbids.
    """
    reduced = reduce(problem)
    return reduced.expand(Projection(problem, reduced, rule)(contract(reduced, designs)))


def contract(reduced: Reduced, designs: Designs) -> Designs:
    """Designs ``(N, D)`` as variables ``(N, V)``.

    Raises:
        InputError: a design breaks a tie or takes a choice that the problem forbids.
    """
    designs = np.atleast_2d(designs)
    if designs.shape[1] != len(reduced.variable):
        raise InputError(
            f"a design has {designs.shape[1]} choices, but the problem has {len(reduced.variable)} decisions"
        )
    x = reduced.contract(designs)
    wrong = (x < 0).any(axis=1) | (reduced.expand(x) != designs).any(axis=1)
    if wrong.any():
        raise InputError(f"design {designs[wrong][0].tolist()} breaks a tie or takes a choice that the problem forbids")
    return x

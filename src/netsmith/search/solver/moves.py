"""Single-decision moves, priced for a whole population at once, and the local searches made of them."""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from netsmith.search.solver.program import SLACK
from netsmith.search.solver.reduced import Reduced
from netsmith.search.strategy import Designs, FloatArray
from netsmith.space import CostTable


class Stacked:
    """One cost with its factors stacked by shape, so that all moves of a population cost a few gathers."""

    def __init__(self, table: CostTable, forbidden: float) -> None:
        self.fixed, self.unary = table.fixed, table.unary
        shapes: dict[tuple[int, ...], list[int]] = {}
        for i, f in enumerate(table.factors):
            shapes.setdefault(f.values.shape, []).append(i)
        self.stacks: list[tuple[FloatArray, Designs]] = []
        self.axes: list[tuple[FloatArray, Designs, Designs, Designs]] = []
        self._own: dict[int, list[tuple[FloatArray, Designs]]] = {}  # of one variable each, as they are asked for
        for members in shapes.values():
            values = np.stack([np.where(np.isfinite(v := table.factors[i].values), v, forbidden) for i in members])
            rows = np.array([table.factors[i].rows for i in members], dtype=np.int64)
            self.stacks.append((values, rows))
            for axis in range(rows.shape[1]):  # sorted by the moving variable: sums over its factors are reduceat
                order = np.argsort(rows[:, axis], kind="stable")
                moving, first = np.unique(rows[order, axis], return_index=True)
                others = np.delete(rows[order], axis, axis=1)
                self.axes.append((np.moveaxis(values[order], axis + 1, -1), others, moving, first))

    def price(self, x: Designs) -> FloatArray:
        total = self.fixed + self.unary[np.arange(x.shape[1]), x].sum(axis=1)
        for values, rows in self.stacks:
            total = total + values[(np.arange(len(rows)), *np.moveaxis(x[:, rows], 2, 0))].sum(axis=1)
        return np.asarray(total)

    def part(self, x: Designs) -> FloatArray:
        """What depends on variable v, were it k, ``(N, V, K)``; ``inf`` where there is no choice k."""
        part = np.repeat(self.unary[None], len(x), axis=0)
        for values, others, moving, first in self.axes:
            term = values[(np.arange(len(others)), *np.moveaxis(x[:, others], 2, 0))]
            part[:, moving, : term.shape[2]] += np.add.reduceat(term, first, axis=1)
        return part

    def after(self, x: Designs) -> FloatArray:
        """Cost ``(N, V, K)`` of each design with variable v moved to choice k."""
        part = self.part(x)
        now = np.take_along_axis(part, x[:, :, None], axis=2)
        return np.asarray(self.price(x)[:, None, None] + part - now)

    def part_one(self, x: Designs, variable: int) -> FloatArray:
        """What depends on one variable, were it k, ``(N, K)``, as :meth:`part` has it for all."""
        if variable not in self._own:
            self._own[variable] = []
            for values, others, moving, first in self.axes:
                at = np.flatnonzero(np.repeat(moving, np.diff([*first, len(others)])) == variable)
                if len(at):
                    self._own[variable].append((values[at], others[at]))
        part = np.repeat(self.unary[variable][None], len(x), axis=0)
        for values, others in self._own[variable]:
            term = values[(np.arange(len(others)), *np.moveaxis(x[:, others], 2, 0))]
            part[:, : term.shape[2]] += term.sum(axis=1)
        return part


class Moves:
    """Losses, prices and violations of designs of a reduced problem and of every single move away from them."""

    def __init__(self, reduced: Reduced) -> None:
        self.reduced, self.objective = reduced, Stacked(reduced.objective, 0.0)
        self.limits = np.array([reduced.limits[n] for n in reduced.limits])
        self.scale = np.ones(len(self.limits))
        self.tables = []
        for i, (name, limit) in enumerate(reduced.limits.items()):
            table = reduced.costs[name]
            finite = np.abs(table.unary[np.isfinite(table.unary)]).max(initial=0.0)
            self.scale[i] = abs(limit) or finite or 1.0
            self.tables.append(Stacked(table, 1e4 * (self.scale[i] + finite + abs(table.fixed))))
        self.excess_limit = (self.limits + SLACK * np.abs(self.limits)) / self.scale

    def going_by(self, objective: CostTable) -> Moves:
        """The same with another estimate of the loss."""
        other = copy(self)
        other.objective = Stacked(objective, 0.0)
        return other

    def price(self, x: Designs) -> FloatArray:
        """Budgeted costs as shares of their limits, ``(B, N)``."""
        return np.array([t.price(x) / s for t, s in zip(self.tables, self.scale, strict=True)]).reshape(-1, len(x))

    def after(self, x: Designs) -> FloatArray:
        """The same after each move, ``(B, N, V, K)``."""
        prices = [t.after(x) / s for t, s in zip(self.tables, self.scale, strict=True)]
        return np.array(prices).reshape(-1, len(x), *self.objective.unary.shape)

    def losses(self, x: Designs) -> tuple[FloatArray, FloatArray]:
        """The share of the loss that depends on variable v, were it k, ``(N, V, K)``, and as it is, ``(N, V, 1)``."""
        part = self.objective.part(x)
        return part, np.take_along_axis(part, x[:, :, None], axis=2)

    def over(self, prices: FloatArray) -> FloatArray:
        """How far budgets are broken in all: ``(B, ...)`` to ``(...)``, 0 for feasible."""
        limit = self.excess_limit.reshape(-1, *[1] * (prices.ndim - 1))
        return np.asarray(np.maximum(prices - limit, 0.0).sum(axis=0))

    def feasible(self, x: Designs) -> NDArray[np.bool_]:
        return self.over(self.price(x)) <= 0


def _pick(rng: np.random.Generator, good: NDArray[np.bool_]) -> tuple[Designs, Designs]:
    """A random variable that has a good move, then a random good move of it, for each design."""
    variable = np.where(good.any(axis=2), rng.random(good.shape[:2]), -1.0).argmax(axis=1)
    own = good[np.arange(len(good)), variable]
    return variable, np.where(own, rng.random(own.shape), -1.0).argmax(axis=1)


def repair(moves: Moves, rng: np.random.Generator, x: Designs) -> tuple[Designs, NDArray[np.bool_]]:
    """Make random moves that lessen the violation until the budgets hold.

    Returns:
        the designs ``(N, V)`` and which of them are feasible; the others are stuck where no single move helps.
    """
    x = x.copy()
    active = np.flatnonzero(~moves.feasible(x))
    for _ in range(int(moves.reduced.sizes.sum()) * 4):
        if not len(active):
            break
        over = moves.over(moves.price(x[active]))
        good = moves.over(moves.after(x[active])) < over[:, None, None] * (1 - 1e-9)
        alive = (over > 0) & good.any(axis=(1, 2))
        active, good = active[alive], good[alive]
        if not len(active):
            break
        variable, choice = _pick(rng, good)
        x[active, variable] = choice
    return x, moves.feasible(x)


def fill(moves: Moves, rng: np.random.Generator, x: Designs, steps: int | None = None) -> Designs:
    """Spend what is left of the budgets: random moves to a lower loss (or to a higher cost at an equal loss).

    Args:
        steps: at most this many moves a design, instead of until nothing more fits.
    """
    x = x.copy()
    active = np.arange(len(x))
    for _ in range(int(moves.reduced.sizes.sum()) * 4 if steps is None else steps):
        if not len(active):
            break
        here = x[active]
        after = moves.after(here)
        loss, own = moves.losses(here)
        dearer = after.sum(axis=0) > moves.price(here).sum(axis=0)[:, None, None] + 1e-9
        better = (loss < own) | ((loss == own) & dearer & np.isfinite(loss))
        good = better & (moves.over(after) <= 0)
        alive = good.any(axis=(1, 2))
        active, good = active[alive], good[alive]
        if len(active):
            variable, choice = _pick(rng, good)
            x[active, variable] = choice
    return x


def towards(moves: Moves, rng: np.random.Generator, x: Designs, anchor: Designs) -> Designs:
    """Copy the feasible design ``anchor (V,)`` into stuck designs, variable by random variable, until they fit."""
    x = x.copy()
    order = rng.permuted(np.tile(np.arange(x.shape[1]), (len(x), 1)), axis=1)
    for step in range(x.shape[1]):
        stuck = np.flatnonzero(~moves.feasible(x))
        x[stuck, order[stuck, step]] = anchor[order[stuck, step]]
    return x


def descend(moves: Moves, refill: bool = True, start: Designs | None = None) -> Designs | None:
    """Greedy design ``(V,)``: from the least loss, take the move of least loss for each saved cost until all fits.

    Interactions count as they are at the design of the moment; the start is the least of each choice's own loss.

    Args:
        refill: afterwards spend what the last step left over, the largest drop of loss first.
        start: where to begin instead of the least loss, ``(V,)``.

    Returns:
        None if no single move saves anything and the budgets are still broken.
    """
    x = (moves.objective.unary.argmin(axis=1) if start is None else start.copy())[None]
    for _ in range(int(moves.reduced.sizes.sum()) * 4):
        prices = moves.price(x)[:, 0]
        if moves.over(prices[:, None])[0] <= 0:
            break
        broken = prices > moves.excess_limit
        after = moves.after(x)[:, 0]
        saved = (prices[broken, None, None] - after[broken]).sum(axis=0)
        if not broken.all():
            spilled = after[~broken] - moves.excess_limit[~broken, None, None]
            saved = saved - np.maximum(spilled, 0.0).sum(axis=0)
        loss, own = moves.losses(x)
        worse = (loss - own)[0]
        helpful = (saved > 1e-12) & np.isfinite(worse)
        if not helpful.any():
            return None
        rate = np.where(helpful, worse / np.where(helpful, saved, 1.0), np.inf)
        variable, choice = divmod(int(rate.argmin()), rate.shape[1])
        x[0, variable] = choice
    else:
        return None
    while refill:
        loss, own = moves.losses(x)
        gain = np.where(moves.over(moves.after(x))[0] <= 0, (own - loss)[0], 0.0)
        variable, choice = divmod(int(gain.argmax()), gain.shape[1])
        if gain[variable, choice] <= 1e-13 * abs(own[0, variable, 0]):  # with interactions, less is rounding
            break
        x[0, variable] = choice
    return np.asarray(x[0])

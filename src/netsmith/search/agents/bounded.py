"""AMC's episode (He et al., ECCV 2018): keep ratios, each bounded so that the budgets can still be kept after it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netsmith.errors import InputError
from netsmith.search.agents.steps import Steps, Walk
from netsmith.search.ratios import ratios_of
from netsmith.search.solver.moves import Moves, Stacked
from netsmith.search.solver.program import SLACK
from netsmith.search.strategy import Designs, FloatArray, Problem
from netsmith.space import Space

_EVEN = 1e-6  #: an action this little above a ratio means it (single precision, as agents elsewhere have)


class BoundedSteps(Steps):
    """Steps whose actions are keep ratios, clipped before they are rounded.

    An action of a decision about channels is the share of them to keep, rounded UP to the next allowed width; actions
    of other kinds have equal shares of 0..1 for each choice. A choice is allowed if the budgets hold with it, with what
    was chosen before, and with everything that is still to come at the floor of the projection: the paper's
    ``W_duty``, with costs that layers may share, and not monotone either. The nearest allowed choice at or below the
    action is taken, else the nearest above, so that no episode overshoots and none needs repair.

    That caps actions from above only, and most random episodes leave much of the budgets unused: they teach what lies
    far from where the best design is. With ``fill`` a choice must not save so much either that the budgets could not be
    used up by keeping everything that is still to come; where that holds for no choice, the one that leaves least
    unused and those above it are allowed.

    The state of a step has, between the static features and the action before, for each budgeted cost C (or for
    ``resource`` where nothing is budgeted), as shares of C with everything as in ``problem.reference``:

    - ``reduced``: what the choices so far have saved, the steps to come as in the reference;
    - ``rest``: what the steps after this one could save, this one as in the reference.

    A step then has to save at least ``1 - budget / C - reduced - rest``.

    Args:
        space: without it, no decision is known to be about channels.
        features: as for ``Steps``.
        resource: the cost in the state where there is no budget.
        fill: use the budgets up; False is the bound as published.

    Raises:
        InputError: channels that are no ascending positive numbers, or no such resource.
        InfeasibleError: no design keeps the budgets.
    """

    def __init__(
        self, problem: Problem, space: Space | None = None, features: ArrayLike | None = None,
        resource: str | None = None, fill: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(problem, space, features)
        reduced, self.moves, self.fill = self.reduced, Moves(self.reduced), fill
        ratios = ratios_of(reduced, space)
        self.ratios = [ratios[v] for v in self.free]
        self.tables = self.moves.tables
        if not self.tables and resource is not None:
            if resource not in reduced.costs:
                raise InputError(f"no cost {resource!r} to save; there are {sorted(reduced.costs)}")
            self.tables = [Stacked(reduced.costs[resource], 0.0)]
        self.top: Designs = reduced.contract(problem.reference[None])[0]
        self.full = np.array([t.price(self.top[None])[0] or 1.0 for t in self.tables])  #: ``(C,)``

    @property
    def width(self) -> int:
        return super().width + 2 * len(self.tables)

    def begin(self, n: int) -> BoundedWalk:
        return BoundedWalk(self, n)

    def choice(self, step: int, actions: FloatArray) -> NDArray[np.int64]:
        ratios = self.ratios[step]
        if ratios is None:
            return super().choice(step, actions)
        return np.minimum(np.searchsorted(ratios, np.asarray(actions) - _EVEN), len(ratios) - 1)

    def action(self, step: int, choices: NDArray[np.int64]) -> FloatArray:
        """The action that stands for each choice: the share of the channels that it keeps, as executed."""
        ratios = self.ratios[step]
        return super().action(step, choices) if ratios is None else np.asarray(ratios[choices])


class BoundedWalk(Walk):
    """Episodes that keep the budgets at every step, the steps to come at the floor."""

    steps: BoundedSteps

    def __init__(self, steps: BoundedSteps, n: int) -> None:
        super().__init__(steps, n)
        high = np.repeat(steps.top[None], n, axis=0)  # what was chosen, and the reference after it
        self._ends: Designs = np.concatenate([self.x, high])
        self.x = self._ends[:n]
        prices = [t.price(self._ends) for t in steps.tables]
        self._prices: FloatArray = np.array(prices).reshape(len(prices), 2, n)
        self._price()

    def _price(self) -> None:
        """What the choices of the coming step cost, before the floor and before the reference, ``(C, 2, n, K)``."""
        self._after = self._prices[..., None]
        if not self.is_over:
            v, size = int(self.steps.free[self.step]), int(self.steps.sizes[self.step])
            parts = np.array([t.part_one(self._ends, v)[:, :size] for t in self.steps.tables])
            now = parts.reshape(-1, size)[
                np.arange(len(parts) * len(self._ends)), np.tile(self._ends[:, v], len(parts))
            ]
            moved = (parts.reshape(-1, size) - now[:, None]).reshape(*self._prices.shape, size)
            self._after = self._prices[..., None] + moved

    def seen(self) -> list[FloatArray]:
        full, high = self.steps.full[:, None], self._prices[:, 1]
        reduced, rest = (full - high) / full, (high - self._after[:, 0, :, -1]) / full
        return [np.clip(np.concatenate([reduced, rest]).T, 0.0, 1.0)]

    def allowed(self) -> NDArray[np.bool_]:
        """Which choices of the coming step leave the budgets within reach, from above and from below, ``(n, K)``."""
        moves, size = self.steps.moves, int(self.steps.sizes[self.step])
        if not moves.tables:
            return np.ones((len(self.x), size), dtype=bool)
        low, high = np.moveaxis(self._after / moves.scale[:, None, None, None], 1, 0)
        within = np.asarray(moves.over(low) <= 0)
        if not self.steps.fill:
            return within
        limits = (moves.limits / moves.scale)[:, None, None]
        unused = np.maximum(limits - high, 0.0).min(axis=0)  # even if the rest keeps all
        least = np.where(within, unused, np.inf).argmin(axis=1)[:, None]
        return np.asarray(within & ((unused <= SLACK) | (np.arange(size) >= least)))

    def act(self, actions: FloatArray) -> None:
        wanted, allowed = self.steps.choice(self.step, actions)[:, None], self.allowed()
        index = np.arange(allowed.shape[1])
        below = np.where(allowed & (index <= wanted), index, -1).max(axis=1)
        above = np.where(allowed & (index > wanted), index, len(index) - 1).min(axis=1)
        self.take(np.where(below >= 0, below, above))

    def take(self, choices: NDArray[np.int64]) -> None:
        self._ends[len(self.x) :, self.steps.free[self.step]] = choices
        self._prices = self._after[:, :, np.arange(len(choices)), choices]
        super().take(choices)
        self._price()

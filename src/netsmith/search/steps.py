"""A problem as an episode: one step for each decision that has something to choose, one action in 0..1 a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netsmith.errors import InputError
from netsmith.search.projection import Projection, contract
from netsmith.search.reduced import Reduced, reduce
from netsmith.search.strategy import Designs, FloatArray, Problem
from netsmith.space import Space


def choice_of(actions: ArrayLike, sizes: Any) -> NDArray[np.int64]:
    """Actions in 0..1 to choice indices 0..K-1: ``clamp(floor(a * K), 0, K - 1)``, equal shares of 0..1 each."""
    return np.asarray(np.clip(np.floor(np.asarray(actions) * sizes), 0, np.asarray(sizes) - 1), dtype=np.int64)


class Steps:
    """What an agent sees of a problem, and what its actions mean.

    The state of a step is the static features of its decision and the action of the step before (1 in the first).
    Tied decisions are one step; pinned ones are none, as nothing is chosen there.

    Args:
        features: ``(D, F)``, any scale: each column is brought to 0..1 over the decisions, a constant one to 0.
            Without them: position, number of choices and the kind one-hot.
        rule: of the projection.

    Attributes:
        sizes: number of choices of each step, ``(T,)``.
        static: ``(T, F)``.

    Raises:
        InputError: features of another shape, or not finite.
        InfeasibleError: no design keeps the budgets.
    """

    def __init__(
        self, problem: Problem, space: Space | None = None, features: ArrayLike | None = None, rule: str = "sweep"
    ) -> None:
        self.reduced = reduce(problem)
        self.projection = Projection(problem, self.reduced, rule)
        first = np.unique(self.reduced.variable, return_index=True)[1]
        self._free = np.flatnonzero(self.reduced.sizes > 1)
        self.sizes = self.reduced.sizes[self._free]
        known = _plain(self.reduced, space) if features is None else _checked(features, len(problem.loss))
        low, high = known.min(axis=0), known.max(axis=0)
        scaled = (known - low) / np.where(high > low, high - low, 1.0)
        self.static: FloatArray = scaled[first[self._free]]

    def __len__(self) -> int:
        return len(self._free)

    @property
    def width(self) -> int:
        """Numbers in a state."""
        return int(self.static.shape[1]) + 1

    def state(self, step: int, before: FloatArray) -> FloatArray:
        """States ``(n, width)`` of one step after the actions ``before (n,)``."""
        fixed = np.broadcast_to(self.static[step], (len(before), self.width - 1))
        return np.concatenate([fixed, before[:, None]], axis=1)

    def states(self, actions: FloatArray) -> FloatArray:
        """States ``(T, width)`` of the episode that took ``actions (T,)``."""
        before = np.concatenate([[1.0], actions])[: len(actions)]
        return np.concatenate([self.static, before[:, None]], axis=1)

    def designs(self, choices: NDArray[np.int64]) -> Designs:
        """Choices ``(n, T)`` as designs within the budgets, ``(n, D)``."""
        x = np.zeros((len(choices), len(self.reduced.choices)), dtype=np.int64)
        x[:, self._free] = choices
        return self.reduced.expand(self.projection(x))

    def actions(self, designs: Designs) -> FloatArray:
        """The actions that stand for designs, ``(n, D)`` to ``(n, T)``: the middle of each choice's share of 0..1.

        Raises:
            InputError: not a design of the problem.
        """
        return self.centre(contract(self.reduced, designs)[:, self._free], self.sizes)

    @staticmethod
    def centre(choices: NDArray[np.int64], sizes: Any) -> FloatArray:
        """The middle of the share of 0..1 that stands for each choice index."""
        return np.asarray((choices + 0.5) / sizes)


def _plain(reduced: Reduced, space: Space | None) -> FloatArray:
    count = len(reduced.variable)
    names = [d.kind for d in space.decisions] if space else [""] * count
    kinds, kind = np.unique(names, return_inverse=True)
    one_hot = np.eye(len(kinds))[kind]
    return np.column_stack([np.arange(count), reduced.sizes[reduced.variable], one_hot])


def _checked(features: ArrayLike, decisions: int) -> FloatArray:
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or len(array) != decisions:
        raise InputError(f"features have shape {array.shape}; give one row for each of the {decisions} decisions")
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise InputError(f"features have {array[row, column]} at decision {row}, column {column}; all must be finite")
    return array

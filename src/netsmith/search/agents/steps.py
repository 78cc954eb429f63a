"""A problem as an episode: one step for each decision that has something to choose, one action in 0..1 a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netsmith.errors import InputError
from netsmith.search.agents.projection import Projection, contract
from netsmith.search.solver.reduced import Reduced, reduce
from netsmith.search.strategy import Designs, FloatArray, Problem
from netsmith.space import Space


def choice_of(actions: ArrayLike, sizes: Any) -> NDArray[np.int64]:
    """Actions in 0..1 to choice indices 0..K-1: ``clamp(floor(a * K), 0, K - 1)``, equal shares of 0..1 each."""
    return np.asarray(np.clip(np.floor(np.asarray(actions) * sizes), 0, np.asarray(sizes) - 1), dtype=np.int64)


class Steps:
    """What an agent sees of a problem, and what its actions mean.

    The state of a step is the static features of its decision and the action of the step before (1 in the first).
    Tied decisions are one step; pinned ones are none, as nothing is chosen there. Designs are projected at the end.

    Args:
        features: ``(D, F)``, any scale: each column is brought to 0..1 over the decisions, a constant one to 0.
            Without them: position, number of choices and the kind one-hot.
        rule: of the projection.

    Attributes:
        sizes: number of choices of each step, ``(T,)``.
        static: ``(T, F)``.
        free: the variable of each step, ``(T,)``.

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
        self.free = np.flatnonzero(self.reduced.sizes > 1)
        self.sizes = self.reduced.sizes[self.free]
        known = _plain(self.reduced, space) if features is None else _checked(features, len(problem.loss))
        low, high = known.min(axis=0), known.max(axis=0)
        scaled = (known - low) / np.where(high > low, high - low, 1.0)
        self.static: FloatArray = scaled[first[self.free]]

    def __len__(self) -> int:
        return len(self.free)

    @property
    def width(self) -> int:
        """Numbers in a state."""
        return int(self.static.shape[1]) + 1

    def begin(self, n: int) -> Walk:
        """``n`` episodes, side by side, before their first step."""
        return Walk(self, n)

    def choice(self, step: int, actions: FloatArray) -> NDArray[np.int64]:
        """The choices that actions ``(n,)`` ask for."""
        return choice_of(actions, self.sizes[step])

    def action(self, step: int, choices: NDArray[np.int64]) -> FloatArray:
        """The action that stands for each choice: the middle of its share of 0..1."""
        return np.asarray((choices + 0.5) / self.sizes[step])

    def recall(self, designs: Designs) -> tuple[FloatArray, FloatArray]:
        """The episodes that make designs ``(n, D)``: states ``(n, T, width)`` and the actions that stand for them.

        Raises:
            InputError: not a design of the problem.
        """
        x = contract(self.reduced, designs)[:, self.free]
        states, actions = np.empty((*x.shape, self.width)), np.empty(x.shape)
        walk = self.begin(len(x))
        for t in range(len(self)):
            states[:, t] = walk.state()
            walk.take(x[:, t])
            actions[:, t] = walk.before
        return states, actions


class Walk:
    """Episodes on their way through the steps.

    Attributes:
        step: steps taken so far.
        x: variables ``(n, V)``: what was chosen, and the floor of the projection where nothing was yet.
        before: the last actions, as executed, ``(n,)``.
    """

    def __init__(self, steps: Steps, n: int) -> None:
        self.steps, self.step = steps, 0
        self.x: Designs = np.repeat(steps.projection.floor[None], n, axis=0)
        self.before = np.ones(n)

    @property
    def is_over(self) -> bool:
        return self.step == len(self.steps)

    def state(self) -> FloatArray:
        """States ``(n, width)`` of the coming step; after the last one, of the last with the action just taken."""
        static = self.steps.static[min(self.step, len(self.steps) - 1)]
        fixed = np.broadcast_to(static, (len(self.x), len(static)))
        return np.concatenate([fixed, *self.seen(), self.before[:, None]], axis=1)

    def seen(self) -> list[FloatArray]:
        """What else a state has, between the static features and the action before, ``(n, any)`` each."""
        return []

    def act(self, actions: FloatArray) -> None:
        """Take a step by actions ``(n,)``."""
        self.take(self.steps.choice(self.step, actions))

    def take(self, choices: NDArray[np.int64]) -> None:
        """Take a step by choices ``(n,)``, whatever they cost."""
        self.x[:, self.steps.free[self.step]] = choices
        self.before = self.steps.action(self.step, choices)
        self.step += 1

    def designs(self) -> Designs:
        """The designs ``(n, D)`` of finished episodes, within the budgets."""
        return self.steps.reduced.expand(self.steps.projection(self.x))


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

"""An episode of a search as a Gymnasium environment, for agents from elsewhere; published systems derive theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.optional import require
from netsmith.search import Problem, Results
from netsmith.search.agents.steps import Steps
from netsmith.search.strategy import Designs, FloatArray
from netsmith.space import Space
from netsmith.study.evaluator import Evaluate, called

if TYPE_CHECKING:
    import gymnasium
else:
    gymnasium = require("gymnasium", "rl")

Observation = NDArray[np.float32]


class EpisodeEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One step a decision that is not pinned; the last one evaluates the design and gives the reward.

    Observations are the states of ``steps``, an action is one number in 0..1. The reward comes in the last step, 0
    before it; its ``info`` has ``chosen`` (decision name to value), "costs" (name to SI value), "loss" and "design".

    Args:
        rewards: of designs ``(n, D)`` and their results, ``(n,)``.

    Raises:
        InputError: every decision is pinned.
    """

    chosen: ClassVar[str] = "chosen"  #: what ``info`` calls the values of the decisions

    def __init__(
        self, problem: Problem, space: Space, steps: Steps, evaluate: Evaluate,
        rewards: Callable[[Designs, Results], FloatArray],
    ) -> None:  # fmt: skip
        if not len(steps):
            raise InputError("every decision of the space is pinned to one choice; there is nothing to learn")
        self.problem, self.space, self.steps = problem, space, steps
        self.evaluate, self.rewards = evaluate, rewards
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (steps.width,), np.float32)
        self.action_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
        self._walk = steps.begin(1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._walk = self.steps.begin(1)
        return self._observed(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        if self._walk.is_over:
            raise InputError("the episode is over; call reset() first")
        self._walk.act(np.asarray(action, dtype=np.float64)[:1])
        if not self._walk.is_over:
            return self._observed(), 0.0, False, False, {}
        reward, info = self._outcome()
        return self._observed(), reward, True, False, info

    def _observed(self) -> Observation:
        return np.asarray(self._walk.state()[0], dtype=np.float32)

    def _outcome(self) -> tuple[float, dict[str, Any]]:
        designs = self._walk.designs()
        results = called(self.problem, designs, self.evaluate)
        costs = {name: float(price[0]) for name, price in self.problem.price(designs).items()}
        info = {self.chosen: self.space.describe(designs[0]), "costs": costs, "loss": float(results.loss[0])}
        return float(self.rewards(designs, results)[0]), info | {"design": designs[0]}

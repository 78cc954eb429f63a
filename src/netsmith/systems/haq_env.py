"""HAQ's episode as a Gymnasium environment, for agents from elsewhere."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from netsmith.errors import InputError
from netsmith.search import Problem, Results
from netsmith.search.steps import Steps, choice_of
from netsmith.space import Space
from netsmith.systems.bits import check_bits
from netsmith.systems.haq import REWARD, Evaluate

Observation = NDArray[np.float32]


class HaqEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One step a decision that is not pinned; the last one projects, evaluates and gives the reward.

    Observations are the states of :class:`~netsmith.search.steps.Steps` (static features scaled to 0..1 and the action
    before), an action is one number in 0..1. The reward is ``-0.1 * points lost`` in the last step and 0 before it; its
    ``info`` has "bits" (decision name to bits after the projection), "costs" (name to SI value), "loss" and "design".

    Args:
        problem, space, features, evaluate: as :func:`netsmith.systems.haq.haq` takes them.

    Raises:
        InputError: a space or features that do not fit the conventions.
        InfeasibleError: no bits keep the budgets.
    """

    def __init__(self, problem: Problem, space: Space, features: ArrayLike, evaluate: Evaluate) -> None:
        check_bits(space)
        self.problem, self.space, self.evaluate = problem, space, evaluate
        self.steps = Steps(problem, space, features)
        if not len(self.steps):
            raise InputError("every decision of the space is pinned to one choice; there is nothing to learn")
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (self.steps.width,), np.float32)
        self.action_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
        self._choices: list[int] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._choices = []
        return self._observed(1.0), {}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        if len(self._choices) == len(self.steps):
            raise InputError("the episode is over; call reset() first")
        size = self.steps.sizes[len(self._choices)]
        choice = choice_of(float(action[0]), size)
        self._choices.append(int(choice))
        observed = self._observed(float(self.steps.centre(choice, size)))
        if len(self._choices) < len(self.steps):
            return observed, 0.0, False, False, {}
        info = self._outcome()
        return observed, -REWARD * info["loss"], True, False, info

    def _observed(self, before: float) -> Observation:
        """The state of the next step; after the last one, that of the last step with the action just taken."""
        step = min(len(self._choices), len(self.steps) - 1)
        return np.asarray(self.steps.state(step, np.array([before]))[0], dtype=np.float32)

    def _outcome(self) -> dict[str, Any]:
        designs = self.steps.designs(np.array([self._choices], dtype=np.int64))
        told = self.evaluate(designs)
        loss = float((told.loss if isinstance(told, Results) else told)[0])
        costs = {name: float(price[0]) for name, price in self.problem.price(designs).items()}
        return {"bits": self.space.describe(designs[0]), "costs": costs, "loss": loss, "design": designs[0]}

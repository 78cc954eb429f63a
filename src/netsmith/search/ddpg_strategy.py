"""Reinforcement learning behind the ask/tell contract: DDPG over the decisions, projected onto the budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from netsmith.errors import InputError
from netsmith.search.ddpg import Agent, DdpgConfig
from netsmith.search.steps import Steps, choice_of
from netsmith.search.strategy import Designs, Problem, Results
from netsmith.space import Space


class DdpgStrategy:
    """An episode a design: the actor goes through the decisions in order, then the design is projected.

    Designs may repeat once the actor has settled. Told designs need not have been asked for: the agent learns
    off-policy, so results from elsewhere are worth telling.

    Args:
        features: ``(D, F)`` of the decisions, see :class:`~netsmith.search.steps.Steps`.
        config: figures of the agent.
        warmup: instead of the config's.
        discount: instead of the config's.
        baseline: False subtracts no moving mean from rewards.
        reward_scale: the reward of a design is ``-reward_scale * loss`` (HAQ: 0.1 for percentage points).
        reward_on: "every" step gets the reward of its episode, as in the published codes of AMC and HAQ, or the
            "last" only.
        rule: of the projection: "sweep" (HAQ's) or "cheapest".

    Raises:
        InputError: an option out of its range, or features that do not fit.
        InfeasibleError: no design keeps the budgets.
    """

    def __init__(
        self,
        problem: Problem,
        space: Space | None = None,
        seed: int = 0,
        features: ArrayLike | None = None,
        config: DdpgConfig | None = None,
        warmup: int | None = None,
        discount: float | None = None,
        baseline: bool = True,
        reward_scale: float = 0.1,
        reward_on: str = "every",
        rule: str = "sweep",
    ) -> None:
        if reward_on not in ("every", "last"):
            raise InputError(f"reward_on is {reward_on!r}; it must be 'every' or 'last'")
        config = config or DdpgConfig()
        config = replace(
            config,
            warmup=config.warmup if warmup is None else warmup,
            discount=config.discount if discount is None else discount,
            baseline=config.baseline if baseline else 0.0,
        )
        self.reward_scale, self.reward_on = reward_scale, reward_on
        self.steps = Steps(problem, space, features, rule)
        self.agent = Agent(self.steps.width, len(self.steps), config, seed)

    def ask(self, n: int) -> Designs:
        steps = self.steps
        choices = np.zeros((n, len(steps)), dtype=np.int64)
        before = np.ones(n)
        for t, size in enumerate(steps.sizes):
            choices[:, t] = choice_of(self.agent.act(steps.state(t, before)), size)
            before = steps.centre(choices[:, t], size)
        return steps.designs(choices)

    def tell(self, designs: Designs, results: Results) -> None:
        # What is remembered is the episode of the choices that were executed, after the projection: crediting the
        # actions as they left the actor (as the published code does) rewards choices that were never run. It also
        # makes the memory a function of design and loss alone. A failed evaluation (no finite loss) teaches nothing.
        for actions, loss in zip(self.steps.actions(designs), results.loss, strict=True):
            if np.isfinite(loss):
                rewards = np.zeros(len(actions))
                rewards[0 if self.reward_on == "every" else -1 :] = -self.reward_scale * float(loss)
                self.agent.observe(self.steps.states(actions), actions, rewards)

    def state_dict(self) -> dict[str, Any]:
        return self.agent.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.agent.load_state_dict(state)

"""Reinforcement learning behind the ask/tell contract: an agent that goes through the decisions of a problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from netsmith.errors import InputError
from netsmith.search.agents.ddpg import Agent, DdpgConfig
from netsmith.search.agents.steps import Steps
from netsmith.search.strategy import Designs, FloatArray, Problem, Results
from netsmith.space import Space


class AgentStrategy:
    """An episode a design: the actor goes through the steps in order.

    Designs may repeat once the actor changes no more. Told designs need not have been asked for: the agent learns
    off-policy, so results from elsewhere are worth telling.

    Args:
        steps: what the agent sees, and what its actions mean.
        config: figures of the agent.
        warmup: instead of the config's.
        discount: instead of the config's.
        baseline: False subtracts no moving mean from rewards.
        reward_scale: the reward of a design is ``-reward_scale * loss`` (HAQ: 0.1 for percentage points).
        reward_on: "every" step gets the reward of its episode, as in the published codes of AMC and HAQ, or the
            "last" only.

    Raises:
        InputError: an option out of its range.
    """

    def __init__(
        self,
        steps: Steps,
        seed: int = 0,
        config: DdpgConfig | None = None,
        warmup: int | None = None,
        discount: float | None = None,
        baseline: bool = True,
        reward_scale: float = 0.1,
        reward_on: str = "every",
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
        self.steps, self.reward_scale, self.reward_on = steps, reward_scale, reward_on
        self.agent = Agent(steps.width, len(steps), config, seed)

    def ask(self, n: int) -> Designs:
        walk = self.steps.begin(n)
        while not walk.is_over:
            walk.act(self.agent.act(walk.state()))
        return walk.designs()

    def tell(self, designs: Designs, results: Results) -> None:
        # What is remembered is the episode of the choices that were executed, within the budgets: crediting the
        # actions as they left the actor (as the published code does) rewards choices that were never run. It also
        # makes the memory a function of design and reward alone. A failed evaluation (no finite loss) teaches nothing.
        states, actions = self.steps.recall(designs)
        for episode, reward in enumerate(self.rewards(designs, results)):
            if np.isfinite(reward):
                rewards = np.zeros(len(self.steps))
                rewards[0 if self.reward_on == "every" else -1 :] = reward
                self.agent.observe(states[episode], actions[episode], rewards)

    def rewards(self, designs: Designs, results: Results) -> FloatArray:
        """The reward of each design, ``(n, D)`` to ``(n,)``."""
        return np.asarray(-self.reward_scale * np.asarray(results.loss, dtype=np.float64))

    def state_dict(self) -> dict[str, Any]:
        return self.agent.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.agent.load_state_dict(state)


class DdpgStrategy(AgentStrategy):
    """DDPG over equal shares of each decision's choices; designs are projected onto the budgets at their end.

    Args:
        features: ``(D, F)`` of the decisions, see :class:`~netsmith.search.agents.steps.Steps`.
        rule: of the projection: "sweep" (HAQ's) or "cheapest".
        agent: options of :class:`AgentStrategy`.

    Raises:
        InputError: an option out of its range, or features that do not fit.
        InfeasibleError: no design keeps the budgets.
    """

    def __init__(
        self, problem: Problem, space: Space | None = None, seed: int = 0, features: ArrayLike | None = None,
        rule: str = "sweep", **agent: Any,
    ) -> None:  # fmt: skip
        super().__init__(Steps(problem, space, features, rule), seed, **agent)

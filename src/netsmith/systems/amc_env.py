"""AMC's episode as a Gymnasium environment, for agents from elsewhere."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from numpy.typing import ArrayLike

from netsmith.search import Problem
from netsmith.search.agents.amc_strategy import AmcReward, resource_of
from netsmith.search.agents.bounded import BoundedSteps
from netsmith.space import Space
from netsmith.study.evaluator import Evaluate
from netsmith.systems.episode_env import EpisodeEnv


class AmcEnv(EpisodeEnv):
    """One step a decision that is not pinned: a keep ratio, bounded by what the budgets leave.

    Observations are the states of :class:`~netsmith.search.agents.bounded.BoundedSteps` (static features scaled to
    0..1, reduced, rest and the action before as it was executed), an action is one number in 0..1. The reward of the
    last step is AMC's, 0 before it; its ``info`` has "kept" (decision name to channels, or whatever was chosen),
    "costs" (name to SI value), "loss" and "design".

    Args:
        problem, space, features, evaluate, reward, resource, unit, fill: as for :func:`netsmith.systems.amc.amc`.

    Raises:
        InputError: a space or features that do not fit the conventions, or an option out of its range.
        InfeasibleError: no widths keep the budgets.
    """

    chosen: ClassVar[str] = "kept"

    def __init__(
        self, problem: Problem, space: Space, features: ArrayLike, evaluate: Evaluate, reward: str = "constrained",
        resource: str | None = None, unit: float = 1.0, fill: bool = True,
    ) -> None:  # fmt: skip
        earned = AmcReward(reward, 1.0, resource_of(problem, resource, reward == "guaranteed"), unit)
        steps = BoundedSteps(problem, space, features, earned.resource, fill)
        super().__init__(problem, space, steps, evaluate, partial(earned, problem))

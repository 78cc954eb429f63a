"""HAQ's episode as a Gymnasium environment, for agents from elsewhere."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from netsmith.search import Problem
from netsmith.search.agents.steps import Steps
from netsmith.space import Space
from netsmith.study.evaluator import Evaluate
from netsmith.systems.bits import check_bits
from netsmith.systems.episode_env import EpisodeEnv
from netsmith.systems.haq import REWARD


class HaqEnv(EpisodeEnv):
    """One step a decision that is not pinned; the last one projects, evaluates and gives the reward.

    Observations are the states of :class:`~netsmith.search.agents.steps.Steps` (static features scaled to 0..1 and the
    action before), an action is one number in 0..1. The reward is ``-0.1 * points lost`` in the last step and 0 before
    it; its ``info`` has "bits" (decision name to bits after the projection), "costs" (name to SI value), "loss" and
    "design".

    Args:
        problem, space, features, evaluate: as :func:`netsmith.systems.haq.haq` takes them.

    Raises:
        InputError: a space or features that do not fit the conventions.
        InfeasibleError: no bits keep the budgets.
    """

    chosen: ClassVar[str] = "bits"

    def __init__(self, problem: Problem, space: Space, features: ArrayLike, evaluate: Evaluate) -> None:
        check_bits(space)
        steps = Steps(problem, space, features)
        super().__init__(problem, space, steps, evaluate, lambda designs, told: -REWARD * np.asarray(told.loss))

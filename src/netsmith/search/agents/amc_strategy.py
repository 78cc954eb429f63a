"""AMC (He et al., ECCV 2018) behind the ask/tell contract: the agent on bounded keep ratios, and its two rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from netsmith.errors import InputError
from netsmith.search.agents.bounded import BoundedSteps
from netsmith.search.agents.ddpg import DdpgConfig
from netsmith.search.agents.ddpg_strategy import AgentStrategy
from netsmith.search.strategy import Designs, FloatArray, Problem, Results
from netsmith.space import Space

REWARDS = ("constrained", "guaranteed")

#: The agent of the published code (the defaults of ``DdpgConfig``) but for three figures. With the reward of an episode
#: at each of its steps a discount of 1 sums it up again and again, early steps most; each step is judged by it once.
#: The noise lasts for the episodes that there are: at 0.95 it is gone after sixty of the paper's 300.
CONFIG = DdpgConfig(discount=0.0, decay=0.98, updates=1.0)


@dataclass(frozen=True)
class AmcReward:
    """What an episode earns.

    - "constrained": ``R = -scale * error``, as the bound keeps the budgets;
    - "guaranteed" (accuracy): ``R = -scale * error * ln(resource / unit)``, with the error in 0..1.

    Attributes:
        kind: which of them.
        scale: of the reward.
        resource: name of a cost, for "guaranteed".
        unit: what one of the resource is, in SI units, so that all designs have well above one: 1 for MACs and bytes,
            1e-9 for latencies (nanoseconds).
    """

    kind: str = "constrained"
    scale: float = 1.0
    resource: str | None = None
    unit: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in REWARDS:
            raise InputError(f"unknown reward {self.kind!r}; known: {', '.join(REWARDS)}")

    def __call__(self, problem: Problem, designs: Designs, results: Results) -> FloatArray:
        """Rewards ``(n,)`` of designs ``(n, D)``; their cost is the measured one where the results have it.

        Raises:
            InputError: for "guaranteed", an error outside 0..1 or a resource of at most one unit.
        """
        error = np.asarray(results.loss, dtype=np.float64)
        if self.kind == "constrained" or self.resource is None:
            return np.asarray(-self.scale * error)
        known = np.isfinite(error)
        if ((error[known] < 0) | (error[known] > 1)).any():
            raise InputError(f"the reward 'guaranteed' takes errors in 0..1, not {error[known].tolist()}")
        costs = results.costs.get(self.resource)
        cost = problem.costs[self.resource].price(designs) if costs is None else np.asarray(costs)
        if (cost <= self.unit).any():
            raise InputError(
                f"the reward 'guaranteed' takes the logarithm of {self.resource!r}, which is {cost.min():.3g} here; "
                f"choose a smaller unit than {self.unit:g}"
            )
        return np.asarray(-self.scale * error * np.log(cost / self.unit))


class AmcStrategy(AgentStrategy):
    """DDPG over keep ratios, each bounded by what the budgets leave.

    Args:
        features: ``(D, F)`` of the decisions, see :class:`~netsmith.search.agents.bounded.BoundedSteps`.
        reward: "constrained" or "guaranteed", see :class:`AmcReward`.
        resource: the cost in the state where nothing is budgeted, and in the reward "guaranteed": by default the
            budgeted one, or else "macs" or the only cost there is.
        unit: of the resource in the reward.
        reward_scale: of the reward.
        fill: see :class:`~netsmith.search.agents.bounded.BoundedSteps`.
        agent: options of :class:`~netsmith.search.agents.ddpg_strategy.AgentStrategy`.

    Raises:
        InputError: an option out of its range, or features that do not fit.
        InfeasibleError: no design keeps the budgets.
    """

    def __init__(
        self, problem: Problem, space: Space | None = None, seed: int = 0, features: ArrayLike | None = None,
        reward: str = "constrained", resource: str | None = None, unit: float = 1.0, reward_scale: float = 1.0,
        fill: bool = True, config: DdpgConfig = CONFIG, **agent: Any,
    ) -> None:  # fmt: skip
        self.problem = problem
        self.reward = AmcReward(reward, reward_scale, resource_of(problem, resource, reward == "guaranteed"), unit)
        super().__init__(BoundedSteps(problem, space, features, self.reward.resource, fill), seed, config, **agent)

    def rewards(self, designs: Designs, results: Results) -> FloatArray:
        return self.reward(self.problem, designs, results)


def resource_of(problem: Problem, name: str | None, needed: bool = True) -> str | None:
    """The cost that is to be saved: the one named, or else the budgeted one, "macs", or the only one there is.

    Raises:
        InputError: no such cost, or, where one is needed, none or several to choose from.
    """
    if name is not None:
        if name not in problem.costs:
            raise InputError(f"no cost {name!r} to save; there are {sorted(problem.costs)}")
        return name
    for names in (list(problem.budgets), [n for n in problem.costs if n == "macs"], list(problem.costs)):
        if len(names) == 1:
            return names[0]
    if needed:
        raise InputError(f"say which resource is to be saved, one of {sorted(problem.costs)}")
    return None

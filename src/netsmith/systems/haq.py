"""HAQ: hardware-aware automated quantization with mixed precision (Wang, Liu, Lin, Lin and Han, CVPR 2019).

Bits of weights and of input activations, layer by layer, by reinforcement learning with feedback from the hardware.
An episode goes through the layers in order of execution, chooses the bits of a layer's weights and then of its
activations (2N steps for N layers; size mode: weights only), and is projected onto the budget. The reward is what the
quantized network loses on held-out training data; it needs no cost term, as every episode keeps the budget.

Without a budget, the reward "guaranteed" weighs the error by the logarithm of HAQ's cost. That reward is AMC's, by the
same group; the paper of HAQ has none without a budget, so that its use here is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netsmith.errors import InputError
from netsmith.network.layers import KIND, LayerTable
from netsmith.progress import Progress
from netsmith.search import History, Problem, Results
from netsmith.search.agents.amc_strategy import REWARDS, AmcReward, resource_of
from netsmith.search.agents.ddpg import DdpgConfig
from netsmith.search.agents.ddpg_strategy import DdpgStrategy
from netsmith.search.agents.steps import choice_of
from netsmith.search.strategy import Designs
from netsmith.space import Space
from netsmith.study.evaluator import Evaluate
from netsmith.study.layers import Layers
from netsmith.study.study import minimize
from netsmith.systems.bits import check_bits

FloatArray = NDArray[np.float64]

#: The agent of AMC with HAQ's published differences (its code trains as often as ``updates=1``).
CONFIG = DdpgConfig(warmup=20, decay=0.99, replay=128)

#: Reward for a percentage point of top-1: ``R = 0.1 * (acc_quant - acc_orig)``.
REWARD = 0.1
REWARD_A_NAT = 1.0  #: the same for a loss in nats


def features(table: LayerTable, rows: Sequence[int], kinds: Sequence[str]) -> FloatArray:
    """The static numbers of the paper's state, one row for each decision, unscaled.

    Convolutions: k, c_in, c_out, kernel, stride, input height * width, weights, depthwise?, weights-not-activations?
    Linear layers: k, h_in, h_out, 1, 0, input height * width, weights, 0, weights-not-activations?
    The tenth number of the state, the action before, is the search's to append.

    Args:
        table: shape ``(L,)``.
        rows: for each of the D decisions the row of its layer.
        kinds: for each "w_bits" or "a_bits"; with weights only (size mode) the last column is left out.

    Returns:
        ``(D, 9)``, or ``(D, 8)`` in size mode.

    Raises:
        InputError: a row that is neither convolution nor linear layer, or an unknown kind.
    """
    if len(rows) != len(kinds) or not set(kinds) <= {"w_bits", "a_bits"}:
        raise InputError("every decision needs a row of the table and a kind, 'w_bits' or 'a_bits'")
    layers = table.take(np.asarray(rows, dtype=np.int64))
    linear = layers.kind == KIND["linear"]
    other = ~linear & (layers.kind != KIND["conv"])
    if other.any():
        name = layers.names[int(np.flatnonzero(other)[0])]
        raise InputError(f"{name!r} is neither a convolution nor a linear layer; HAQ has no state for it")
    number = np.unique(np.asarray(rows), return_inverse=True)[1]
    columns = [
        number, layers.c_in, layers.c_out, np.where(linear, 1, layers.kernel_h), np.where(linear, 0, layers.stride),
        layers.h_in * layers.w_in, layers.weights, layers.is_depthwise,
    ]  # fmt: skip
    if "a_bits" in kinds:
        columns.append(np.array([kind == "w_bits" for kind in kinds]))
    return np.column_stack(columns).astype(np.float64)


def bits_of(action: ArrayLike, low: int, high: int) -> NDArray[np.int64]:
    """Actions in 0..1 to bits in low..high, equal shares each.

    The paper rounds ``low - 0.5 + action * (high - low + 1)``; half to even, that is 0 bits for action 0 and
    low 1, so the floor is taken and clamped instead.
    """
    return low + choice_of(action, high - low + 1)


class Guaranteed(DdpgStrategy):
    """HAQ's agent under AMC's accuracy-guaranteed reward, ``R = -error * ln(cost / unit)``, with HAQ's cost.

    Args:
        resource, unit: of :class:`~netsmith.search.agents.amc_strategy.AmcReward`.
        agent: of :class:`~netsmith.search.agents.ddpg_strategy.DdpgStrategy`.
    """

    def __init__(
        self, problem: Problem, space: Space | None = None, seed: int = 0, resource: str | None = None,
        unit: float = 1.0, **agent: Any,
    ) -> None:  # fmt: skip
        super().__init__(problem, space, seed, **agent)
        self.problem, self.reward = problem, AmcReward("guaranteed", 1.0, resource_of(problem, resource), unit)

    def rewards(self, designs: Designs, results: Results) -> FloatArray:
        return self.reward(self.problem, designs, results)


def strategy(
    problem: Problem, space: Space | None = None, seed: int = 0, layers: Layers | None = None,
    config: DdpgConfig = CONFIG, reward_scale: float = REWARD_A_NAT, reward: str = "constrained", **options: Any,
) -> DdpgStrategy:  # fmt: skip
    """HAQ's agent: what runs where its name is given, with losses in nats.

    Args:
        space: as for :func:`haq`.
        layers: which layers the decisions are about; without them the agent sees numbers of the problem alone.
        config, reward_scale, options: of :class:`~netsmith.search.agents.ddpg_strategy.DdpgStrategy`.
        reward: "constrained", as published; or "guaranteed", see :class:`Guaranteed`, of whose arguments ``options``
            then has some, and losses are errors in 0..1.

    Raises:
        InputError: a space that does not fit the conventions, or no such reward.
    """
    if space is not None:
        check_bits(space)
        if layers is not None:
            kinds = [d.kind for d in space.decisions]
            options = {"features": features(layers.table, layers.rows, kinds)} | options
    if reward not in REWARDS:
        raise InputError(f"unknown reward {reward!r}; known: {', '.join(REWARDS)}")
    if reward == "guaranteed":
        return Guaranteed(problem, space, seed, config=config, **options)
    return DdpgStrategy(problem, space, seed, config=config, reward_scale=reward_scale, **options)


def haq(
    problem: Problem,
    space: Space,
    features: ArrayLike,
    evaluate: Evaluate,
    episodes: int = 600,
    seed: int = 0,
    config: DdpgConfig | None = None,
    progress: Progress | None = None,
) -> History:
    """Search bits as the paper does; the result is ``History.best``.

    Args:
        problem: budgets, costs and ties; its loss only says which choices are allowed (finite).
        space: decisions ``LAYER.w_bits`` and ``LAYER.a_bits`` of kinds "w_bits" and "a_bits", choices ascending bits,
            a layer's weights right before its activations, in order of execution; pinned layers have one choice.
        features: of :func:`features`.
        evaluate: designs ``(n, D)`` to top-1 percentage points lost on the search split ``(n,)``, after whatever
            calibration and tuning; called with one design at a time.
        episodes: designs evaluated, the warm-up included.
        config: of the agent; the paper's by default.

    Raises:
        InputError: a space or features that do not fit the conventions.
        InfeasibleError: no bits keep the budgets.
    """
    agent = strategy(problem, space, seed, features=features, config=config or CONFIG, reward_scale=REWARD)
    return minimize(problem, agent, evaluate, episodes, batch=1, progress=progress)

"""AMC: AutoML for model compression and acceleration on mobile devices (He, Lin, Liu, Wang, Li and Han, ECCV 2018).

Keep ratios of channels, layer by layer, by reinforcement learning. An episode goes through the layers in order of
execution; in each the agent sees the layer, what has been saved so far and what the rest could save, and says which
share of the channels stays. Ratios are bounded so that every episode keeps the budget, and, beyond the paper, so that
none leaves it unused; the reward is the error of the pruned network on held-out training data. Without a budget the
reward weighs the error by the logarithm of the cost instead (accuracy-guaranteed compression).

Layers whose channels are coupled (residual stages, depthwise convolutions) are one decision here, and other kinds of
decisions may stand beside the widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netsmith.errors import InputError
from netsmith.network.layers import KIND, LayerTable
from netsmith.progress import Progress
from netsmith.search import History, Problem, Results
from netsmith.search.agents.amc_strategy import CONFIG, AmcStrategy
from netsmith.search.agents.ddpg import DdpgConfig
from netsmith.search.strategy import Designs
from netsmith.space import Space
from netsmith.study.evaluator import Evaluate, called
from netsmith.study.layers import Layers
from netsmith.study.study import minimize

FloatArray = NDArray[np.float64]

EPISODES = 400  #: as in the paper: 100 at the full noise, then 300 while it decays


def features(table: LayerTable, rows: Sequence[int], touched: ArrayLike, kinds: Sequence[str] = ()) -> FloatArray:
    """The static numbers of the paper's state, one row for each decision, unscaled: t, n, c, h, w, stride, k, FLOPs.

    They describe one layer with a kernel ``n x c x k x k`` and an input ``c x h x w``; a linear layer has stride 0 and
    k 1, as in the published code. FLOPs (multiply-accumulates) are those of every layer that the decision changes. What
    the state has besides, reduced, rest and the action before, is the search's to append.

    Args:
        table: shape ``(L,)``.
        rows: for each of the D decisions the row that stands for it: the first layer whose outputs it changes.
        touched: ``(D, L)``, the rows that each decision changes.
        kinds: for each decision what it is about; where there are several kinds, each gets a column of 0 and 1.

    Returns:
        ``(D, 8)``, or with m > 1 kinds ``(D, 8 + m)``.

    Raises:
        InputError: arguments that do not fit each other.
    """
    index, mask = np.asarray(rows, dtype=np.int64), np.asarray(touched, dtype=bool)
    if mask.shape != (len(index), len(table)) or (len(kinds) and len(kinds) != len(index)):
        raise InputError(
            f"{len(index)} rows, {len(kinds)} kinds and touched rows of shape {mask.shape} do not describe the "
            f"decisions of a table of {len(table)} layers"
        )
    layers = table.take(index)
    linear = layers.kind == KIND["linear"]
    columns = [
        np.unique(index, return_inverse=True)[1], layers.c_out, layers.c_in, layers.h_in, layers.w_in,
        np.where(linear, 0, layers.stride), np.where(linear, 1, layers.kernel_h), mask @ table.macs,
    ]  # fmt: skip
    names, kind = np.unique(list(kinds), return_inverse=True)
    if len(names) > 1:
        columns += list(np.eye(len(names))[kind].T)
    return np.column_stack(columns).astype(np.float64)


def strategy(
    problem: Problem, space: Space | None = None, seed: int = 0, layers: Layers | None = None, **options: Any
) -> AmcStrategy:
    """AMC's agent: what runs where its name is given.

    Args:
        layers: which layers the decisions are about; without them the agent sees numbers of the problem alone.
        options: of :class:`~netsmith.search.agents.amc_strategy.AmcStrategy`.
    """
    if layers is not None:
        kinds = [d.kind for d in space.decisions] if space is not None else []
        options = {"features": features(layers.table, layers.rows, layers.touched, kinds)} | options
    return AmcStrategy(problem, space, seed, **options)


def amc(
    problem: Problem,
    space: Space,
    features: ArrayLike,
    evaluate: Evaluate,
    episodes: int = EPISODES,
    seed: int = 0,
    reward: str = "constrained",
    resource: str | None = None,
    unit: float = 1.0,
    fill: bool = True,
    config: DdpgConfig = CONFIG,
    progress: Progress | None = None,
) -> History:
    """Search keep ratios as the paper does; the result is ``History.best``.

    Args:
        problem: budgets, costs and ties; its loss only says which choices are allowed (finite).
        space: decisions in order of execution; those of kind "channels" have ascending channel counts, the last one
            all channels.
        features: of :func:`features`.
        evaluate: designs ``(n, D)`` to errors in 0..1 on the search split ``(n,)``; called with one design at a time.
        episodes: designs evaluated, the warm-up included.
        reward: "constrained", ``R = -error`` within the budgets, or "guaranteed", ``R = -error * ln(resource)``; the
            history's loss is -R.
        resource, unit: of the reward "guaranteed", see :class:`~netsmith.search.agents.amc_strategy.AmcStrategy`.
        fill: bound actions from below as well, so that every episode uses the budgets up; False is the paper's bound.
        config: of the agent; ``DdpgConfig(updates=1.0)`` is that of the published code.

    Raises:
        InputError: a space or features that do not fit the conventions, or an option out of its range.
        InfeasibleError: no widths keep the budgets.
    """
    agent = strategy(
        problem, space, seed, features=features, reward=reward, resource=resource, unit=unit, fill=fill, config=config
    )
    rewards: list[FloatArray] = []

    def episode(designs: Designs) -> Results:
        results = called(problem, designs, evaluate)
        rewards.append(agent.rewards(designs, results))
        return results

    history = minimize(problem, agent, episode, episodes, batch=1, progress=progress)
    return replace(history, loss=-np.concatenate([np.empty(0), *rewards]))

"""How a strategy finds a design: from summed sensitivities alone, or by running whole designs on the search split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.accuracy.designs import DesignEvaluator, Evaluation
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.kind import Designs, FloatArray
from netsmith.errors import InfeasibleError, InputError
from netsmith.search.loop import minimize
from netsmith.search.registry import get_strategy
from netsmith.search.reranking import additivity
from netsmith.search.strategy import Problem, Strategy
from netsmith.space import Space
from netsmith.systems import amc, haq

AGENTS = ("ddpg", "amc")  #: strategies that learn from every single result
REWARD_A_NAT = 1.0  #: the paper's 0.1 a point of accuracy, for a loss in nats
CHECKED = 16  #: random designs that tell whether sums of losses can be trusted


@dataclass(frozen=True)
class Proposal:
    """A design, its loss if it was evaluated, and the proven bound on its summed loss where there is one."""

    design: Designs
    loss: float | None = None
    bound: float | None = None


def none_found(strategy: str) -> InfeasibleError:
    """A strategy came back without a design."""
    return InfeasibleError(
        f"strategy {strategy} found no design that keeps the budgets; loosen them, or use the strategy exact, which "
        "says what can be reached", {},
    )  # fmt: skip


@dataclass(frozen=True)
class Estimated:
    """The first design of a strategy: the best by summed sensitivities."""

    strategy: str
    space: Space
    seed: int = 0

    def __call__(self, problem: Problem) -> Proposal:
        strategy = get_strategy(self.strategy, problem, self.space, self.seed)
        found = strategy.ask(1)
        if not len(found):
            raise none_found(self.strategy)
        return Proposal(found[0], None, _bound(strategy))


@dataclass
class Evaluated:
    """The best of the designs that a strategy asks for, each run on the search split.

    Attributes:
        strategy, space, seed: as for ``get_strategy``; ``options`` are passed on.
        evaluator: runs designs.
        evaluations: how many.
        progress: called with the number of designs done and asked for.
        additivity: how well summed losses rank random designs that fill the budgets, by evaluating some; told after the
            first search.
    """

    strategy: str
    space: Space
    seed: int
    evaluator: DesignEvaluator
    evaluations: int
    progress: Callable[[int, int], None] = lambda done, total: None
    options: dict[str, Any] = field(default_factory=dict)
    additivity: dict[str, float] | None = None

    def __call__(self, problem: Problem) -> Proposal:
        strategy = get_strategy(self.strategy, problem, self.space, self.seed, **self.options)
        done = 0

        def evaluate(designs: Designs) -> FloatArray:
            nonlocal done
            losses = self._losses(designs)
            done += len(designs)
            self.progress(done, self.evaluations)
            return losses

        # what learns from every single result should have it before it asks again
        history = minimize(problem, strategy, evaluate, self.evaluations, batch=1 if self.strategy in AGENTS else 8)
        if not len(history.loss):
            raise none_found(self.strategy)
        if self.additivity is None:
            try:
                self.additivity = additivity(problem, self._losses, CHECKED, self.seed, within=True)
            except InputError:  # two designs tell nothing
                self.additivity = {}
        return Proposal(history.best, float(history.loss.min()), _bound(strategy))

    def _losses(self, designs: Designs) -> FloatArray:
        return np.array([loss_of(e) for e in self.evaluator.evaluate(designs)])


def strategy_options(strategy: str, choices: GivenSpace) -> dict[str, Any]:
    """What a strategy is told of the decisions beyond the problem; nothing for most.

    "ddpg" gets HAQ's features where decisions are about bits alone, "amc" gets AMC's whatever they are about. "exact"
    learns which are pruning's and which are bits, where they are chosen together, and which designs are one network.
    """
    kinds = [d.kind for d in choices.decisions.decisions]
    if strategy == "amc":
        rows, touched = _layers_of(choices)
        return {"features": amc.features(choices.table, rows, touched, kinds), "reward_scale": REWARD_A_NAT}
    if strategy == "exact":
        return _parts(choices)
    if strategy != "ddpg" or not choices.is_mixed or choices.of_stage("topology", "structure").any():
        return {}
    rows = [choices.table.names.index(choices.layer_of(d)) for d in range(len(kinds))]
    return {"features": haq.features(choices.table, rows, kinds), "reward_scale": REWARD_A_NAT}


def _layers_of(choices: GivenSpace) -> tuple[list[int], NDArray[np.bool_]]:
    """For each decision the row that stands for it, the first whose outputs or bits it sets, and all it changes."""
    own, touched = choices.sets, choices.depends()
    compute = choices.table.is_compute
    first = np.where((own & compute).any(axis=1), (own & compute).argmax(axis=1), touched.argmax(axis=1))
    return [int(row) for row in first], touched


def _parts(choices: GivenSpace) -> dict[str, Any]:
    numbers = choices.of_stage("numbers")
    if not choices.is_mixed or numbers.all():
        return {}
    parts = [np.flatnonzero(~numbers).tolist(), np.flatnonzero(numbers).tolist()]
    return {"parts": parts, "canonical": choices.canonical}


def loss_of(evaluation: Evaluation) -> float:
    """What a search minimises: the mean divergence from the network as given.

    On some hundred images it tells designs apart that classify the same number of them rightly.
    """
    return evaluation.divergence


def _bound(strategy: Strategy) -> float | None:
    solutions = getattr(strategy, "solutions", ())
    return float(solutions[0].bound) if solutions else None

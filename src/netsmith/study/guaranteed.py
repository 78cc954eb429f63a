"""Accuracy weighed against a cost, without a budget: what AMC calls accuracy-guaranteed compression.

The reward of a design is ``-error * ln(cost)`` (He et al., ECCV 2018), with the error on the search split and the cost
as an absolute figure. No design is brought inside a budget on that cost. What such a search leaves is its history: of
the designs that were run, those that no other beats in both error and cost are the candidates for a front.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from netsmith.decisions.kind import Designs, FloatArray
from netsmith.decisions.pricing import Pricing
from netsmith.errors import InputError
from netsmith.progress import Progress, Silent
from netsmith.search.registry import Traits
from netsmith.search.strategy import Problem, Proposals, Strategy
from netsmith.space import as_sums
from netsmith.study.evaluator import Evaluator, Logged, Outcome
from netsmith.study.study import Study

#: What one of a cost is in the logarithm, in SI units. Published are FLOPs and parameters; ours are bytes, nanoseconds
#: and nanojoules, of which every design has well above one.
UNITS = MappingProxyType({"macs": 1.0, "size": 1.0, "latency": 1e-9, "energy": 1e-9})


@dataclass(frozen=True)
class Errors:
    """Designs by the share of examples that they get wrong, with their predicted cost.

    Attributes:
        evaluator: whose figures have the score of the task, a share.
        key: of that score.
        pricing, cost: what designs cost, as predicted anew for each.
    """

    evaluator: Evaluator
    pricing: Pricing
    cost: str
    key: str = "accuracy"

    @property
    def inherits(self) -> bool:
        return self.evaluator.inherits

    def evaluate(self, proposals: Proposals) -> Iterator[Outcome]:
        networks = self.pricing.space.canonical(proposals.designs)
        costs = self.pricing.predict(networks, self.cost) if len(proposals) else ()
        for outcome, cost in zip(self.evaluator.evaluate(proposals), costs, strict=True):
            yield Outcome(1.0 - outcome.figures[self.key], {self.cost: float(cost)}, outcome.figures)


@dataclass(frozen=True)
class Weighed:
    """What a search without a budget ran, in order.

    Attributes:
        designs: ``(N, D)``.
        error: share of images of the search split that each gets wrong, ``(N,)``.
        cost: as predicted, SI units, ``(N,)``.
    """

    designs: Designs
    error: FloatArray
    cost: FloatArray

    @property
    def candidates(self) -> Weighed:
        """Those that no other beats in both, from the most accurate to the cheapest; the earliest of equals."""
        order = np.lexsort((np.arange(len(self.cost)), self.error, self.cost))  # cheapest first, then fewest errors
        fewer = self.error[order] < np.minimum.accumulate(np.concatenate([[np.inf], self.error[order]]))[:-1]
        return self._take(order[fewer][::-1])

    def within(self, limit: float) -> Weighed:
        """Those that cost no more than ``limit``."""
        return self._take(np.flatnonzero(self.cost <= limit * (1 + 1e-9)))

    def _take(self, at: Any) -> Weighed:
        return Weighed(self.designs[at], self.error[at], self.cost[at])

    def __len__(self) -> int:
        return len(self.cost)

    def to_dict(self) -> dict[str, Any]:
        return {"designs": self.designs, "error": self.error, "cost": self.cost}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], decisions: int) -> Weighed:
        designs = np.array(d["designs"], dtype=np.int64).reshape(-1, decisions)
        return cls(designs, np.array(d["error"], dtype=float), np.array(d["cost"], dtype=float))


def accuracy_guaranteed(
    pricing: Pricing, loss: FloatArray, cost: str, evaluator: Evaluator, make: Callable[..., Strategy], traits: Traits,
    evaluations: int, budgets: Mapping[str, float] | None = None, name: str = "of yours",
    progress: Progress | None = None,
) -> Weighed:  # fmt: skip
    """Search by error weighed against a cost.

    Args:
        pricing: predicts costs; the strategy sees those of the table around the reference.
        loss: ``(D, K)``; it says which choices are allowed, by being finite.
        cost: that is weighed against the error.
        evaluator: of designs, whose figures have an ``accuracy`` on the search split.
        make: a problem, with ``reward``, ``resource`` and ``unit`` by keyword, to the strategy for it.
        traits: of the strategy.
        evaluations: designs to ask for.
        budgets: on other costs, in SI units as predicted, that every design keeps.
        name: of the strategy, for messages.

    Raises:
        InputError: a strategy that has no such reward, or a cost that is no sum.
        InfeasibleError: no design keeps the budgets.
    """
    if not traits.guarantees:
        raise InputError(
            f"--strategy {name} has no reward that weighs accuracy against a cost; use one that has, such as amc"
        )
    if cost not in UNITS:
        raise InputError(
            f"--strategy {name} sees costs that are sums of its choices, and {cost} is none: use --strategy exact"
        )
    space = pricing.space
    wanted = {cost: np.inf, **(budgets or {})}
    costs, limits = as_sums({n: pricing.table(n) for n in wanted}, wanted)
    limits = {n: limit for n, limit in limits.items() if np.isfinite(limit)}
    problem = Problem(loss, costs, limits, space.decisions.tied, given=space.reference)
    log = Logged(Errors(evaluator, pricing, cost), space.canonical)
    study = Study(lambda p: make(p, reward="guaranteed", resource=cost, unit=UNITS[cost]), traits, log, evaluations,
                  name, progress or Silent())  # fmt: skip
    study.strategy = study.make(problem)
    study.run(problem)
    outcomes = [outcome for _, outcome in study.told.values()]
    designs = np.array([design for design, _ in study.told.values()], dtype=np.int64).reshape(-1, len(loss))
    designs = space.canonical(designs)
    error, price = (np.array(v) for v in ([o.loss for o in outcomes], [o.costs[cost] for o in outcomes]))
    kept = np.isfinite(error)
    for n, limit in (budgets or {}).items():  # as predicted for each, where the table is right at one design only
        kept &= pricing.predict(designs, n) <= limit * (1 + 1e-9)
    return Weighed(designs[kept], error[kept], price[kept])

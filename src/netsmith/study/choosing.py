"""Choosing a network of a family: the best within limits on its predicted costs, again with others when they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from netsmith.decisions.family import Family
from netsmith.network.zoo.blueprint import Blueprint
from netsmith.search.strategy import Designs, FloatArray, Problem
from netsmith.space import CostTable
from netsmith.study.study import Found


@dataclass(frozen=True)
class Chosen:
    """A network that keeps limits as predicted.

    Attributes:
        blueprint: of the network.
        predicted: its costs, SI units.
        design: of the family that is searched; None for a network outside of it.
        loss: by which it is preferred to others that were chosen alike; lower is better.
    """

    blueprint: Blueprint
    predicted: dict[str, float]
    design: tuple[int, ...] | None
    loss: float

    @property
    def key(self) -> str:
        return self.blueprint.key

    def to_dict(self) -> dict[str, Any]:
        return {
            "description": self.blueprint.to_dict(), "predicted": self.predicted, "design": self.design,
            "loss": self.loss,
        }  # fmt: skip


@dataclass(frozen=True)
class Chooser:
    """Finds networks of a family.

    Attributes:
        family: of networks.
        tables: cost name -> exact prices of its designs.
        find: problem -> the best design that a study finds for it.
        predict: design -> its costs.
        loss: ``(D, K)`` of choices, where they are known to differ before anything is run.
        inside: whether the family is the one that is searched.
    """

    family: Family
    tables: Mapping[str, CostTable]
    find: Callable[[Problem], Found]
    predict: Callable[[Designs], dict[str, float]]
    loss: FloatArray | None = None
    inside: bool = True

    def choose(self, limits: Mapping[str, float]) -> Chosen:
        """The best network that is known within limits on predicted costs.

        Raises:
            InfeasibleError: none keeps them.
        """
        problem = Problem.over(self.tables, limits, 0.0 if self.loss is None else self.loss)
        found = self.find(problem)
        predicted = self.predict(found.design)
        loss = found.loss
        if loss is None and self.loss is not None:
            loss = float(problem.estimate(found.design[None])[0])
        if loss is None:  # nothing is known of its loss: what fills the budgets is preferred
            loss = -max((predicted[name] / limit for name, limit in limits.items()), default=0.0)
        design = tuple(int(k) for k in found.design) if self.inside else None
        return Chosen(self.family.blueprint(found.design), predicted, design, loss)

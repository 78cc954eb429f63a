"""How a network of a space is found for given limits: by a search, or by what a search has to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from netsmith.decisions.family import Family
from netsmith.decisions.pricing import Pricing
from netsmith.decisions.search_space import Designs
from netsmith.errors import InfeasibleError
from netsmith.network.zoo.blueprint import Blueprint
from netsmith.search.registry import get_strategy
from netsmith.search.strategy import FloatArray, Problem, Proposals
from netsmith.space import CostTable
from netsmith.supernets.supernet import draw
from netsmith.systems.oneshot import Evaluate, evolve
from netsmith.systems.proxylessnas import most_probable_within
from netsmith.units import over, within

POPULATION = 32  #: of evolution


@dataclass(frozen=True)
class Found:
    """A network that keeps limits as predicted.

    Attributes:
        blueprint: of the network.
        predicted: its costs, SI units.
        design: of the space; None for a network outside of it.
        loss: by which the finder prefers one network to another of its own; lower is better.
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


class Finder(Protocol):
    """Finds a network within limits on predicted costs; may be asked again with others."""

    def find(self, limits: Mapping[str, float]) -> Found:
        """The best network that it knows.

        Raises:
            InfeasibleError: none keeps the limits.
        """
        ...


@dataclass(frozen=True)
class InSpace:
    """What finders of designs share: the family and its cost tables."""

    family: Family
    tables: Mapping[str, CostTable]

    def found(self, design: Designs, loss: float) -> Found:
        predicted = {name: float(table.price(design)[0]) for name, table in self.tables.items()}
        return Found(self.family.blueprint(design), predicted, tuple(int(k) for k in design), loss)


@dataclass(frozen=True)
class Evolved(InSpace):
    """Evolution over the paths of a trained network, by what they lose on held-out images with its weights.

    With the probabilities of a search it starts from the most probable network within the limits and from draws, all
    filled up to the limits: a search that has not ended in one network keeps its budgets in expectation, by wavering
    between large blocks and none, and its most probable network alone would leave much of them unused.

    Attributes:
        evaluate: makes the function from designs to losses.
        evaluations: of designs; 0 takes the most probable network as it is, as published.
        probabilities: ``(D, K)``; None starts from random networks.
    """

    evaluate: Callable[[], Evaluate]
    evaluations: int
    seed: int
    probabilities: FloatArray | None = None

    @cached_property
    def _known(self) -> dict[tuple[int, ...], float]:
        return {}

    @cached_property
    def _evaluate(self) -> Evaluate:
        return self.evaluate()

    def losses(self, designs: Designs) -> FloatArray:
        """What designs ``(n, D)`` lose; each is run once."""
        keys = [tuple(d) for d in designs.tolist()]
        new = [k for k in dict.fromkeys(keys) if k not in self._known]
        if new:
            self._known.update(zip(new, self._evaluate(np.array(new)).tolist(), strict=True))
        return np.array([self._known[k] for k in keys])

    def find(self, limits: Mapping[str, float]) -> Found:
        start = None
        if self.probabilities is not None:
            best, loss = most_probable_within(self.probabilities, self.tables, limits)
            if not self.evaluations:
                return self.found(best, loss)
            rng = np.random.default_rng(self.seed)
            start = np.stack([best, *(draw(self.probabilities, rng) for _ in range(POPULATION - 1))])
        history = evolve(self.losses, self.tables, limits, self.evaluations, POPULATION, self.seed, start)
        kept = history.loss[history.feasible]
        return self.found(history.best, float(kept.min()))


@dataclass(frozen=True)
class RandomFilled(InSpace):
    """A random design that fills the budgets: what is left of a search without its search."""

    seed: int

    def find(self, limits: Mapping[str, float]) -> Found:
        problem = Problem.over(self.tables, limits)
        found = self.found(Proposals.of(get_strategy("random", problem, seed=self.seed).ask(1)).designs[0], 0.0)
        share = max(found.predicted[name] / limit for name, limit in limits.items()) if limits else 0.0
        return Found(found.blueprint, found.predicted, found.design, -share)


@dataclass(frozen=True)
class Multiplied:
    """The reference network of the family under the greatest width multiplier that fits.

    Attributes:
        family: of the networks under a multiplier.
        pricing: of the family that is searched, for its target and batch.
        costs: that are predicted.
    """

    family: Family
    pricing: Pricing
    costs: tuple[str, ...]

    @cached_property
    def _tables(self) -> dict[str, CostTable]:
        return Pricing(self.family, self.pricing.target, self.pricing.batch).tables(self.costs)

    def find(self, limits: Mapping[str, float]) -> Found:
        widths = self._widths
        problem = Problem.over(self._tables, limits, -np.array([widths]))
        kept = np.flatnonzero(problem.feasible(np.arange(len(widths))[:, None]))
        if not len(kept):
            least = {name: self._of(0).predicted[name] for name in limits}
            short = " and ".join(over(n, limits[n], v) for n, v in least.items() if v > limits[n])
            parts = short or within(limits)
            raise InfeasibleError(
                f"no network of a width multiplier of {widths[0]:g} or more keeps {parts}; loosen the budgets", least
            )
        return self._of(int(kept[-1]))

    def _of(self, k: int) -> Found:
        design = np.array([k])
        predicted = {name: self.pricing.total(self.family.layers(design), name) for name in self.costs}
        return Found(self.family.blueprint(design), predicted, None, -self._widths[k])

    @property
    def _widths(self) -> list[float]:
        return [float(width) for width in self.family.decisions.decisions[0].choices]

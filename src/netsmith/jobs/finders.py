"""How a network of a space is found for given limits: by a search, or by what a search has to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from netsmith.errors import InfeasibleError
from netsmith.network.zoo.blocks import Description
from netsmith.search.registry import get_strategy
from netsmith.search.strategy import FloatArray, Problem
from netsmith.space import CostTable
from netsmith.supernets.pricing import SpacePrices
from netsmith.supernets.space import BlockSpace, Designs
from netsmith.supernets.supernet import draw
from netsmith.systems.oneshot import Evaluate, evolve
from netsmith.systems.proxylessnas import settle
from netsmith.units import over, within

POPULATION = 32  #: of evolution
WIDTHS = (0.1, 3.0)  #: of a width multiplier
WIDTH_STEPS = 9  #: bisections between them


@dataclass(frozen=True)
class Found:
    """A network that keeps limits as predicted.

    Attributes:
        description: of the network.
        predicted: its costs, SI units.
        design: of the space; None for a network outside of it.
        loss: by which the finder prefers one network to another of its own; lower is better.
    """

    description: Description
    predicted: dict[str, float]
    design: tuple[int, ...] | None
    loss: float

    @property
    def key(self) -> str:
        return self.description.key

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


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
    """What finders of designs share: the space, its cost tables, and what its networks are made for."""

    prices: SpacePrices
    tables: Mapping[str, CostTable]

    def found(self, design: Designs, loss: float) -> Found:
        space, prices = self.prices.space, self.prices
        predicted = {name: float(table.price(design)[0]) for name, table in self.tables.items()}
        description = space.describe(design, prices.classes, prices.channels)
        return Found(description, predicted, tuple(int(k) for k in design), loss)


@dataclass(frozen=True)
class Evolved(InSpace):
    """Evolution over the paths of a trained network, by what they lose on held-out images with its weights.

    With the probabilities of a search it starts from the most probable network within the limits and from draws, all
    filled up to the limits: a search that has not settled keeps its budgets in expectation, by being undecided between
    large blocks and none, and its most probable network alone would leave much of them unused.

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
            best, loss = settle(self.probabilities, self.tables, limits)
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
        found = self.found(get_strategy("random", problem, seed=self.seed).ask(1)[0], 0.0)
        share = max(found.predicted[name] / limit for name, limit in limits.items()) if limits else 0.0
        return Found(found.description, found.predicted, found.design, -share)


@dataclass(frozen=True)
class Multiplied:
    """The reference network of the space (MobileNetV2's blocks) under the greatest width multiplier that fits."""

    prices: SpacePrices
    costs: tuple[str, ...]

    @cached_property
    def _known(self) -> dict[float, Found]:
        return {}

    def find(self, limits: Mapping[str, float]) -> Found:
        low, high = WIDTHS
        best = self._of(low)
        if not _keeps(best, limits):
            least = {n: best.predicted[n] for n in limits}
            short = " and ".join(over(n, limits[n], v) for n, v in least.items() if v > limits[n])
            parts = short or within(limits)
            raise InfeasibleError(
                f"no network of a width multiplier of {low:g} or more keeps {parts}; loosen the budgets", least
            )
        for _ in range(WIDTH_STEPS):  # costs rise with the width but for the granularity of kernels
            middle = (low + high) / 2
            found = self._of(middle)
            if _keeps(found, limits):
                low, best = middle, found
            else:
                high = middle
        return best

    def _of(self, width: float) -> Found:
        if width not in self._known:
            space: BlockSpace = self.prices.space.scaled(width)
            prices = SpacePrices(
                space, self.prices.target, self.prices.classes, self.prices.channels, self.prices.batch
            )
            predicted = prices.total(prices.rows(space.reference), self.costs)
            described = space.describe(space.reference, prices.classes, prices.channels)
            self._known[width] = Found(described, predicted, None, -width)
        return self._known[width]


def _keeps(found: Found, limits: Mapping[str, float]) -> bool:
    return all(found.predicted[name] <= limit for name, limit in limits.items())

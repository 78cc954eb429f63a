"""The strategy contract (ask, tell) and the problem that strategies solve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.space import CostTable, Factor, MaxTable, as_sums

Designs = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Path = tuple[tuple[int, ...], ...]  #: designs, each made from the one before it


@dataclass(frozen=True)
class Problem:
    """Choose one value for every decision: least loss within every budget.

    Attributes:
        loss: ``(D, K)`` estimated loss of each choice taken alone (0 for the choice that changes nothing); decisions
            with fewer than K choices are padded with ``inf``, and a choice with infinite loss is never taken.
        costs: name to ``CostTable`` over the same decisions, SI units.
        budgets: name to upper bound; every name is in ``costs``.
        tied: groups of decisions that share one choice index.
        interactions: loss of decisions together, beyond the sum of their own (finite).
        given: the design that changes nothing, ``(D,)``; by default every decision's last choice.
    """

    loss: FloatArray
    costs: Mapping[str, CostTable]
    budgets: Mapping[str, float]
    tied: Sequence[Sequence[int]] = ()
    interactions: tuple[Factor, ...] = ()
    given: Designs | None = None

    def __post_init__(self) -> None:
        if maxima := [name for name, table in self.costs.items() if isinstance(table, MaxTable)]:
            raise InputError(
                f"strategies know sums only, and {maxima[0]} is a maximum: make the problem by Problem.over"
            )

    @classmethod
    def over(
        cls, tables: Mapping[str, CostTable | MaxTable], limits: Mapping[str, float], loss: FloatArray | float = 0.0
    ) -> Problem:
        """The problem of keeping some limits, over the choices that the tables price.

        Args:
            tables: at least one, and of every cost that has a limit; a limit on a maximum becomes one on each of its
                steps.
            limits: the budgets.
            loss: of each choice, ``(D, K)``; padding does not matter.
        """
        first = next(iter(tables.values()))
        there = np.isfinite((first if isinstance(first, CostTable) else first.steps[0]).unary)
        return cls(np.where(there, loss, np.inf), *as_sums(tables, limits))

    @property
    def reference(self) -> Designs:
        """The design that changes nothing, ``(D,)``: what costs are saved from and where step-wise searches start.

        Where a decision's choice of it is not allowed, by its own loss or by those tied to it, its last allowed one.
        """
        allowed = np.isfinite(np.asarray(self.loss, dtype=np.float64))
        for group in self._ties:
            allowed[group] = allowed[group].all(axis=0)
        last = np.asarray(allowed.shape[1] - 1 - allowed[:, ::-1].argmax(axis=1))
        if self.given is None:
            return last
        return np.where(allowed[np.arange(len(allowed)), self.given], self.given, last)

    def held(self, which: NDArray[np.bool_], design: Designs | None = None) -> Problem:
        """The problem in which the decisions ``which (D,)`` stay as in ``design (D,)``; by default as in ``reference``.

        What is tied to one of them stays as well.
        """
        loss, which = np.array(self.loss, dtype=np.float64), np.array(which)
        for group in self._ties:
            which[group] = which[group].any()
        stays = np.arange(loss.shape[1]) == np.asarray(self.reference if design is None else design)[:, None]
        loss[which[:, None] & ~stays] = np.inf
        return replace(self, loss=loss)

    @property
    def _ties(self) -> list[list[int]]:
        """Tied groups that do not overlap."""
        groups: list[set[int]] = []
        for group in (set(g) for g in self.tied):
            apart = [g for g in groups if not g & group]
            groups = [*apart, group.union(*(g for g in groups if g & group))]
        return [sorted(g) for g in groups]

    @property
    def indifferent(self) -> Problem:
        """The same budgets and allowed choices, all without loss: for some design that keeps them."""
        return replace(self, loss=np.where(np.isfinite(self.loss), 0.0, np.inf), interactions=())

    def estimate(self, designs: Designs) -> FloatArray:
        """Estimated loss of each design, ``(N, D)`` to ``(N,)``: its choices' own losses and their interactions."""
        return CostTable(0.0, np.asarray(self.loss, dtype=np.float64), self.interactions).price(designs)

    def price(self, designs: Designs) -> dict[str, FloatArray]:
        """Every cost of each design, ``(N, D)`` to name -> ``(N,)``."""
        return {name: table.price(designs) for name, table in self.costs.items()}

    def feasible(self, designs: Designs) -> NDArray[np.bool_]:
        """Which designs keep every budget, ``(N,)``."""
        prices = self.price(designs)
        ok = np.ones(len(np.atleast_2d(designs)), dtype=bool)
        for name, limit in self.budgets.items():
            ok &= prices[name] <= limit * (1 + 1e-9)
        return ok


@dataclass(frozen=True)
class Results:
    """What became of asked designs: ``loss (N,)`` (lower is better), measured or estimated costs name -> ``(N,)``."""

    loss: FloatArray
    costs: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposals:
    """Designs that a strategy asks for, and what each is to be made from.

    Attributes:
        designs: ``(n, D)`` choice indices.
        parents: for each the way to the network that it is made from: the designs of all networks between the one as
            given and that, in order; none for what is made from the network as given itself.
    """

    designs: Designs
    parents: tuple[Path, ...]

    @classmethod
    def of(cls, asked: Proposals | Designs) -> Proposals:
        """What was asked for; of plain designs, each made from the network as given."""
        if isinstance(asked, Proposals):
            return asked
        designs = np.atleast_2d(np.asarray(asked, dtype=np.int64))
        return cls(designs, ((),) * len(designs))

    def __len__(self) -> int:
        return len(self.designs)

    def take(self, at: Sequence[int]) -> Proposals:
        """Some of them, in the order of ``at``."""
        return Proposals(self.designs[list(at)], tuple(self.parents[i] for i in at))


class Strategy(Protocol):
    """Proposes designs and learns from their results. The caller owns the loop.

    How it wants to be run stands beside its name, in ``search/registry.py``. Two things more it may have: a proven
    lower ``bound`` on the summed loss of any design within the budgets, and, where it makes networks from others,
    ``alive``, the designs that it may still make others from.
    """

    def ask(self, n: int) -> Proposals | Designs:
        """Return up to n designs, ``(n, D)``, that keep the problem's budgets (fewer only if it has no more).

        Strategies that walk towards the budgets (``netadapt``, ``compactnet``) ask for designs on their way as well.
        """
        ...

    def tell(self, designs: Designs, results: Results) -> None:
        """Take in the results of designs ``(n, D)``, whether they were asked for or come from elsewhere."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """JSON-serialisable state; a strategy restored from it asks what the original would have asked."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

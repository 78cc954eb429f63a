"""What designs cost, as mathematics: sums of terms over few decisions each, and the largest of several such sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
_BLOCK = 2048  #: designs that are priced together


@dataclass(frozen=True)
class Factor:
    """A cost that depends on a few decisions together: ``values[k_i, k_j, ...]`` for decisions ``rows``."""

    rows: tuple[int, ...]
    values: FloatArray


@dataclass(frozen=True)
class CostTable:
    """One cost of every choice of every decision, computed once, so that a population costs one gather.

    ``cost(x) = fixed + sum_d unary[d, x_d] + sum_f f.values[x_rows]``.

    Attributes:
        fixed: what no decision changes.
        unary: ``(D, K)``; decisions with fewer than K choices are padded with ``inf``.
        factors: terms over two or more decisions (a layer's cost depends on its input and its output channels).
    """

    fixed: float
    unary: FloatArray
    factors: tuple[Factor, ...] = field(default=())

    def price(self, designs: NDArray[np.int64]) -> FloatArray:
        """Cost of each design: ``(N, D)`` valid choices of any integer type to ``(N,)``.

        Works on blocks that stay in the cache: what bounds it are the gathers, one a decision and design.
        """
        designs = np.atleast_2d(designs)
        (d, k), n = self.unary.shape, len(designs)
        total = np.empty(n)
        costs, start, ones = self.unary.ravel(), np.arange(d) * k, np.ones(d)
        place, value = np.empty((min(n, _BLOCK), d), dtype=np.intp), np.empty((min(n, _BLOCK), d))
        for i in range(0, n, _BLOCK):
            block = designs[i : i + _BLOCK]
            m = len(block)
            np.add(block, start, out=place[:m], casting="unsafe")
            np.take(costs, place[:m], out=value[:m], mode="clip")
            out = total[i : i + m]
            np.dot(value[:m], ones, out=out)
            for f in self.factors:
                out += f.values[tuple(block[:, r] for r in f.rows)]
        return np.asarray(total + self.fixed)

    def expected(self, probabilities: FloatArray) -> float:
        """Expected cost under independent choice probabilities ``(D, K)``; exact, and linear in each decision.

        Infinite where a combination that a factor forbids has some probability.
        """
        p = np.where(np.isfinite(self.unary), probabilities, 0.0)
        total = self.fixed + float((p * np.where(np.isfinite(self.unary), self.unary, 0.0)).sum())
        for f in self.factors:
            allowed = np.isfinite(f.values)
            for values, scale in ((np.where(allowed, f.values, 0.0), 1.0), (np.where(allowed, 0.0, 1.0), np.inf)):
                term = values
                for r in reversed(f.rows):
                    term = term @ p[r, : term.shape[-1]]
                total += float(term) * scale if float(term) else 0.0  # no mass on a forbidden cell costs nothing
        return total

    def beyond(self, other: CostTable) -> float:
        """An upper bound on by how much this cost exceeds another at any design; tight where there are no factors."""
        there = np.isfinite(self.unary)
        differences = np.subtract(self.unary, other.unary, out=np.full(self.unary.shape, -np.inf), where=there)
        total = self.fixed - other.fixed + float(differences.max(axis=1).sum())
        theirs = {f.rows: f.values for f in other.factors}
        total += sum(float((f.values - theirs.pop(f.rows, np.zeros(1))).max()) for f in self.factors)
        return total - sum(float(values.min()) for values in theirs.values())


@dataclass(frozen=True)
class MaxTable:
    """A cost that is the largest of several sums: of memory, say, what is in use at the step of a run that uses most.

    Attributes:
        steps: at least one, all over the same decisions.
        names: of the steps; by default their numbers, from 1.
    """

    steps: tuple[CostTable, ...]
    names: tuple[str, ...] = ()

    def price(self, designs: NDArray[np.int64]) -> FloatArray:
        """Cost of each design: ``(N, D)`` valid choices of any integer type to ``(N,)``."""
        return np.asarray(np.max([step.price(designs) for step in self.steps], axis=0))

    def without_dominated(self) -> MaxTable:
        """The same cost of fewer steps: none is left that another is never below."""
        names = tuple(self.name(i) for i in self.undominated)
        return MaxTable(tuple(self.steps[i] for i in self.undominated), names)

    def name(self, i: int) -> str:
        """What a step is called."""
        return self.names[i] if self.names else str(i + 1)

    @cached_property
    def undominated(self) -> tuple[int, ...]:
        """Which steps :meth:`without_dominated` keeps."""
        kept = list(range(len(self.steps)))
        for i, step in enumerate(self.steps):
            others = [j for j in kept if j != i]
            if any(step.beyond(self.steps[j]) <= 0 for j in others):
                kept = others
        return tuple(kept)


def as_sums(
    tables: Mapping[str, CostTable | MaxTable], limits: Mapping[str, float]
) -> tuple[dict[str, CostTable], dict[str, float]]:
    """Costs with limits as sums alone, for whatever knows sums only: a limit on a maximum is one on each of its steps.

    Args:
        tables: of every cost that has a limit; others are left out.

    Returns:
        Tables and limits by name: the steps of ``memory`` that may break its limit are ``memory (step 3)`` and so on.
    """
    sums, kept = dict[str, CostTable](), dict[str, float]()
    for name, limit in limits.items():
        table = tables[name]
        if isinstance(table, CostTable):
            sums[name], kept[name] = table, limit
            continue
        for i in table.undominated:
            step = table.steps[i]
            if step.beyond(CostTable(limit, np.zeros(step.unary.shape))) > 0:
                sums[step_name(name, table.name(i))], kept[step_name(name, table.name(i))] = step, limit
    return sums, kept


def step_name(cost: str, step: str) -> str:
    """What the sum at one step of a maximum is called: ``memory (step 3)``."""
    return f"{cost} (step {step})"


def cost_of(name: str) -> str:
    """The cost that a sum is of, itself or a step of: ``memory (step 3)`` is of ``memory``."""
    return name.partition(" (step ")[0]

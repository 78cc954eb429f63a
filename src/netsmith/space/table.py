"""What designs cost, as mathematics: sums of terms over few decisions each."""

from __future__ import annotations

from dataclasses import dataclass, field

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

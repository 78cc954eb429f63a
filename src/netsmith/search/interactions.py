"""Losses of decisions together, for where the sum of their own losses is wrong.

Layers of one block undo or double each other's errors, so that the loss of a design is not the sum of the losses of
its choices taken alone (BRECQ, Li et al., ICLR 2021, adds pair terms inside blocks). Measure pairs, or take the real
losses of designs that were evaluated anyway, and give the terms to ``Problem(interactions=...)``: every strategy and
the exact search then respect them.

Example:
    >>> terms = pair_terms(loss, {(0, 1, 3, 0): 0.8})  # decision 0 at choice 1 and decision 3 at choice 0: 0.8 together
    >>> solve(Problem(loss, costs, budgets, interactions=terms))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from netsmith.errors import InputError
from netsmith.search.ridge import fit_scale, ridge
from netsmith.search.strategy import Designs, FloatArray, Problem
from netsmith.space import Factor


def pair_terms(loss: FloatArray, pairs: Mapping[tuple[int, int, int, int], float]) -> tuple[Factor, ...]:
    """Factors from measured pairs: what two choices lose together beyond what each loses alone.

    Args:
        loss: ``(D, K)`` loss of each choice alone, relative to the design that changes nothing.
        pairs: ``(i, k_i, j, k_j)`` to the measured loss with both taken, relative to the same. Cells that were not
            measured get no term.

    Raises:
        InputError: a pair outside the table, of one decision with itself, with a forbidden choice, or not finite.
    """
    table = np.asarray(loss, dtype=np.float64)
    values: dict[tuple[int, int], FloatArray] = {}
    for (i, k, j, m), measured in pairs.items():
        for d, c in ((i, k), (j, m)):
            if not (0 <= d < len(table) and 0 <= c < table.shape[1] and np.isfinite(table[d, c])):
                raise InputError(f"pair {(i, k, j, m)}: decision {d} has no choice {c}")
        if i == j:
            raise InputError(f"pair {(i, k, j, m)} is of one decision with itself; name two decisions")
        if not np.isfinite(measured):
            raise InputError(f"pair {(i, k, j, m)} has the loss {measured}; measure it or leave it out")
        cell = values.setdefault((min(i, j), max(i, j)), np.zeros((table.shape[1],) * 2))
        cell[(k, m) if i < j else (m, k)] = float(measured) - table[i, k] - table[j, m]
    return tuple(Factor(rows, v) for rows, v in sorted(values.items()))


def told_terms(
    problem: Problem, designs: Designs, loss: FloatArray, pairs: Iterable[tuple[int, int]], prior: float = 1.0
) -> tuple[Factor, ...]:
    """Factors from evaluated designs: what the estimate does not explain, spread over the cells of candidate pairs.

    The estimate is first scaled to the losses; the rest goes to the cells that the designs take, by ridge regression,
    and back into the scale of the estimate. Add the result to the interactions that the problem has.

    Args:
        designs: ``(N, D)``.
        loss: ``(N,)`` their real losses, in any unit and from any origin.
        pairs: decisions that may interact, such as those of one block.
        prior: strength of the pull to no interaction, per pair; 1 halves a residual that only one design has.

    Raises:
        InputError: fewer than three designs with a finite loss, or no pair.
    """
    rows = sorted({(min(i, j), max(i, j)) for i, j in pairs if i != j})
    designs, measured = np.atleast_2d(designs), np.asarray(loss, dtype=np.float64)
    estimate = problem.estimate(designs)
    usable = np.isfinite(measured) & np.isfinite(estimate)
    if usable.sum() < 3 or not rows:
        raise InputError(f"{usable.sum()} designs and {len(rows)} pairs; it takes three evaluated designs and a pair")
    designs, measured, estimate = designs[usable], measured[usable], estimate[usable]
    slope, rest = fit_scale(estimate, measured)
    width = problem.loss.shape[1]
    code = np.zeros((len(designs), len(rows), width, width))
    for p, (i, j) in enumerate(rows):
        code[np.arange(len(designs)), p, designs[:, i], designs[:, j]] = 1.0
    terms = ridge(code.reshape(len(designs), -1), rest, prior * len(rows)).reshape(len(rows), width, width)
    return tuple(Factor(r, t / slope) for r, t in zip(rows, terms, strict=True) if t.any())

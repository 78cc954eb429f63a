"""Choices that nothing speaks for: a later one loses no more and costs no more, whatever is chosen beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from netsmith.search.strategy import FloatArray, Problem

_SAME = 1e-12  #: share of the largest cost by which sums of the same numbers may differ
_FIRST = 64  #: cells that are compared before all are: they decide most pairs


def without_dominated(problem: Problem) -> Problem:
    """The problem with such choices forbidden: of choices that are worth the same, the last alone is left.

    The least loss within the budgets, and every least cost, stay what they are. Decisions that are tied lose a choice
    together, where all of them can do without.
    """
    loss = np.array(problem.loss, dtype=np.float64)
    count, size = loss.shape
    # (D, k, other): whether choice k can be replaced by the other, a later one
    better = (loss[:, None, :] <= loss[:, :, None]) & np.isfinite(loss)[:, None, :]
    better &= np.arange(size) > np.arange(size)[:, None]
    for d in range(count):
        for cells in _cells(problem, d):
            better[d] &= _no_dearer(better[d], cells)
    for group in problem.tied:
        members = list(group)
        better[members] = better[members].all(axis=0)
    loss[better.any(axis=2)] = np.inf
    return replace(problem, loss=loss)


def _cells(problem: Problem, d: int) -> Iterator[FloatArray]:
    """What each choice of a decision adds, ``(K, cells)``: to every cost, and to the loss together with others."""
    for table in problem.costs.values():
        yield table.unary[d][:, None]
    for factor in (*(f for table in problem.costs.values() for f in table.factors), *problem.interactions):
        for axis, row in enumerate(factor.rows):
            if row == d:
                values = np.moveaxis(factor.values, axis, 0)
                yield values.reshape(len(values), -1)


def _no_dearer(asked: NDArray[np.bool_], cells: FloatArray) -> NDArray[np.bool_]:
    """Which of the ``asked`` replacements, ``(K, K)``, cost no more in any cell."""
    out = np.zeros_like(asked)
    finite = cells[np.isfinite(cells)]
    slack = _SAME * float(np.abs(finite).max(initial=0.0))
    for k, other in np.argwhere(asked[: len(cells), : len(cells)]):
        few = cells[other, :_FIRST] <= cells[k, :_FIRST] + slack
        out[k, other] = few.all() and bool((cells[other] <= cells[k] + slack).all())
    return out

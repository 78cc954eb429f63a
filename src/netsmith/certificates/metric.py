"""Bounds on a score by any metric: exact where it is a share of examples, by a bootstrap where it is anything else."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.certificates.bootstrap import mean_bound, resampled_bound
from netsmith.certificates.paired import check_confidence, paired_bound
from netsmith.certificates.score import score_bound, score_interval
from netsmith.errors import InputError
from netsmith.metrics import FloatArray, Metric, mean_of_first

BoolArray = NDArray[np.bool_]


def rows_in(noted: Any) -> FloatArray:
    """What was noted of examples as rows ``(N, F)``; of one number each also given as ``(N,)``, right or wrong."""
    rows = np.asarray(noted, dtype=np.float64)
    return rows[:, None] if rows.ndim == 1 else rows


def right_in(rows: FloatArray) -> BoolArray:
    """Which examples are right, ``(N,)``, by a metric that is a share."""
    return np.asarray(rows[:, 0] > 0.5)


def changed(before: FloatArray, after: FloatArray) -> tuple[int, int]:
    """How many examples only the first network gets right, and how many only the second."""
    was, now = right_in(before), right_in(after)
    return int(np.sum(was & ~now)), int(np.sum(~was & now))


def lost_at_most(metric: Metric, before: FloatArray, after: FloatArray, confidence: float) -> float:
    """An upper bound on the loss of score, in the metric's own units, from rows ``(N, F)`` of the same examples.

    Raises:
        InputError: no or other examples, or no confidence between 0.5 and 1.
    """
    if len(before) != len(after):
        raise InputError(f"{len(before)} examples before and {len(after)} after cannot be compared one by one")
    if metric.share:
        return paired_bound(*changed(before, after), len(after), confidence)
    if metric.finish is mean_of_first:
        sign = metric.rank(1.0)
        return mean_bound(sign * (before[:, 0] - after[:, 0]), confidence)
    return resampled_bound(
        lambda index: metric.lost(metric.of(before[index]), metric.of(after[index])), len(after), confidence,
        numbers=2 * after.shape[1],
    )  # fmt: skip


def surely_reached(metric: Metric, rows: FloatArray, confidence: float) -> float:
    """The score that is surely no worse, from rows ``(N, F)``.

    Raises:
        InputError: no examples, or no confidence between 0.5 and 1.
    """
    if metric.share:
        return score_bound(int(right_in(rows).sum()), len(rows), confidence)
    return metric.rank(-_worst(metric, rows, confidence))


def around(metric: Metric, rows: FloatArray, confidence: float) -> tuple[float, float]:
    """Both limits of a score, the lower number first."""
    check_confidence(confidence)
    if metric.share:
        return score_interval(int(right_in(rows).sum()), len(rows), confidence)
    each = (1 + confidence) / 2
    worst, best = metric.rank(-_worst(metric, rows, each)), metric.rank(_best(metric, rows, each))
    score = metric.of(rows)
    return min(worst, best, score), max(worst, best, score)


def with_as_many(seen: float, bound: float, examples: int, others: int) -> float:
    """What a bound would be with another number of examples that are like these."""
    return seen + (bound - seen) * sqrt(examples / max(others, 1))


def _worst(metric: Metric, rows: FloatArray, confidence: float) -> float:
    """An upper bound on how bad the score is: its rank with the other sign."""
    return _upper(metric, rows, confidence, -1.0)


def _best(metric: Metric, rows: FloatArray, confidence: float) -> float:
    """An upper bound on the rank of the score."""
    return _upper(metric, rows, confidence, 1.0)


def _upper(metric: Metric, rows: FloatArray, confidence: float, sign: float) -> float:
    if metric.finish is mean_of_first:
        return mean_bound(metric.rank(sign) * rows[:, 0], confidence)
    return resampled_bound(
        lambda index: sign * metric.rank(metric.of(rows[index])), len(rows), confidence, numbers=rows.shape[1]
    )

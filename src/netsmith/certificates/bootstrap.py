"""Bounds on scores of which no exact distribution is known, by examples that are drawn again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netsmith.certificates.paired import check_confidence
from netsmith.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_DRAWS, _BLOCK = 4000, 200
_RESAMPLED, _LEAST, _WORK = 1000, 300, 3e8  #: draws of any score; fewer where more numbers than that would be read
_GROUPS = 200  #: of examples that are left out in turn


def bootstrap_bound(before: FloatArray, after: FloatArray, confidence: float = 0.95, seed: int = 0) -> float:
    """An approximate upper bound on the loss of a mean, see :func:`mean_bound`.

    Scores that are right or wrong have :func:`netsmith.certificates.paired_bound`, which is exact.

    Args:
        before, after: a value an example, ``(N,)``, higher is better, of the same examples in the same order.
        seed: of the draws.

    Raises:
        InputError: fewer than two examples, or not as many of both.
    """
    if np.shape(before) != np.shape(after):
        raise InputError("a bound on a loss needs a value of each example before and after, at least two examples")
    return mean_bound(np.asarray(before, dtype=np.float64) - np.asarray(after, dtype=np.float64), confidence, seed)


def mean_bound(values: FloatArray, confidence: float = 0.95, seed: int = 0) -> float:
    """An approximate upper bound on the mean that values ``(N,)`` are drawn from, by the studentised bootstrap.

    Of the usual bootstraps it is the one whose error falls with the number of examples rather than with its root, as
    it resamples a ratio of which the spread is divided out (Efron and Tibshirani, 1993, chapter 12). Where only few
    values are not alike it knows too little of the spread and is wrong too often; it is no more than the largest value
    that was seen.

    Raises:
        InputError: fewer than two examples.
    """
    check_confidence(confidence)
    if values.ndim != 1 or len(values) < 2:
        raise InputError("a bound on a loss needs a value of each example before and after, at least two examples")
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    if error == 0.0:
        return mean
    rng, ratios = np.random.default_rng(seed), list[FloatArray]()
    for _ in range(_DRAWS // _BLOCK):
        drawn = values[rng.integers(0, len(values), (_BLOCK, len(values)))]
        spread = drawn.std(axis=1, ddof=1) / len(values) ** 0.5
        ratios.append((drawn.mean(axis=1) - mean) / np.maximum(spread, error * 1e-6))
    bound = mean - float(np.quantile(np.concatenate(ratios), 1 - confidence)) * error
    return min(bound, float(values.max()))


def resampled_bound(
    of: Callable[[IntArray], float], examples: int, confidence: float = 0.95, *, numbers: int = 1, seed: int = 0
) -> float:
    """An approximate upper bound on any function of examples, by the bootstrap that is corrected for bias and skew.

    It is BCa of Efron (1987, Journal of the American Statistical Association 82), whose error falls with the number of
    examples as that of :func:`mean_bound` does, for scores that are no means: intersection over union, F1, an area
    under a curve. Groups of examples are left out in turn to know how skewed it is. Draws in which the function is not
    defined, as for want of a class, are left out.

    Args:
        of: from positions of examples ``(M,)``, each perhaps several times, to the value that is bounded.
        examples: how many there are.
        numbers: that are read of each, by which the number of draws is chosen.

    Raises:
        InputError: fewer than two examples, or a function that most draws do not define.
    """
    from scipy.special import ndtr, ndtri

    check_confidence(confidence)
    if examples < 2:
        raise InputError("a bound on a score needs at least two examples")
    every = np.arange(examples)
    value, rng = of(every), np.random.default_rng(seed)
    draws = int(min(_RESAMPLED, max(_LEAST, _WORK / (examples * numbers))))
    drawn = np.array([of(rng.integers(0, examples, examples)) for _ in range(draws)])
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(drawn) < draws / 2:
        raise InputError(f"the score is not defined for most draws of {examples} test examples; give more of them")
    if drawn.min() == drawn.max():
        return float(value)
    groups = min(examples, _GROUPS)
    left = np.array([of(every[every % groups != g]) for g in range(groups)])
    left = left[np.isfinite(left)]
    off = left.mean() - left if len(left) else np.zeros(1)
    skew = float((off**3).sum() / (6 * max((off**2).sum() ** 1.5, 1e-300)))
    below = float((drawn < value).mean() + (drawn == value).mean() / 2)
    bias = float(ndtri(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn))))
    shifted = bias + float(ndtri(confidence))
    level = float(ndtr(bias + shifted / (1 - skew * shifted))) if skew * shifted < 1 else 1.0
    return float(np.quantile(drawn, min(level, 1.0)))

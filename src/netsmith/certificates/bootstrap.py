"""A bound on the loss of a score that is the mean of any values, of which no exact distribution is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsmith.certificates.paired import check_confidence
from netsmith.errors import InputError

FloatArray = NDArray[np.float64]
_DRAWS, _BLOCK = 4000, 200


def bootstrap_bound(before: FloatArray, after: FloatArray, confidence: float = 0.95, seed: int = 0) -> float:
    """An approximate upper bound on the loss of a mean, by the studentised bootstrap of paired differences.

    Of the usual bootstraps it is the one whose error falls with the number of examples rather than with its root, as
    it resamples a ratio of which the spread is divided out (Efron and Tibshirani, 1993, chapter 12). Where only few
    examples differ it knows too little of the spread and is wrong too often; it is no more than the largest loss that
    was seen. Scores that are right or wrong have :func:`netsmith.certificates.paired_bound`, which is exact.

    Args:
        before, after: a value an example, ``(N,)``, higher is better, of the same examples in the same order.
        seed: of the draws.

    Raises:
        InputError: fewer than two examples, or not as many of both.
    """
    check_confidence(confidence)
    loss = np.asarray(before, dtype=np.float64) - np.asarray(after, dtype=np.float64)
    if loss.ndim != 1 or len(loss) < 2 or np.shape(before) != np.shape(after):
        raise InputError("a bound on a loss needs a value of each example before and after, at least two examples")
    mean, error = float(loss.mean()), float(loss.std(ddof=1) / np.sqrt(len(loss)))
    if error == 0.0:
        return mean
    rng, ratios = np.random.default_rng(seed), list[FloatArray]()
    for _ in range(_DRAWS // _BLOCK):
        drawn = loss[rng.integers(0, len(loss), (_BLOCK, len(loss)))]
        spread = drawn.std(axis=1, ddof=1) / len(loss) ** 0.5
        ratios.append((drawn.mean(axis=1) - mean) / np.maximum(spread, error * 1e-6))
    bound = mean - float(np.quantile(np.concatenate(ratios), 1 - confidence)) * error
    return min(bound, float(loss.max()))

"""The axis of scores, where a few networks may have lost nearly everything and the others next to nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from netsmith.report.charts import Scale, linear

_STEPS = (50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5)  #: between ticks of an uneven axis of scores, in percent
_BENT = 4.0  #: points of score from which on an axis may be uneven


def score_scale(values: Sequence[float], centres: Sequence[float], height: float, percent: bool = True) -> Scale:
    """Scores to 0..1: even, unless some lie so far below the rest that an even axis would press these together.

    Args:
        values: all that must be on the axis, ends of intervals among them.
        centres: the scores themselves.
        height: of the axis, in the unit in which letters are about 13 high.
        percent: whether scores are shares in percent; the axis of others is even, and ends anywhere.
    """
    low, high = min(values), max(values)
    if not percent:
        pad = (high - low) * 0.06
        return linear(low - pad, high + pad, max(4, int(height / 60)))
    pad = max((high - low) * 0.06, 0.02)
    low, high = max(low - pad, 0.0), min(high + pad, 100.0) if high <= 100 else high + pad
    top, unit = max(centres), _unit(centres)
    if is_even(centres):
        return linear(low, high, max(4, int(height / 60)))

    def bend(score: float) -> float:
        return -math.asinh((top - score) / unit)

    a, b = bend(low), bend(high)

    def place(score: float) -> float:
        return (bend(score) - a) / (b - a)

    ticks = list[float]()
    for step in _STEPS:
        for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
            if all(abs(place(i * step) - place(t)) * height >= 34 for t in ticks):
                ticks.append(i * step)
    return Scale(place, sorted(ticks), low, high)


def is_even(scores: Sequence[float], percent: bool = True) -> bool:
    """Whether the axis of these scores is even: none lies much further below the best than most do."""
    return not percent or max(scores) - min(scores) <= max(_BENT, 6 * _unit(scores))


def _unit(scores: Sequence[float]) -> float:
    """Points below the best score within which an uneven axis is about even."""
    return max(median([max(scores) - score for score in scores]), 0.5)

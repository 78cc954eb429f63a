"""Channel counts that a group may take, and which of its channels stay."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def keep_indices(scores: FloatArray, n_keep: int, unit: int = 1) -> list[int]:
    """Return the ``n_keep`` most important channels, ascending, in whole units.

    Args:
        scores: ``(channels,)``.
        n_keep: how many stay; rounded down to whole units, at least one unit.
        unit: consecutive channels that stay or go together.
    """
    n = min(len(scores) // unit, max(1, n_keep // unit))
    return [int(c) for c in np.sort(ranking(scores, unit)[: n * unit])]


def ranking(scores: FloatArray, unit: int = 1) -> NDArray[np.int64]:
    """Channels ``(channels,)`` in the order in which they would stay, unit by unit, the most important first."""
    best = np.argsort(-scores.reshape(-1, unit).sum(axis=1), kind="stable")
    return np.asarray((best[:, None] * unit + np.arange(unit)).reshape(-1), dtype=np.int64)


def widths(channels: int, multiple: int = 1, ratios: Sequence[float] = (), unit: int = 1) -> tuple[int, ...]:
    """Return the widths that a group may take, ascending: hardware-friendly multiples, and the full width.

    Args:
        channels: the full width, always among the widths.
        multiple: what the hardware likes; widths are multiples of it and of ``unit``.
        ratios: fractions of the full width, rounded to multiples; without any, all multiples.
        unit: the group's unit.
    """
    step = math.lcm(max(1, multiple), unit)
    if step >= channels:
        step = unit if unit > 1 else channels
    grid = range(step, channels, step)
    if ratios:
        chosen = {min(grid, key=lambda w: (abs(w - r * channels), -w)) for r in ratios if r < 1} if len(grid) else set()
        return (*sorted(chosen), channels)
    return (*grid, channels)

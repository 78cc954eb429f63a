"""Learning-rate schedules as pure functions of the step, so that resuming needs no state."""

from __future__ import annotations

import math

SCHEDULES = {"one-cycle": 0.25, "cosine": 0.02, "constant": 0.0}  #: schedule -> fraction of the steps that warm up
_START = 0.1  # the warm-up begins at a tenth of the peak


def learning_rate(step: int, total: int, peak: float, schedule: str = "one-cycle") -> float:
    """Learning rate of ``step`` (from 0) of ``total``: linear warm-up, then a half cosine to zero (or constant)."""
    warm = int(SCHEDULES[schedule] * total)
    if step < warm:
        return peak * (_START + (1 - _START) * step / warm)
    if schedule == "constant":
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))

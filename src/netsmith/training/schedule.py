"""Learning-rate schedules as pure functions of the step, so that resuming needs no state."""

from __future__ import annotations

import math

from netsmith.errors import InputError

SCHEDULES = {"one-cycle": 0.25, "cosine": 0.02, "constant": 0.0}  #: schedule -> fraction of the steps that warm up
_START = 0.1  # the warm-up begins at a tenth of the peak


def check_training(*, lr: float | None = None, epochs: int | None = None, patience: int | None = None) -> None:
    """Refuse settings with which nothing would be trained; None is a default and always good.

    Raises:
        InputError: names the option.
    """
    if lr is not None and not (lr > 0 and math.isfinite(lr)):
        raise InputError(f"--lr is {lr:g}; it must be above 0 and finite")
    if epochs is not None and epochs < 1:
        raise InputError(f"--epochs is {epochs}; it must be at least 1")
    if patience is not None and patience < 1:
        raise InputError(f"--patience is {patience}; it must be at least 1, or nothing would be trained")


def learning_rate(step: int, total: int, peak: float, schedule: str = "one-cycle") -> float:
    """Learning rate of ``step`` (from 0) of ``total``: linear warm-up, then a half cosine to zero (or constant)."""
    warm = int(SCHEDULES[schedule] * total)
    if step < warm:
        return peak * (_START + (1 - _START) * step / warm)
    if schedule == "constant":
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))

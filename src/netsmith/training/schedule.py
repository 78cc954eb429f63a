"""Learning-rate schedules as pure functions of the step, so that resuming needs no state."""

from __future__ import annotations

import math

from netsmith.errors import InputError

SCHEDULES = {"one-cycle": 0.25, "cosine": 0.02, "constant": 0.0}  #: schedule -> fraction of the steps that warm up
_START = 0.1  # the warm-up begins at a tenth of the peak


MOST_SEED = 2**63 - 1


def check_training(
    *, lr: float | None = None, epochs: int | None = None, patience: int | None = None, seed: int = 0
) -> None:
    """Refuse settings with which nothing would be trained, or no number be drawn; None is a default and always good.

    Raises:
        InputError: names the option.
    """
    if lr is not None and not (lr > 0 and math.isfinite(lr)):
        raise InputError(f"--lr is {lr:g}; it must be above 0 and finite")
    if epochs is not None and epochs < 1:
        raise InputError(f"--epochs is {epochs}; it must be at least 1")
    if patience is not None and patience < 1:
        raise InputError(f"--patience is {patience}; it must be at least 1, or nothing would be trained")
    if not 0 <= seed <= MOST_SEED:
        raise InputError(f"--seed is {seed}; it must be a whole number of 0 to 2^63 - 1")


def learning_rate(step: int, total: int, peak: float, schedule: str = "one-cycle") -> float:
    """Learning rate of ``step`` (from 0) of ``total``: linear warm-up, then a half cosine to zero (or constant)."""
    warm = int(SCHEDULES[schedule] * total)
    if step < warm:
        return peak * (_START + (1 - _START) * step / warm)
    if schedule == "constant":
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))

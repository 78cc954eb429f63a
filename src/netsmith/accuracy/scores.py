"""How good a whole design is on images of the search split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Evaluation:
    """One design on the search split: share of images right, mean cross-entropy, mean KL from the given network."""

    accuracy: float
    cross_entropy: float
    divergence: float


def evaluation(accuracy: float, cross_entropy: float, divergence: float) -> Evaluation:
    """An evaluation in which an overflow is the worst that a design can do."""
    return Evaluation(float(accuracy), *(float(np.nan_to_num(v, nan=1e6)) for v in (cross_entropy, divergence)))

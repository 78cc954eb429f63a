"""What a latency table knows of one layer."""

from __future__ import annotations

from dataclasses import dataclass

#: The way in which layers are measured. Times of different ways are not mixed in one table: raise it with every change
#: of the microbenchmark, its fragments or the calibration that changes what a time means.
METHOD = 2


@dataclass(frozen=True)
class Entry:
    """Time of one layer.

    Attributes:
        seconds: the undisturbed time (see ``quiet`` in ``measured/timing.py``).
        iqr_s: interquartile range over all runs; NaN where a user's table does not say.
        n: runs; 0 where a user's table does not say.
        nodes: executed operators behind it; a fused layer may have none of its own.
        energy_j: where a user's table has it.
    """

    seconds: float
    iqr_s: float
    n: int
    nodes: float
    energy_j: float | None = None

"""What a search evaluated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsmith.search.strategy import Designs, FloatArray


@dataclass(frozen=True)
class History:
    """Everything that was evaluated, in order: ``designs (T, D)``, ``loss (T,)``, which keep the budgets ``(T,)``."""

    designs: Designs
    loss: FloatArray
    feasible: NDArray[np.bool_]

    @property
    def best(self) -> Designs:
        """The design of least loss within the budgets, ``(D,)``; the earliest of equals.

        Raises:
            ValueError: no design was evaluated that keeps them.
        """
        within = np.flatnonzero(self.feasible)
        loss = np.where(np.isnan(self.loss), np.inf, self.loss)  # an evaluation that failed
        return np.asarray(self.designs[within[int(loss[within].argmin())]])

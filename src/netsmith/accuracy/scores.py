"""How good a whole design is on examples of the search split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsmith.metrics import ACCURACY, Metric


@dataclass(frozen=True)
class Evaluation:
    """One design on the search split.

    Attributes:
        score: by the task's first metric.
        loss: mean of what training lowers.
        divergence: mean, from the network as given.
        metric: of the score.
    """

    score: float
    loss: float
    divergence: float
    metric: Metric = ACCURACY

    @property
    def figures(self) -> dict[str, float]:
        """By name, as logs have them; accuracy stands beside what cross-entropy it comes with."""
        loss = "cross_entropy" if self.metric.key == ACCURACY.key else "loss"
        return {self.metric.key: self.score, loss: self.loss, "divergence": self.divergence}


def evaluation(score: float, loss: float, divergence: float, metric: Metric) -> Evaluation:
    """An evaluation in which an overflow is the worst that a design can do."""
    worst_loss, worst_divergence = (float(np.nan_to_num(v, nan=1e6)) for v in (loss, divergence))
    return Evaluation(float(np.nan_to_num(score, nan=metric.rank(-1e6))), worst_loss, worst_divergence, metric)

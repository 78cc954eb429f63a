"""How good predicted costs are: error, rank, and how often they are near enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Predictions against measurements.

    Attributes:
        mape: mean absolute relative error, as a share.
        rmse: root mean squared error, in the unit of the measurements.
        tau: Kendall's rank correlation; 0 for constant predictions.
        within_10: share of predictions within 10 % of the measurement.
        rows: measurements.
    """

    mape: float
    rmse: float
    tau: float
    within_10: float
    rows: int


def score(predicted: FloatArray, measured: FloatArray) -> Score:
    """Compare ``(N,)`` predictions with ``(N,)`` measurements above 0."""
    from scipy.stats import kendalltau

    relative = np.abs(predicted / measured - 1)
    tau = 0.0
    if len(measured) > 1 and np.ptp(predicted) > 0 and np.ptp(measured) > 0:
        tau = float(kendalltau(predicted, measured).statistic)
    return Score(
        mape=float(relative.mean()), rmse=float(np.sqrt(np.mean((predicted - measured) ** 2))), tau=tau,
        within_10=float((relative <= 0.1).mean()), rows=len(measured),
    )  # fmt: skip


def upper_margin(residuals: FloatArray, quantile: float) -> float | None:
    """Split-conformal margin: a new relative residual stays below it with probability of at least ``quantile``.

    The k-th smallest of n held-out residuals, ``k = ceil((n + 1) * quantile)`` (Vovk, Gammerman and Shafer, 2005).

    Args:
        residuals: ``(n,)`` measured over predicted minus 1, ascending, of rows that were not trained on.

    Returns:
        The margin; None if n is too small for the quantile.
    """
    k = int(np.ceil((len(residuals) + 1) * quantile - 1e-9))
    return float(residuals[max(k, 1) - 1]) if k <= len(residuals) else None

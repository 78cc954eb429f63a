"""What told losses say beyond an estimate: its scale, and the choices that the rest belongs to."""

from __future__ import annotations

import numpy as np

from netsmith.search.strategy import FloatArray


def fit_scale(estimate: FloatArray, measured: FloatArray) -> tuple[float, FloatArray]:
    """Least squares of ``measured = offset + slope estimate``: the slope, positive, and what it leaves ``(N,)``.

    An estimate without spread keeps slope 1.
    """
    spread = float(estimate.std())
    if spread <= 0.0:
        return 1.0, np.asarray(measured - measured.mean())
    slope = float(((estimate - estimate.mean()) * (measured - measured.mean())).mean()) / spread**2
    if slope <= 0.0:  # the table ranks these few designs the wrong way round: keep its order, take their scale
        slope = max(float(measured.std()) / spread, 1e-12)
    return slope, np.asarray(measured - measured.mean() - slope * (estimate - estimate.mean()))


def ridge(code: FloatArray, rest: FloatArray, prior: float) -> FloatArray:
    """Ridge regression of ``rest (N,)`` on ``code (N, F)`` in its dual form (N designs are few), ``(F,)``."""
    return np.asarray(code.T @ np.linalg.solve(code @ code.T + prior * np.eye(len(code)), rest))

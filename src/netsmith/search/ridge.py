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


def part_scales(sums: FloatArray, measured: FloatArray) -> FloatArray:
    """Scales ``(P,)`` of the parts of an estimate, by non-negative least squares of relative errors.

    Args:
        sums: ``(N, P)`` what each part adds to the estimate of a design.
        measured: ``(N,)`` losses, 0 for what changes nothing.

    Returns:
        positive scales; a part that tells nothing has the scale of all together.
    """
    from scipy.optimize import nnls

    total = sums.sum(axis=1)
    least = max(0.1 * float(np.median(np.abs(measured))), 1e-6 * float(np.abs(total).max()), 1e-30)
    size = np.maximum(np.abs(measured), least)
    common = float((total / size) @ (measured / size)) / max(float((total / size) @ (total / size)), 1e-300)
    common = max(common, 1e-12)
    # one pseudo-design a part that says that its scale is the common one, as heavy as a tenth of a design
    most = (sums / size[:, None]).max(axis=0)
    prior = 0.3 * np.diag(np.where(most > 0, most, 1.0))
    code = np.concatenate([sums / size[:, None], prior])
    found, _ = nnls(code, np.concatenate([measured / size, prior.sum(axis=1) * common]))
    return np.where(found > 0, found, 0.1 * common)

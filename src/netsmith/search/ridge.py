"""What told losses say beyond an estimate: its scale, and the choices that the rest belongs to."""

from __future__ import annotations

import numpy as np

from netsmith.search.strategy import Designs, FloatArray

#: Prior standard deviations, as shares: of a choice's own loss, of all of a decision's, of the mean of all decisions,
#: and of what a design loses beyond its choices. Fitted to 160 designs of ResNet-20, half of them with pruned channels.
_CHOICE, _DECISION, _FLOOR, _NOISE = 1.0, 0.7, 0.5, 0.1


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


def spread(loss: FloatArray, designs: Designs, rest: FloatArray, size: FloatArray) -> FloatArray:
    """What to add to each choice's loss so that designs come nearer to what was measured of them, ``(D, K)``.

    Ridge regression with priors in proportion: the loss of a choice is off by a share of itself, that of all choices of
    a decision by a common share, and any choice by a share of what a decision loses on average. What is left of a
    design is noise in proportion to its size.

    Args:
        loss: ``(D, K)`` scaled estimates, 0 for choices that are not allowed.
        designs: ``(N, D)``.
        rest: ``(N,)`` measured less estimated.
        size: ``(N,)`` scale of each design's loss, not negative.
    """
    rows, (count, width) = np.arange(len(loss)), loss.shape
    floor = float(np.median(size)) / count
    own = loss[rows, designs]  # (N, D)
    choice = np.sqrt((_CHOICE * loss) ** 2 + (_FLOOR * floor) ** 2)
    code = np.zeros((len(designs), count, width + 1))
    code[np.arange(len(designs))[:, None], rows, designs] = choice[rows, designs]
    code[:, :, width] = _DECISION * own
    noise = _NOISE * np.maximum(size, max(float(np.median(size)), 1e-300))
    flat = code.reshape(len(designs), -1) / noise[:, None]
    found = ridge(flat, rest / noise, 1.0).reshape(count, width + 1)
    return np.asarray(choice * found[:, :width] + _DECISION * loss * found[:, width:])


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

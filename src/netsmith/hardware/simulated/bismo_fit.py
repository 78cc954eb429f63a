"""Three terms fitted to a table of cycles [layer][weight bits][activation bits], with the error of each layer group.

A bit-serial machine streams activations, streams weights and multiplies, and the slowest sets the time:
``cycles = max(activation * a * S, weight * w * W, compute * w * a * M)`` with S the positions that stream in
(``B*Ho*Wo`` for each set of ``channels_at_once`` groups), W the weights and M the multiply-accumulates. This is the
structure of the cloud table that HAQ released (K. Wang et al., CVPR 2019); netsmith ships no such table, the user gives
one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsmith.errors import InputError
from netsmith.hardware.simulated.workload import workload
from netsmith.hardware.target import FloatArray
from netsmith.network.layers import KIND, LayerTable

TERMS = ("activation stream", "weight stream", "compute")
_ROUNDS = 200


@dataclass(frozen=True)
class GroupError:
    """How far a fit is from the table on one group of layers.

    Attributes:
        layers: how many.
        median, largest: absolute relative error of single cells.
        total: relative error of the sum over all cells.
    """

    layers: int
    median: float
    largest: float
    total: float


@dataclass(frozen=True)
class ThreeTermFit:
    """Coefficients and errors.

    Attributes:
        activation: cycles per streamed position and activation bit.
        weight: cycles per weight bit.
        compute: cycles per binary multiply-accumulate.
        active: share of cells that each term sets; a coefficient whose term sets none is only an upper bound.
        errors: by group: "depthwise", "pointwise", "fc", "other".
        channels_at_once: groups that stream side by side.
        batch: samples.
    """

    activation: float
    weight: float
    compute: float
    active: dict[str, float]
    errors: dict[str, GroupError]
    channels_at_once: int
    batch: int

    def predict(self, layers: LayerTable, w_max: int = 8, a_max: int = 8) -> FloatArray:
        """Cycles ``(L, w_max, a_max)`` of a table ``(L,)`` for every pair of widths from 1 bit."""
        terms = _terms(layers, self.batch, self.channels_at_once, w_max, a_max)
        coefficients = np.array([self.activation, self.weight, self.compute])
        return np.asarray((terms * coefficients[:, None, None, None]).max(axis=0))


def layer_groups(layers: LayerTable) -> list[str]:
    """Group of each row: "depthwise", "pointwise" (1x1 without groups), "fc" or "other"."""
    point = (layers.kind == KIND["conv"]) & (layers.groups == 1) & (layers.kernel_h * layers.kernel_w == 1)
    names = np.where(layers.is_depthwise, "depthwise", np.where(point, "pointwise", "other"))
    return [str(n) for n in np.where(layers.kind == KIND["linear"], "fc", names)]


def fit_three_terms(layers: LayerTable, cycles: FloatArray, batch: int = 1, channels_at_once: int = 16) -> ThreeTermFit:
    """Fit the three coefficients to a given table, least squares of the relative error.

    Each cell belongs to its largest term; coefficients and membership are renewed in turns until nothing changes, from
    several starts (a term can never exceed the table, so low quantiles of ``cycles / term`` bracket each coefficient).

    Args:
        layers: compute rows, ``(L,)``; their own bits do not matter.
        cycles: ``(L, W, A)``, entry ``[l][w - 1][a - 1]`` at w weight bits and a activation bits, for the whole batch.
        batch: samples that the table holds for.
        channels_at_once: groups of a grouped convolution that stream side by side (rows of the array).

    Raises:
        InputError: shapes do not fit, or a value is not a positive number.
    """
    cycles = np.asarray(cycles, dtype=np.float64)
    if cycles.ndim != 3 or len(cycles) != len(layers):
        raise InputError(
            f"the cycles must have shape ({len(layers)}, weight bits, activation bits), not {cycles.shape}"
        )
    if not (np.isfinite(cycles) & (cycles > 0)).all():
        raise InputError("the cycles must be positive numbers; the table holds a value that is not")
    if not layers.is_compute.all():
        raise InputError("the layers must all be compute layers; take them with table.take(table.is_compute)")
    terms = _terms(layers, batch, channels_at_once, *cycles.shape[1:])
    shares = (terms / cycles).reshape(3, -1)  # what a coefficient of 1 would make of each cell
    possible = shares > 0
    best, best_loss = np.zeros(3), np.inf
    for quantile in (0.0, 0.01, 0.05, 0.2):
        start = np.array([np.quantile(1 / s[p], quantile) if p.any() else 0.0 for s, p in zip(shares, possible)])
        coefficients = _refine(shares, start)
        loss = float((((shares * coefficients[:, None]).max(axis=0) - 1) ** 2).sum())
        if loss < best_loss:
            best, best_loss = coefficients, loss
    relative = (shares * best[:, None]).max(axis=0).reshape(cycles.shape) - 1
    owner = (shares * best[:, None]).argmax(axis=0)
    groups = np.array(layer_groups(layers))
    errors = {
        g: GroupError(
            layers=int((groups == g).sum()), median=float(np.median(np.abs(relative[groups == g]))),
            largest=float(np.abs(relative[groups == g]).max()),
            total=float((relative * cycles)[groups == g].sum() / cycles[groups == g].sum()),
        )
        for g in dict.fromkeys(groups.tolist())
    }  # fmt: skip
    active = {term: float((owner == i).mean()) for i, term in enumerate(TERMS)}
    activation, weight, compute = (float(c) for c in best)
    return ThreeTermFit(activation, weight, compute, active, errors, channels_at_once, batch)


def _refine(shares: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Renew membership and coefficients in turns; a term without cells keeps its coefficient."""
    owner = np.full(shares.shape[1], -1)
    for _ in range(_ROUNDS):
        new = (shares * coefficients[:, None]).argmax(axis=0)
        if (new == owner).all():
            break
        owner, coefficients = new, coefficients.copy()
        for i, share in enumerate(shares):
            own = share[owner == i]
            if own.size:
                coefficients[i] = own.sum() / (own**2).sum()
    return coefficients


def _terms(layers: LayerTable, batch: int, channels_at_once: int, w_max: int, a_max: int) -> FloatArray:
    """The three terms at coefficients of 1, ``(3, L, w_max, a_max)``."""
    work = workload(layers, batch)
    w, a = np.arange(1, w_max + 1)[None, :, None], np.arange(1, a_max + 1)[None, None, :]
    streamed = (work.n * -(-work.count // channels_at_once))[:, None, None]
    weights, macs = work.weights[:, None, None], work.macs[:, None, None]
    shape = (len(layers), w_max, a_max)
    return np.stack([np.broadcast_to(t, shape) for t in (streamed * a, weights * w, macs * w * a)]).astype(np.float64)

"""The predictor that is a table: layers, with what is fused into them, summed and fitted to whole networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netsmith.errors import InputError
from netsmith.hardware.measured.calibrate import fit
from netsmith.hardware.predictor.metrics import Score, score
from netsmith.hardware.table.keys import unique_keys
from netsmith.hardware.table.latency import LatencyTable
from netsmith.network.layers import LayerTable

_LEAST_NETWORKS = 4


def fit_additive(
    table: LatencyTable, networks: Sequence[LayerTable], seconds: Any, *, folds: int = 5, seed: int = 0
) -> tuple[LatencyTable, Score]:
    """Calibrate a latency table with measured whole networks: ``T = beta + gamma * sum_i t_i``.

    Layers that the runtime fuses are priced fused, as the table was measured, so the sum has no such excess to correct.

    Args:
        table: prices every layer of the networks.
        networks: layer tables of shape ``(L,)``, at least four.
        seconds: ``(M,)`` their measured latency.

    Returns:
        The table with its calibration (gamma for floating point and for integers, beta, residual, rank correlation),
        and the score of networks that were not fitted to, by cross-validation.

    Raises:
        InputError: too few networks, a layer that the table lacks, or times that are not above 0.
    """
    whole = np.asarray(seconds, dtype=np.float64)
    if len(networks) < _LEAST_NETWORKS or whole.shape != (len(networks),):
        raise InputError(
            f"{len(networks)} networks with {whole.size} times cannot calibrate a table; measure at least "
            f"{_LEAST_NETWORKS}, each once"
        )
    if not (np.isfinite(whole) & (whole > 0)).all():
        raise InputError("a measured latency of a network is not above 0")
    plain = replace(table, calibration=None)
    rows = np.array([_sums(plain, network) for network in networks])
    predicted = np.zeros(len(whole))
    order = np.random.default_rng(seed).permutation(len(whole))
    for fold in np.array_split(order, min(folds, len(whole))):
        rest = np.setdiff1d(order, fold)
        found = fit(rows[rest], whole[rest], _GAMMAS)
        predicted[fold] = rows[fold] @ np.array([*found.gamma, found.beta_s])
    return replace(table, calibration=fit(rows, whole, _GAMMAS)), score(predicted, whole)


_GAMMAS = (0.2, 5.0)


def _sums(table: LatencyTable, network: LayerTable) -> tuple[float, float, float]:
    keys, where = unique_keys(table.keys(network))
    lacking = set(table.missing(map(tuple, keys.tolist())))
    if lacking:
        raise InputError(
            f"the latency table has no {table.describe(next(iter(lacking)))}; add it, or leave the network out"
        )
    seconds = table.price(keys)
    integer = np.array([table.is_integer(k) for k in map(tuple, keys.tolist())])
    return float(seconds[where][~integer[where]].sum()), float(seconds[where][integer[where]].sum()), 1.0

"""Linear models of features and their products, fitted to relative errors without being misled by outliers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from netsmith.hardware.predictor.metrics import FloatArray

Products = tuple[tuple[int, ...], ...]
_SMALL = 3e-3  #: below this relative error a residual counts by its square
_LEAST_PENALTY = 1e-6  #: on the features themselves, for those that depend on each other
_ROUNDS, _STILL = 50, 1e-5


@dataclass(frozen=True)
class RidgeOptions:
    """What a linear model is made of.

    Attributes:
        products: of features, by index; a feature may occur twice in one.
        penalty: on the squared coefficients of the standardised products, a row.
        log: fit the logarithm, so that effects multiply; otherwise they add up.
    """

    products: Products = ()
    penalty: float = 1e-2
    log: bool = False


def fit_ridge(x: FloatArray, y: FloatArray, options: RidgeOptions) -> dict[str, FloatArray]:
    """Least mean absolute relative error by reweighted least squares.

    Measurements of latency have outliers on one side, runs that something disturbed; the error that counts is relative.
    Both ask for the sum of ``|p / y - 1|``, which follows the undisturbed majority. Reweighting: Holland and Welsch,
    1977.

    Args:
        x: ``(N, F)`` standardised features.
        y: ``(N,)`` above 0.

    Returns:
        ``coefficients`` (with the intercept first), ``center`` and ``scale`` of the columns, ``products`` ``(P, W)``
        padded with -1, ``unit`` of y and ``log``.
    """
    columns = _columns(x, options.products)
    center, scale = columns.mean(axis=0), columns.std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    design = np.column_stack([np.ones(len(x)), (columns - center) / scale])
    unit = float(np.exp(np.log(y).mean()))
    target: FloatArray = np.log(y / unit) if options.log else y / unit
    relative: FloatArray = np.ones(len(y)) if options.log else 1.0 / target
    penalty = np.full(design.shape[1], _LEAST_PENALTY * len(y))
    penalty[0], penalty[1 + x.shape[1] :] = 0.0, options.penalty * len(y)
    weights: FloatArray = np.array(relative, dtype=np.float64)
    solution: FloatArray = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        weights *= np.sqrt(len(y) / (weights**2).sum())
        weighted = design * weights[:, None]
        normal = weighted.T @ weighted + np.diag(penalty)
        found: FloatArray = np.asarray(np.linalg.lstsq(normal, weighted.T @ (target * weights), rcond=1e-12)[0])
        still = np.abs(found - solution).max() < _STILL
        solution = found
        if still:
            break
        residuals = np.abs(design @ solution - target) * relative
        weights = relative / np.sqrt(np.maximum(residuals, _SMALL))
    width = max((len(p) for p in options.products), default=1)
    padded = [[*p, *([-1] * (width - len(p)))] for p in options.products]
    return {
        "coefficients": solution, "center": center, "scale": scale,
        "products": np.array(padded, dtype=np.float64).reshape(-1, width),
        "unit": np.array([unit]), "log": np.array([float(options.log)]),
    }  # fmt: skip


def predict_ridge(arrays: Mapping[str, FloatArray], x: FloatArray) -> FloatArray:
    """``(N, F)`` standardised features to ``(N,)``; may be negative far from the data unless it is of logarithms."""
    products = tuple(tuple(int(i) for i in row if i >= 0) for row in arrays["products"])
    columns = (_columns(x, products) - arrays["center"]) / arrays["scale"]
    found = arrays["coefficients"][0] + columns @ arrays["coefficients"][1:]
    with np.errstate(over="ignore"):
        return np.asarray((np.exp(found) if arrays["log"][0] else found) * arrays["unit"][0])


def leading(x: FloatArray, y: FloatArray) -> list[int]:
    """Features that vary, those with the largest effects by themselves first.

    What scales the others, such as the number of layers, matters most by itself; looking for it among products of
    features would find chance more often.
    """
    effects = np.abs(fit_ridge(x, y, RidgeOptions())["coefficients"][1:])
    return sorted(np.flatnonzero(np.ptp(x, axis=0) > 0).tolist(), key=lambda i: -effects[i])


def hub(features: list[int], center: int) -> Products:
    """Products of one feature with all others: what an effect that scales everything else needs."""
    return tuple((center, i) for i in features if i != center)


def hubs(features: list[int], first: int, second: int) -> Products:
    """Products of two features with all others and with each other."""
    rest = [i for i in features if i not in (first, second)]
    triples = tuple((first, second, i) for i in rest)
    return ((first, second), *((first, i) for i in rest), *((second, i) for i in rest), *triples)


def pairs(features: list[int]) -> Products:
    """All products of two features, squares included."""
    return tuple((a, b) for i, a in enumerate(features) for b in features[i:])


def _columns(x: FloatArray, products: Products) -> FloatArray:
    return np.column_stack([x, *(x[:, list(p)].prod(axis=1) for p in products)])

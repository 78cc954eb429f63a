"""Small multi-layer perceptrons as plain arrays: trained with scikit-learn, evaluated with NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from netsmith.hardware.predictor.metrics import FloatArray


@dataclass(frozen=True)
class MlpOptions:
    """Widths of the hidden layers, weight decay, and how many perceptrons are averaged."""

    hidden: tuple[int, ...] = (32, 32)
    decay: float = 1e-4
    members: int = 2
    rounds: int = 300


def fit_mlp(x: FloatArray, y: FloatArray, options: MlpOptions, seed: int) -> dict[str, FloatArray]:
    """Fit the standardised ``log y`` with L-BFGS.

    Args:
        x: ``(N, F)`` standardised features.

    Returns:
        ``weight_{layer}`` ``(members, in, out)``, ``bias_{layer}`` ``(members, 1, out)``, ``center`` and ``scale``.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    target = np.log(y)
    center, scale = float(target.mean()), float(target.std()) or 1.0
    fitted = []
    for i in range(options.members):
        model = MLPRegressor(
            hidden_layer_sizes=options.hidden, alpha=options.decay * len(y), solver="lbfgs",
            max_iter=options.rounds, random_state=seed + i,
        )  # fmt: skip
        with warnings.catch_warnings():  # stopping early is what keeps it smooth
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted.append(model.fit(x, (target - center) / scale))
    arrays = {"center": np.array([center]), "scale": np.array([scale])}
    for layer in range(len(options.hidden) + 1):
        arrays[f"weight_{layer}"] = np.stack([m.coefs_[layer] for m in fitted]).astype(np.float64)
        arrays[f"bias_{layer}"] = np.stack([m.intercepts_[layer][None] for m in fitted]).astype(np.float64)
    return arrays


def predict_mlp(arrays: Mapping[str, FloatArray], x: FloatArray) -> FloatArray:
    """``(N, F)`` standardised features to ``(N,)``."""
    layers = sum(name.startswith("weight_") for name in arrays)
    h = x[None]
    for layer in range(layers):
        h = h @ arrays[f"weight_{layer}"] + arrays[f"bias_{layer}"]
        h = np.maximum(h, 0) if layer < layers - 1 else h
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(h[..., 0].mean(axis=0) * arrays["scale"][0] + arrays["center"][0]))

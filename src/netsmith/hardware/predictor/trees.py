"""Gradient-boosted regression trees as plain arrays: trained with scikit-learn, evaluated with NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from netsmith.hardware.predictor.metrics import FloatArray
from netsmith.hardware.predictor.ridge import RidgeOptions, fit_ridge, predict_ridge


@dataclass(frozen=True)
class TreeOptions:
    """Size of the ensemble."""

    trees: int = 150
    depth: int = 3
    rate: float = 0.1


def fit_trees(x: FloatArray, y: FloatArray, options: TreeOptions, seed: int) -> dict[str, FloatArray]:
    """Fit ``log y`` by squared error, with outliers drawn in, for they would lead all trees astray.

    Args:
        x: ``(N, F)`` standardised features.

    Returns:
        ``feature`` (-1 for a leaf), ``threshold``, ``left``, ``right``, ``value``, all ``(T, nodes)`` padded; ``base``.
    """
    from sklearn.ensemble import GradientBoostingRegressor

    target = drawn_in(x, y)
    unit = float(np.median(target))
    model = GradientBoostingRegressor(
        n_estimators=options.trees, learning_rate=options.rate, max_depth=options.depth,
        subsample=0.6, min_samples_leaf=min(3, max(1, len(x) // 10)), random_state=seed, init="zero",
    ).fit(x, target - unit)  # fmt: skip
    members = [e.tree_ for e in model.estimators_[:, 0]]
    shape = (len(members), max(t.node_count for t in members))
    names = ("feature", "threshold", "left", "right", "value")
    arrays = {name: np.zeros(shape) for name in names}
    arrays["feature"] -= 1
    for i, tree in enumerate(members):
        n = tree.node_count
        leaf = tree.children_left < 0
        arrays["feature"][i, :n] = np.where(leaf, -1, tree.feature)
        arrays["threshold"][i, :n] = tree.threshold
        arrays["left"][i, :n], arrays["right"][i, :n] = tree.children_left, tree.children_right
        arrays["value"][i, :n] = np.where(leaf, tree.value[:, 0, 0] * options.rate, 0.0)
    return arrays | {"base": np.array([unit])}


def check_trees(arrays: Mapping[str, FloatArray], features: int) -> str:
    """What keeps trees from being gone down: a wrong feature, or a branch that leads nowhere or back; or nothing."""
    names = ("feature", "threshold", "left", "right", "value")
    if not {*names, "base"} <= arrays.keys() or len({arrays[n].shape for n in names}) != 1:
        return "the arrays of its trees do not fit each other"
    shape = arrays["feature"].shape
    if len(shape) != 2 or not all(shape) or arrays["base"].shape != (1,):
        return "the arrays of its trees do not fit each other"
    if any((arrays[n] != np.floor(arrays[n])).any() for n in ("feature", "left", "right")):
        return "a tree has features or branches that are no whole numbers"
    inner = arrays["feature"] >= 0
    if (arrays["feature"] >= features).any():
        return f"a tree asks for feature {arrays['feature'].max():g} of {features}"
    for side in ("left", "right"):  # as scikit-learn numbers them, children come behind their parents
        if ((arrays[side] <= np.arange(shape[1])) | (arrays[side] >= shape[1]))[inner].any():
            return f"a branch of a tree leads {side} to a node that is not below it"
    return ""


def drawn_in(x: FloatArray, y: FloatArray) -> FloatArray:
    """``log y`` with outliers at three typical residuals of a robust linear fit."""
    rough = np.log(predict_ridge(fit_ridge(x, y, RidgeOptions(log=True)), x))
    residuals = np.log(y) - rough
    most = 3 * 1.4826 * float(np.median(np.abs(residuals)))
    return np.asarray(rough + np.clip(residuals, -most, most))


def predict_trees(arrays: Mapping[str, FloatArray], x: FloatArray) -> FloatArray:
    """``(N, F)`` features to ``(N,)``: all trees go down one level at a time."""
    rounded = x.astype(np.float32)  # as the trees were trained
    feature, left, right = (arrays[k].astype(np.int64) for k in ("feature", "left", "right"))
    trees = np.arange(len(feature))
    node = np.zeros((len(x), len(feature)), dtype=np.int64)
    rows = np.arange(len(x))[:, None]
    while True:
        which = feature[trees, node]
        inner = which >= 0
        if not inner.any():
            break
        smaller = rounded[rows, np.where(inner, which, 0)] <= arrays["threshold"][trees, node]
        node = np.where(inner, np.where(smaller, left[trees, node], right[trees, node]), node)
    return np.asarray(np.exp(arrays["base"][0] + arrays["value"][trees, node].sum(axis=1)))

"""The kinds of models that a predictor may consist of, behind one pair of functions."""

from __future__ import annotations

from collections.abc import Mapping

from netsmith.hardware.predictor.metrics import FloatArray
from netsmith.hardware.predictor.mlp import MlpOptions, fit_mlp, predict_mlp
from netsmith.hardware.predictor.ridge import RidgeOptions, fit_ridge, predict_ridge
from netsmith.hardware.predictor.trees import TreeOptions, fit_trees, predict_trees

Options = RidgeOptions | TreeOptions | MlpOptions
PREDICT = {"ridge": predict_ridge, "trees": predict_trees, "mlp": predict_mlp}


def kind_of(options: Options) -> str:
    """The kind of model that some options are of."""
    return {RidgeOptions: "ridge", TreeOptions: "trees", MlpOptions: "mlp"}[type(options)]


def fit_member(x: FloatArray, y: FloatArray, options: Options, seed: int) -> dict[str, FloatArray]:
    """Arrays of a model of standardised features ``(N, F)`` and values ``(N,)`` above 0."""
    if isinstance(options, RidgeOptions):
        return fit_ridge(x, y, options)
    if isinstance(options, TreeOptions):
        return fit_trees(x, y, options, seed)
    return fit_mlp(x, y, options, seed)


def predict_member(kind: str, arrays: Mapping[str, FloatArray], x: FloatArray) -> FloatArray:
    """Values ``(N,)`` of standardised features ``(N, F)``."""
    return PREDICT[kind](arrays, x)

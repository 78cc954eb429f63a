"""Predictors of latency: from measured rows of features, stored as plain arrays, evaluated in NumPy.

:func:`fit_additive` calibrates a latency table with whole networks; :func:`fit_layers` fits single layers, which
``predictor:FILE`` then prices; :func:`fit_predictor` fits any feature vectors.
"""

from __future__ import annotations

from typing import Any

from netsmith.hardware.predictor.metrics import Score, score
from netsmith.hardware.predictor.predictor import Predictor

_LAZY = {"fit_additive": "additive", "fit_layers": "layers", "fit_predictor": "fit"}

__all__ = ["Predictor", "Score", "fit_additive", "fit_layers", "fit_predictor", "score"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)

"""Predictors of latency: from measured rows of features, stored as plain arrays, evaluated in NumPy.

:func:`fit_additive` calibrates a latency table with whole networks; :func:`fit_layers` fits single layers, which
``predictor:FILE`` then prices; :func:`fit_predictor` fits any feature vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.hardware.predictor.metrics import Score, score
from netsmith.hardware.predictor.predictor import Predictor
from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.hardware.predictor.additive import fit_additive
    from netsmith.hardware.predictor.fit import fit_predictor
    from netsmith.hardware.predictor.layers import fit_layers

__all__ = ["Predictor", "Score", "fit_additive", "fit_layers", "fit_predictor", "score"]

__getattr__, __dir__ = lazy_names(
    __name__, {"additive": ("fit_additive",), "fit": ("fit_predictor",), "layers": ("fit_layers",)}
)

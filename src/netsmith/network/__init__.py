"""Networks: loading, tracing, the layer table, the zoo. Names that need torch are imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names
from netsmith.network.layers import ACTIVATIONS, COMPUTE, KIND, KINDS, LayerTable

if TYPE_CHECKING:
    from netsmith.network.graph import Graph, trace
    from netsmith.network.load import LoadedModel, load_model
    from netsmith.network.weights import load_weights, read_weights, save_weights

__all__ = [
    "ACTIVATIONS",
    "COMPUTE",
    "KIND",
    "KINDS",
    "Graph",
    "LayerTable",
    "LoadedModel",
    "load_model",
    "load_weights",
    "read_weights",
    "save_weights",
    "trace",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "graph": ("Graph", "trace"),
        "load": ("LoadedModel", "load_model"),
        "weights": ("load_weights", "read_weights", "save_weights"),
    },
)

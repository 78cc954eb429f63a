"""Networks: loading, tracing, the layer table, the zoo. Names that need torch are imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

_LAZY = {
    "Graph": "graph",
    "trace": "graph",
    "LoadedModel": "load",
    "load_model": "load",
    "load_weights": "weights",
    "read_weights": "weights",
    "save_weights": "weights",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(f"netsmith.network.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

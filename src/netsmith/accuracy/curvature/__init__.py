"""Sensitivity of weights from the curvature of the loss: Hessian traces, Fisher information, and tables from them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsmith.accuracy.curvature.fisher import Fisher, weight_fisher
    from netsmith.accuracy.curvature.hessian import Traces, hessian_trace
    from netsmith.accuracy.curvature.measures import fisher_sensitivity, hessian_sensitivity

_HOME = {
    "fisher": ("Fisher", "weight_fisher"),
    "hessian": ("Traces", "hessian_trace"),
    "measures": ("fisher_sensitivity", "hessian_sensitivity"),
}

__all__ = ["Fisher", "Traces", "fisher_sensitivity", "hessian_sensitivity", "hessian_trace", "weight_fisher"]


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

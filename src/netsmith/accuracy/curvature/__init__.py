"""Sensitivity of weights from the curvature of the loss: Hessian traces, Fisher information, and tables from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.accuracy.curvature.fisher import Fisher, weight_fisher
    from netsmith.accuracy.curvature.hessian import Traces, hessian_trace
    from netsmith.accuracy.curvature.measures import fisher_sensitivity, hessian_sensitivity


__all__ = ["Fisher", "Traces", "fisher_sensitivity", "hessian_sensitivity", "hessian_trace", "weight_fisher"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "fisher": ("Fisher", "weight_fisher"),
        "hessian": ("Traces", "hessian_trace"),
        "measures": ("fisher_sensitivity", "hessian_sensitivity"),
    },
)

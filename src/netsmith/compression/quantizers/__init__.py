"""Grids and codebooks of 1 to 8 bits: fitted, trained, shared. Names load on first use, as they need torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsmith.compression.quantizers.dorefa import DorefaActivation, DorefaWeight
    from netsmith.compression.quantizers.kmeans import Codebook, KMeansWeight, fit_codebook
    from netsmith.compression.quantizers.learned import LsqActivation, LsqWeight, PactActivation
    from netsmith.compression.quantizers.linear import fit_scale, integers, quantize
    from netsmith.compression.quantizers.ternary import ternarize

_HOME = {
    "dorefa": ("DorefaActivation", "DorefaWeight"),
    "kmeans": ("Codebook", "KMeansWeight", "fit_codebook"),
    "learned": ("LsqActivation", "LsqWeight", "PactActivation"),
    "linear": ("fit_scale", "integers", "quantize"),
    "ternary": ("ternarize",),
}

__all__ = [
    "Codebook", "DorefaActivation", "DorefaWeight", "KMeansWeight", "LsqActivation",
    "LsqWeight", "PactActivation", "fit_codebook", "fit_scale", "integers", "quantize", "ternarize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

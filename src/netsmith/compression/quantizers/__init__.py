"""Grids and codebooks of 1 to 8 bits: fitted, trained, shared. Names load on first use, as they need torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.compression.quantizers.dorefa import DorefaActivation, DorefaWeight
    from netsmith.compression.quantizers.kmeans import Codebook, KMeansWeight, fit_codebook
    from netsmith.compression.quantizers.learned import LsqActivation, LsqWeight, PactActivation
    from netsmith.compression.quantizers.linear import fit_scale, integers, quantize
    from netsmith.compression.quantizers.ternary import ternarize


__all__ = [
    "Codebook", "DorefaActivation", "DorefaWeight", "KMeansWeight", "LsqActivation",
    "LsqWeight", "PactActivation", "fit_codebook", "fit_scale", "integers", "quantize", "ternarize",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "dorefa": ("DorefaActivation", "DorefaWeight"),
        "kmeans": ("Codebook", "KMeansWeight", "fit_codebook"),
        "learned": ("LsqActivation", "LsqWeight", "PactActivation"),
        "linear": ("fit_scale", "integers", "quantize"),
        "ternary": ("ternarize",),
    },
)

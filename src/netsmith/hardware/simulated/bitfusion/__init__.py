"""Bit Fusion, a bit-flexible systolic array: cost model with exhaustive mapping search. Loads on use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.hardware.simulated.bitfusion.config import BitFusionConfig, published
    from netsmith.hardware.simulated.bitfusion.mapping import Mapping
    from netsmith.hardware.simulated.bitfusion.sram import derived_energies, sram_pj_per_bit
    from netsmith.hardware.simulated.bitfusion.target import BitFusion

__all__ = ["BitFusion", "BitFusionConfig", "Mapping", "derived_energies", "published", "sram_pj_per_bit"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "config": ("BitFusionConfig", "published"),
        "mapping": ("Mapping",),
        "sram": ("derived_energies", "sram_pj_per_bit"),
        "target": ("BitFusion",),
    },
)

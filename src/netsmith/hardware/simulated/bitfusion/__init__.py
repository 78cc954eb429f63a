"""Bit Fusion, a bit-flexible systolic array: cost model with exhaustive mapping search. Loads on use."""

from __future__ import annotations

from typing import Any

_LAZY = {
    "BitFusion": "target", "Mapping": "mapping", "BitFusionConfig": "config", "published": "config",
    "derived_energies": "sram", "sram_pj_per_bit": "sram",
}  # fmt: skip

__all__ = [*_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)

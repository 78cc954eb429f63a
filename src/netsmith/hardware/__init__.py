"""Targets: what a network costs on a piece of hardware. Importing this registers them; what they need loads on use."""

from __future__ import annotations

from typing import Any

from netsmith.hardware import cpu as _cpu  # noqa: F401  registers
from netsmith.hardware import families as _families  # noqa: F401  registers
from netsmith.hardware import predictor_target as _predictor_target  # noqa: F401  registers
from netsmith.hardware import table_target as _table_target  # noqa: F401  registers
from netsmith.hardware.target import (
    Capabilities,
    Cost,
    CostTable,
    Factor,
    Roof,
    Target,
    as_run,
    get_target,
    register_target,
    roof_of,
    settings_of,
    target_names,
)

_LAZY = {
    "CpuTarget": "cpu", "LatencyTable": "table", "Calibration": "calibration", "Fingerprint": "fingerprint",
    "fingerprint": "fingerprint", "Timing": "timing", "Ratio": "timing", "ratio": "timing", "time_models": "timing",
    "TableTarget": "table_target", "PredictorTarget": "predictor_target", "read_table": "table_readers",
    "write_layers": "exchange", "read_timings": "exchange", "measure_here": "exchange", "Predictor": "predictor",
    "fit_predictor": "predictor", "fit_layers": "predictor", "fit_additive": "predictor",
    "NodeTime": "profiling", "Profile": "profiling", "profile_nodes": "profiling", "optimised_model": "profiling",
    "load_config": "families", "register_family": "families", "family_names": "families", "family_schema": "families",
    "Roofline": "roofline", "RooflineConfig": "roofline", "Systolic": "systolic", "SystolicConfig": "systolic",
    "Bismo": "bismo", "BismoConfig": "bismo", "bit_planes": "bitplanes", "bit_serial_matmul": "bitplanes",
    "fit_three_terms": "bismo_fit", "ThreeTermFit": "bismo_fit",
    "BitFusion": "bitfusion", "BitFusionConfig": "bitfusion",
}  # fmt: skip

__all__ = [
    "Capabilities", "Cost", "CostTable", "Factor", "Roof", "Target", "as_run", "get_target", "register_target",
    "roof_of", "settings_of", "target_names", *_LAZY,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)

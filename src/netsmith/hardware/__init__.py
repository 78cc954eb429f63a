"""Targets: what a network costs on a piece of hardware. Importing this registers them; what they need loads on use."""

from __future__ import annotations

from typing import Any

from netsmith.hardware.devices import target as _table_target  # noqa: F401  registers
from netsmith.hardware.measured import cpu as _cpu  # noqa: F401  registers
from netsmith.hardware.predictor import target as _predictor_target  # noqa: F401  registers
from netsmith.hardware.simulated import families as _families  # noqa: F401  registers
from netsmith.hardware.target import (
    Capabilities,
    Cost,
    Roof,
    Target,
    as_run,
    get_target,
    prepare_target,
    price,
    register_target,
    roof_of,
    settings_of,
    target_names,
)

_HOME = {
    "measured.cpu": ("CpuTarget",),
    "table.latency": ("LatencyTable",),
    "table.calibration": ("Calibration",),
    "measured.fingerprint": ("Fingerprint", "fingerprint"),
    "measured.timing": ("Timing", "Ratio", "ratio", "time_models"),
    "devices.target": ("TableTarget",),
    "predictor.target": ("PredictorTarget",),
    "devices.readers": ("read_table",),
    "devices.exchange": ("write_layers", "read_timings", "measure_here"),
    "predictor": ("Predictor", "fit_predictor", "fit_layers", "fit_additive"),
    "measured.optimised": ("optimised_model",),
    "simulated.families": ("load_config", "register_family", "family_names", "family_schema"),
    "simulated.roofline": ("Roofline", "RooflineConfig"),
    "simulated.systolic": ("Systolic", "SystolicConfig"),
    "simulated.bismo": ("Bismo", "BismoConfig"),
    "simulated.bitplanes": ("bit_planes", "bit_serial_matmul"),
    "simulated.bismo_fit": ("fit_three_terms", "ThreeTermFit"),
    "simulated.bitfusion": ("BitFusion", "BitFusionConfig"),
}  # fmt: skip
_LAZY = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Capabilities", "Cost", "Roof", "Target", "as_run", "get_target", "register_target",
    "prepare_target", "price", "roof_of", "settings_of", "target_names", *_LAZY,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)

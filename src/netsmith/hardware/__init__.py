"""Targets: what a network costs on a piece of hardware. Importing this registers them; what they need loads on use."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.hardware.devices.exchange import measure_here, read_timings, write_layers
    from netsmith.hardware.devices.readers import read_table
    from netsmith.hardware.devices.target import TableTarget
    from netsmith.hardware.measured.cpu import CpuTarget
    from netsmith.hardware.measured.fingerprint import Fingerprint, fingerprint
    from netsmith.hardware.measured.optimised import optimised_model
    from netsmith.hardware.measured.timing import Ratio, Timing, ratio, time_models
    from netsmith.hardware.predictor import Predictor, fit_additive, fit_layers, fit_predictor
    from netsmith.hardware.predictor.target import PredictorTarget
    from netsmith.hardware.simulated.bismo import Bismo, BismoConfig
    from netsmith.hardware.simulated.bismo_fit import ThreeTermFit, fit_three_terms
    from netsmith.hardware.simulated.bitfusion import BitFusion, BitFusionConfig
    from netsmith.hardware.simulated.bitplanes import bit_planes, bit_serial_matmul
    from netsmith.hardware.simulated.families import family_names, family_schema, load_config, register_family
    from netsmith.hardware.simulated.roofline import Roofline, RooflineConfig
    from netsmith.hardware.simulated.systolic import Systolic, SystolicConfig
    from netsmith.hardware.table.calibration import Calibration
    from netsmith.hardware.table.latency import LatencyTable

__all__ = [
    "Bismo", "BismoConfig", "BitFusion", "BitFusionConfig", "Calibration", "Capabilities", "Cost", "CpuTarget",
    "Fingerprint", "LatencyTable", "Predictor", "PredictorTarget", "Ratio", "Roof", "Roofline", "RooflineConfig",
    "Systolic", "SystolicConfig", "TableTarget", "Target", "ThreeTermFit", "Timing", "as_run", "bit_planes",
    "bit_serial_matmul", "family_names", "family_schema", "fingerprint", "fit_additive", "fit_layers",
    "fit_predictor", "fit_three_terms", "get_target", "load_config", "measure_here", "optimised_model",
    "prepare_target", "price", "ratio", "read_table", "read_timings", "register_family", "register_target",
    "roof_of", "settings_of", "target_names", "time_models", "write_layers",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "devices.exchange": ("write_layers", "read_timings", "measure_here"),
        "devices.readers": ("read_table",),
        "devices.target": ("TableTarget",),
        "measured.cpu": ("CpuTarget",),
        "measured.fingerprint": ("Fingerprint", "fingerprint"),
        "measured.optimised": ("optimised_model",),
        "measured.timing": ("Timing", "Ratio", "ratio", "time_models"),
        "predictor": ("Predictor", "fit_predictor", "fit_layers", "fit_additive"),
        "predictor.target": ("PredictorTarget",),
        "simulated.bismo": ("Bismo", "BismoConfig"),
        "simulated.bismo_fit": ("fit_three_terms", "ThreeTermFit"),
        "simulated.bitfusion": ("BitFusion", "BitFusionConfig"),
        "simulated.bitplanes": ("bit_planes", "bit_serial_matmul"),
        "simulated.families": ("load_config", "register_family", "family_names", "family_schema"),
        "simulated.roofline": ("Roofline", "RooflineConfig"),
        "simulated.systolic": ("Systolic", "SystolicConfig"),
        "table.calibration": ("Calibration",),
        "table.latency": ("LatencyTable",),
    },
)

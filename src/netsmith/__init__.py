"""netsmith: make neural networks efficient for a given piece of hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsmith.errors import InfeasibleError, InputError, NetsmithError
    from netsmith.export.packed.model import load_packed
    from netsmith.jobs.compress import compress
    from netsmith.jobs.config import (
        Amc,
        CompactNet,
        Ddpg,
        Deep,
        Evolution,
        Exact,
        FineTune,
        Greedy,
        Haq,
        Images,
        NetAdapt,
        Prune,
        Quantize,
        Random,
        Shallow,
        Share,
        Sparsify,
        Uniform,
    )
    from netsmith.jobs.load import load
    from netsmith.jobs.profile import profile
    from netsmith.jobs.result import Result
    from netsmith.jobs.specialize import specialize
    from netsmith.jobs.train import train
    from netsmith.search.allocate import allocate

__version__ = "0.1.0"

#: methods, strategies and groups of options, see docs/options.md
_CONFIGS = (
    "Amc", "CompactNet", "Ddpg", "Deep", "Evolution", "Exact", "FineTune", "Greedy", "Haq", "Images", "NetAdapt",
    "Prune", "Quantize", "Random", "Shallow", "Share", "Sparsify", "Uniform",
)  # fmt: skip
__all__ = [
    "Amc", "CompactNet", "Ddpg", "Deep", "Evolution", "Exact", "FineTune", "Greedy", "Haq", "Images",
    "InfeasibleError", "InputError", "NetAdapt", "NetsmithError", "Prune", "Quantize", "Random", "Result", "Shallow",
    "Share", "Sparsify", "Uniform", "__version__", "allocate", "compress", "load", "load_packed", "profile",
    "specialize", "train",
]  # fmt: skip

#: Public name -> the module that has it; imported on first use, so that ``import netsmith`` stays instant.
_HOME = {
    "allocate": "netsmith.search.allocate",
    "compress": "netsmith.jobs.compress",
    "load": "netsmith.jobs.load",
    "load_packed": "netsmith.export.packed.model",
    "profile": "netsmith.jobs.profile",
    "Result": "netsmith.jobs.result",
    "specialize": "netsmith.jobs.specialize",
    "train": "netsmith.jobs.train",
    "InputError": "netsmith.errors",
    "InfeasibleError": "netsmith.errors",
    "NetsmithError": "netsmith.errors",
} | dict.fromkeys(_CONFIGS, "netsmith.jobs.config")


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'netsmith' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

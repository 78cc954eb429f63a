"""netsmith: make neural networks efficient for a given piece of hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsmith.errors import InfeasibleError, InputError, NetsmithError
    from netsmith.jobs.compress import compress
    from netsmith.jobs.load import load
    from netsmith.jobs.profile import profile
    from netsmith.jobs.result import Result
    from netsmith.jobs.train import train
    from netsmith.search.allocate import allocate

__version__ = "0.1.0"

__all__ = [
    "InfeasibleError", "InputError", "NetsmithError", "Result", "__version__", "allocate", "compress", "load",
    "profile", "train",
]  # fmt: skip

#: Public name -> the module that has it; imported on first use, so that ``import netsmith`` stays instant.
_HOME = {
    "allocate": "netsmith.search.allocate",
    "compress": "netsmith.jobs.compress",
    "load": "netsmith.jobs.load",
    "profile": "netsmith.jobs.profile",
    "Result": "netsmith.jobs.result",
    "train": "netsmith.jobs.train",
    "InputError": "netsmith.errors",
    "InfeasibleError": "netsmith.errors",
    "NetsmithError": "netsmith.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'netsmith' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

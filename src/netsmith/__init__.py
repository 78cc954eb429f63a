"""netsmith: make neural networks efficient for a given piece of hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names

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
    from netsmith.jobs.explore import Exploration, explore
    from netsmith.jobs.load import load
    from netsmith.jobs.profile import profile
    from netsmith.jobs.result import Result
    from netsmith.jobs.several import Front, front
    from netsmith.jobs.specialize import specialize
    from netsmith.jobs.train import train
    from netsmith.jobs.verify import verify
    from netsmith.search.allocate import allocate
    from netsmith.tasks.functions import Task

__version__ = "0.1.0"

__all__ = [
    "Amc", "CompactNet", "Ddpg", "Deep", "Evolution", "Exact", "Exploration", "FineTune", "Front", "Greedy", "Haq",
    "Images", "InfeasibleError", "InputError", "NetAdapt", "NetsmithError", "Prune", "Quantize", "Random", "Result",
    "Shallow", "Share", "Sparsify", "Task", "Uniform", "__version__", "allocate", "compress", "explore", "front",
    "load", "load_packed", "profile", "specialize", "train", "verify",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "errors": ("InfeasibleError", "InputError", "NetsmithError"),
        "export.packed.model": ("load_packed",),
        "jobs.compress": ("compress",),
        "jobs.config": (  # methods, strategies and groups of options, see docs/options.md
            "Amc", "CompactNet", "Ddpg", "Deep", "Evolution", "Exact", "FineTune", "Greedy", "Haq", "Images",
            "NetAdapt", "Prune", "Quantize", "Random", "Shallow", "Share", "Sparsify", "Uniform",
        ),
        "jobs.explore": ("Exploration", "explore"),
        "jobs.load": ("load",),
        "jobs.profile": ("profile",),
        "jobs.result": ("Result",),
        "jobs.several": ("Front", "front"),
        "jobs.specialize": ("specialize",),
        "jobs.train": ("train",),
        "jobs.verify": ("verify",),
        "search.allocate": ("allocate",),
        "tasks.functions": ("Task",),
    },
)  # fmt: skip

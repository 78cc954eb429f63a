"""What compress may do to a network: each method with its own options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

from netsmith.jobs.config.base import Config
from netsmith.schema import parameter


@dataclass(frozen=True)
class Prune(Config):
    """Remove channels and branches."""

    name: ClassVar[str] = "prune"
    panel: ClassVar[str] = "Channels"
    widths: int = parameter("most channel counts of a group to choose from", default=8, low=2, high=65536)
    importance: Literal["l1", "l2", "taylor", "fpgm", "bn", "reconstruction"] = parameter(
        "which channels stay", default="l2"
    )
    reconstruct: bool = parameter(
        "repair layers that read pruned channels, by least squares on their outputs", default=True
    )


@dataclass(frozen=True)
class Quantize(Config):
    """Make layers integer layers, of a width each where the target has a choice."""

    name: ClassVar[str] = "quantize"
    panel: ClassVar[str] = "Bits"
    least_bits: int = parameter(
        "fewest bits of a layer where there is a choice; default 2, of shared weights 1", default=2, low=1, high=8
    )
    calibration: Literal["minmax", "percentile", "mse", "entropy"] = parameter("ranges of integers", default="mse")


@dataclass(frozen=True)
class Share(Config):
    """Store weights as indices into codebooks, which saves bytes and no time."""

    name: ClassVar[str] = "share"
    panel: ClassVar[str] = "Bits"
    least_bits: int = parameter("fewest bits of an index", default=1, low=1, high=8)


Method = Prune | Quantize | Share
M = TypeVar("M", bound=Config)


def chosen(methods: Sequence[Config], kind: type[M]) -> M | None:
    """The method of that kind, if it may be used."""
    return next((m for m in methods if isinstance(m, kind)), None)


METHODS: dict[str, type[Method]] = {m.name: m for m in (Prune, Quantize, Share)}

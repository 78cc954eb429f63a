"""What compress may do to a network: each method with its own options."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from netsmith.errors import InputError, shown
from netsmith.jobs.config.base import Config
from netsmith.schema import parameter


@dataclass(frozen=True)
class Method(Config):
    """Something that compress may do; which kinds of decisions it brings, ``netsmith.decisions.registry`` knows.

    Attributes:
        bytes_alone: it saves bytes of a file, and no time, energy or work.
        keeps_norms: batch norm is not folded, as it is about weights as the user's module has them.
    """

    name: ClassVar[str] = ""
    bytes_alone: ClassVar[bool] = False
    keeps_norms: ClassVar[bool] = False


@dataclass(frozen=True)
class Prune(Method):
    """Remove channels and branches."""

    name: ClassVar[str] = "prune"
    panel: ClassVar[str] = "Channels"
    widths: int = parameter("most channel counts of a group to choose from", default=8, low=2, high=65536)
    importance: str | Callable[..., Any] = parameter(
        "which channels stay", default="l2", choices=("l1", "l2", "taylor", "fpgm", "bn", "reconstruction")
    )
    reconstruct: bool = parameter(
        "repair layers that read pruned channels, by least squares on their outputs", default=True
    )

    def check(self) -> None:
        wanted = "called with a group of channels and the evidence (docs/pruning.md)"
        if isinstance(self.importance, type):
            raise InputError(f"--importance is the class {self.importance.__name__}: give an object of it, {wanted}")
        if not isinstance(self.importance, str) and not callable(self.importance):
            raise InputError(f"--importance must be a name or in Python what is {wanted}, not {shown(self.importance)}")

    @property
    def reads_moments(self) -> bool:
        """Whether channels are ranked by what layers of the network as given read."""
        return self.importance == "reconstruction" or bool(getattr(self.importance, "reads_moments", False))


@dataclass(frozen=True)
class Quantize(Method):
    """Make layers integer layers, of a width each where the target has a choice."""

    name: ClassVar[str] = "quantize"
    panel: ClassVar[str] = "Bits"
    least_bits: int = parameter(
        "fewest bits of a layer where there is a choice; default 2, of shared weights 1", default=2, low=1, high=8
    )
    calibration: Literal["minmax", "percentile", "mse", "entropy"] = parameter("ranges of integers", default="mse")


@dataclass(frozen=True)
class Share(Method):
    """Store weights as indices into codebooks, which saves bytes and no time."""

    name: ClassVar[str] = "share"
    panel: ClassVar[str] = "Bits"
    bytes_alone, keeps_norms = True, True
    least_bits: int = parameter("fewest bits of an index", default=1, low=1, high=8)


@dataclass(frozen=True)
class Sparsify(Method):
    """Make most numbers of each weight zero, which saves bytes and no time."""

    name: ClassVar[str] = "sparsify"
    panel: ClassVar[str] = "Bits"
    bytes_alone, keeps_norms = True, True
    most_zeros: float = parameter("largest share of a weight that becomes zero", default=0.95, above=0, high=0.99)


M = TypeVar("M", bound=Config)


def chosen(methods: Sequence[Config], kind: type[M]) -> M | None:
    """The method of that kind, if it may be used."""
    return next((m for m in methods if isinstance(m, kind)), None)


METHODS: dict[str, type[Method]] = {m.name: m for m in (Prune, Quantize, Share, Sparsify)}


def method_config(name: str) -> type[Method] | None:
    """The configurations of a method: of the house, of a kind that a user has registered, or ``FILE.py:NAME``.

    Raises:
        InputError: a file without such a kind.
    """
    if name in METHODS:
        return METHODS[name]
    if ".py:" in name:
        from netsmith.jobs.userfile import kind_in

        return _registered(kind_in(name))
    from netsmith.decisions.registry import registered_names

    return _registered(name) if name in registered_names() else None


@functools.cache
def _registered(name: str) -> type[Method]:
    return type("Registered", (Method,), {"name": name, "__doc__": f"The kinds that are registered as {name}."})


class HasMethods:
    """What a configuration with methods says of each, whether it is among them or not."""

    methods: tuple[Method, ...]

    @property
    def prune(self) -> Prune:
        """How channels go; its defaults where none do."""
        return chosen(self.methods, Prune) or Prune()

    @property
    def quantize(self) -> Quantize:
        """How integers come about; its defaults where none do."""
        return chosen(self.methods, Quantize) or Quantize()

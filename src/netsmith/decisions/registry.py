"""Which kinds of decisions a method of compression allows: the only list of kinds there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import torch
from torch import nn

from netsmith.compression.branches import Branch, find_branches
from netsmith.compression.channels import GroupReport
from netsmith.compression.groups import find_groups
from netsmith.decisions.kind import STAGES, Kind
from netsmith.errors import InputError, NetsmithError, shown
from netsmith.hardware.target import Capabilities
from netsmith.network.graph import Graph
from netsmith.space import Decision
from netsmith.usercode import failure, user_code

REMEDY = "mend it, and let check_kind of netsmith.testing prove it"  #: of a user's kind


@dataclass(frozen=True)
class Given:
    """A network as makers of kinds meet it.

    Attributes:
        model: the user's module.
        example: the arguments of its forward, by place.
        graph: its trace.
        capabilities: of the target.
    """

    model: nn.Module
    example: torch.Tensor | tuple[Any, ...]
    graph: Graph
    capabilities: Capabilities

    @cached_property
    def report(self) -> GroupReport:
        """Its channel groups, and why other layers keep all channels."""
        return find_groups(self.model, self.example)

    @cached_property
    def branches(self) -> list[Branch]:
        """Its removable branches."""
        return find_branches(self.model, self.example)


#: Called as ``maker(given, method)``; None where the network has no such decisions.
Maker = Callable[[Given, Any], Kind | None]

#: Method -> makers of its kinds as "module:function", in the order of their decisions in a space.
_BUILTIN: dict[str, tuple[str, ...]] = {
    "prune": ("channels:channels_of", "branches:branches_of", "heads:heads_of"),
    "quantize": ("widths:widths_of",),
    "share": ("widths:codebooks_of",),
    "sparsify": ("sparsity:sparsity_of",),
}
_REGISTERED: dict[str, list[Maker]] = {}


def register_kind(method: str) -> Callable[[Maker], Maker]:
    """Register a maker of a kind of decisions under the name of a method: a new one, or one that gets one kind more.

    A maker that is defined again, as when a cell of a notebook or a file is run twice, takes the place of the first.
    """

    def add(maker: Maker) -> Maker:
        others = [m for m in _REGISTERED.get(method, ()) if _place(m) != _place(maker)]
        _REGISTERED[method] = [*others, maker]
        return maker

    return add


def _place(maker: Maker) -> Any:
    """Where a maker is defined; itself, where that is not known."""
    code = getattr(maker, "__code__", None)
    return maker if code is None else (code.co_filename, getattr(maker, "__qualname__", code.co_name))


def registered_names() -> list[str]:
    """Names of the methods for which a user has registered kinds."""
    return list(_REGISTERED)


def makers_of(method: str) -> list[Maker]:
    """What a user has registered for a method."""
    return list(_REGISTERED.get(method, ()))


def method_names() -> list[str]:
    """Names of all methods, in the order in which their kinds are in a space."""
    return [*_BUILTIN, *(name for name in _REGISTERED if name not in _BUILTIN)]


def kinds_of(given: Given, methods: Sequence[Any]) -> tuple[Kind, ...]:
    """The kinds of decisions about a network that methods allow.

    Args:
        methods: each with its ``name`` and its options.

    Raises:
        InputError: two kinds decide about one thing, or have one name; or what a user has registered makes none.
    """
    found: list[Kind] = []
    order = method_names()
    for method in sorted(methods, key=lambda m: order.index(m.name)):
        made = [_loaded(place)(given, method) for place in _BUILTIN.get(method.name, ())]
        made += [_made(maker, given, method) for maker in _REGISTERED.get(method.name, ())]
        found += [kind for kind in made if kind is not None]
    called = [kind.name for kind in found if kind.decisions]
    names = [d.name for kind in found for d in kind.decisions]
    if len(set(called)) < len(called) and len(set(names)) == len(names):
        twice = next(n for n in called if called.count(n) > 1)
        raise InputError(f"two kinds of decisions are called {twice!r}; give one of them another name")
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise InputError(f"two of the methods {', '.join(m.name for m in methods)} decide about {twice}; drop one")
    return tuple(found)


@contextmanager
def asked(what: str) -> Iterator[None]:
    """Within it a user's code runs; where it fails, one sentence says in what."""
    try:
        with user_code():
            yield
    except NetsmithError:
        raise
    except Exception as error:
        raise InputError(f"{what} fails ({failure(error)}); {REMEDY}") from error


def check_made(made: Any, method: str) -> None:
    """Check that what a maker has returned is a kind.

    Raises:
        InputError: it is none, or lacks what every kind says of itself.
    """
    if not isinstance(made, Kind):
        raise InputError(
            f"the maker of --methods {method} returns {shown(made)}, which is no Kind of netsmith; {REMEDY}"
        )
    called = f"the kind {made.name or type(made).__name__!r}"
    decisions = getattr(made, "decisions", None)
    if not isinstance(decisions, tuple) or not all(isinstance(d, Decision) for d in decisions):
        raise InputError(f"{called} has no decisions: a tuple of netsmith.space.Decision; {REMEDY}")
    if not hasattr(made, "graph"):
        raise InputError(f"{called} does not set graph, the traced network that it is given; {REMEDY}")
    if made.stage not in STAGES:
        raise InputError(f"{called} has the stage {shown(made.stage)}, not one of {', '.join(STAGES)}; {REMEDY}")


def _made(maker: Maker, given: Given, method: Any) -> Kind | None:
    """What a user's maker returns."""
    with asked(f"the maker of --methods {method.name}"):
        kind = maker(given, method)
    if kind is not None:
        check_made(kind, method.name)
    return kind


def _loaded(place: str) -> Maker:
    module, _, function = place.partition(":")
    maker: Maker = getattr(import_module(f"netsmith.decisions.{module}"), function)
    return maker

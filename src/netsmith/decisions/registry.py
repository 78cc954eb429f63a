"""Which kinds of decisions a method of compression allows: the only list of kinds there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import torch
from torch import nn

from netsmith.compression.branches import Branch, find_branches
from netsmith.compression.channels import GroupReport
from netsmith.compression.groups import find_groups
from netsmith.decisions.kind import Kind
from netsmith.errors import InputError
from netsmith.hardware.target import Capabilities
from netsmith.network.graph import Graph


@dataclass(frozen=True)
class Given:
    """A network as makers of kinds meet it.

    Attributes:
        model: the user's module.
        example: input for it.
        graph: its trace.
        capabilities: of the target.
    """

    model: nn.Module
    example: torch.Tensor
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
    """Register a maker of a kind of decisions under the name of a method: a new one, or one that gets one kind more."""

    def add(maker: Maker) -> Maker:
        _REGISTERED.setdefault(method, []).append(maker)
        return maker

    return add


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
        InputError: two kinds decide about one thing.
    """
    found: list[Kind] = []
    order = method_names()
    for method in sorted(methods, key=lambda m: order.index(m.name)):
        for maker in (*map(_loaded, _BUILTIN.get(method.name, ())), *_REGISTERED.get(method.name, ())):
            kind = maker(given, method)
            if kind is not None:
                found.append(kind)
    names = [d.name for kind in found for d in kind.decisions]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise InputError(f"two of the methods {', '.join(m.name for m in methods)} decide about {twice}; drop one")
    return tuple(found)


def _loaded(place: str) -> Maker:
    module, _, function = place.partition(":")
    maker: Maker = getattr(import_module(f"netsmith.decisions.{module}"), function)
    return maker

"""Families of networks: search spaces whose networks are rebuilt from plain data, as ``specialize`` finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from netsmith.decisions.search_space import Designs, SearchSpace
from netsmith.network.layers import LayerTable
from netsmith.network.zoo.blueprint import Blueprint

if TYPE_CHECKING:
    from netsmith.supernets.supernet import SuperNet


class Family(SearchSpace, Protocol):
    """Networks for one task: its input shape and its classes are given."""

    def blueprint(self, design: Designs) -> Blueprint:
        """The network of a design ``(D,)`` as plain data."""
        ...

    def layers(self, design: Designs) -> LayerTable:
        """The layers of the network of a design ``(D,)``, ``(L,)``, as tracing it would read them, names included."""
        ...


class SearchedFamily(Family, Protocol):
    """A family with a network of all its networks, in which a search finds one."""

    @property
    def name(self) -> str:
        """Of the space that it was made from."""
        ...

    @property
    def space(self) -> Any:
        """What it was made from, so that a run knows whether it goes on with the same."""
        ...

    @property
    def reference_words(self) -> str:
        """What the reference is, for people."""
        ...

    def network(self, seed: int = 0, costs: int = 1) -> SuperNet:
        """The network of all networks, with fresh weights; its loss will have that many costs."""
        ...

    def places(self, design: Designs) -> list[dict[str, Any]]:
        """Every place where something may stand, in order, with its ``choices`` and the one that a design ``(D,)`` has
        ``chosen``: those with several choices are the decisions. See ``netsmith.runs.search_record``."""
        ...

    def multiplied(self) -> Family:
        """The reference under a width multiplier instead: one decision, whose choices are factors, ascending."""
        ...

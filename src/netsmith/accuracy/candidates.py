"""Choices and whole designs of a given network, to be evaluated without building anything."""

from __future__ import annotations

from dataclasses import dataclass

from netsmith.decisions.given import GivenSpace
from netsmith.decisions.kind import Designs
from netsmith.decisions.tools import Tools
from netsmith.network.edit import GraphEdit


@dataclass(frozen=True)
class Candidates:
    """Makes edits of the traced network.

    Attributes:
        space: the decisions.
        tools: what its kinds need.
    """

    space: GivenSpace
    tools: Tools

    def of_choice(self, decision: int, k: int) -> GraphEdit:
        """The network as given with one choice taken."""
        return self.space.alone(decision, k, self.tools)

    def of_design(self, design: Designs) -> GraphEdit:
        """The network with every choice of a design ``(D,)`` taken."""
        return self.space.edit(design, self.tools)

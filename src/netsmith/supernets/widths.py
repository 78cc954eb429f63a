"""One network under a width multiplier: a family with one decision, and what any search has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netsmith.network.layers import LayerTable
from netsmith.network.zoo.block_rows import block_roles, head_rows, network_rows, stem_rows
from netsmith.network.zoo.blocks import Description
from netsmith.space import Decision, Space
from netsmith.supernets.chosen_rows import ChosenRows, Designs, OfChosenRows, Section
from netsmith.supernets.space import BlockSpace

if TYPE_CHECKING:
    from torch import nn

NARROWEST, WIDEST = 0.1, 3.0
HALVINGS = 9  #: of the range between them


@dataclass(frozen=True)
class WidthFamily(OfChosenRows):
    """The reference network of a space of blocks with all its channels times one factor (MobileNet's multiplier).

    Attributes:
        space: whose reference it is.
        classes, channels: of the task.
    """

    space: BlockSpace
    classes: int
    channels: int = 3

    @cached_property
    def widths(self) -> tuple[float, ...]:
        """The factors, ascending: the range halved again and again."""
        found = [NARROWEST, WIDEST]
        for _ in range(HALVINGS):
            found = [w for a, b in pairwise(found) for w in (a, (a + b) / 2)] + [WIDEST]
        return tuple(found)

    @cached_property
    def decisions(self) -> Space:
        """The factor."""
        return Space((Decision("width", "width", self.widths),))

    @property
    def reference(self) -> Designs:
        """The factor that is nearest to 1, ``(1,)``."""
        return self.canonical(np.array([np.abs(np.array(self.widths) - 1.0).argmin()]))

    def canonical(self, designs: Designs) -> Designs:
        """Of the factors that give the same channels the least, ``(N, 1)``."""
        return self._first[np.asarray(designs)]

    @cached_property
    def _first(self) -> NDArray[np.int64]:
        keys = [self.blueprint([k]).key for k in range(len(self.widths))]
        return np.array([keys.index(key) for key in keys], dtype=np.int64)

    @cached_property
    def _rows(self) -> ChosenRows:
        stems, heads = list[Any](), list[Any]()
        blocks: list[list[Any]] = [[] for _ in self.blueprint([0]).blocks]
        for k in range(len(self.widths)):
            described = self.blueprint([k])
            before, x = stem_rows(described)
            stems.append({row["name"]: row for row in before})
            for i, block in enumerate(described.blocks):
                rows, x = block_roles(block, x, f"features.{i + 1}")
                blocks[i].append(rows)
            heads.append({row["name"]: row for row in head_rows(described, x)})
        return ChosenRows.of([Section(0, own) for own in (stems, *blocks, heads)], 1)

    def layers(self, design: Designs) -> LayerTable:
        """The layers of a design ``(1,)``, ``(L,)``, as tracing :meth:`build` would read them."""
        return network_rows(self.blueprint(design))

    def blueprint(self, design: Designs | Sequence[int]) -> Description:
        """The network of a design ``(1,)`` as plain data."""
        space = self.space.scaled(self.widths[int(design[0])])
        return space.describe(space.reference, self.classes, self.channels)

    def build(self, design: Designs, weights: Any = None) -> nn.Module:
        """The network of a design ``(1,)``, with fresh weights.

        Raises:
            ValueError: weights of a network of all widths, which there is none of.
        """
        if weights is not None:
            raise ValueError("networks of other widths share no weights")
        return self.blueprint(design).build()

    def activate(self, network: Any, design: Designs) -> None:
        """There is no network of all widths.

        Raises:
            ValueError: always.
        """
        raise ValueError("networks of other widths share no weights")

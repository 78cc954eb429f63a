"""The networks of a space of blocks, for one task, as a search space."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.network.layers import LayerTable
from netsmith.network.zoo.block_rows import block_roles, head_rows, network_rows, stem_rows
from netsmith.network.zoo.blueprint import Blueprint
from netsmith.space import Space
from netsmith.supernets.chosen_rows import ChosenRows, Designs, OfChosenRows, Section
from netsmith.supernets.space import REFERENCE, SKIP, BlockSpace
from netsmith.supernets.widths import WidthFamily

if TYPE_CHECKING:
    from torch import nn

    from netsmith.supernets.supernet import SuperNet


def fitted(space: BlockSpace, input_shape: tuple[int, int, int], classes: int, width: float = 1.0) -> BlockFamily:
    """The networks of a space for images ``(C, H, W)`` and classes, with all channels times ``width``.

    Raises:
        InputError: images that are not square, or too small.
    """
    channels, height, side = input_shape
    if height != side:
        raise InputError(f"the images are {height}x{side}; spaces are for square ones: give --image-size")
    own = space.resized(side)
    return BlockFamily(own.scaled(width) if width != 1.0 else own, classes, channels)


@dataclass(frozen=True)
class BlockFamily(OfChosenRows):
    """Networks of inverted residual blocks for images and classes: what :class:`BlockSpace` leaves open is chosen.

    A block's rows are the same whatever the other blocks are, as the widths between blocks are given; so every row
    depends on one decision at most, and every cost is a sum over blocks. Only the size of a network is a few bytes less
    than that sum, as a file numbers the blocks that there are, in names shorter than those of the space.

    Attributes:
        space: the blocks.
        classes, channels: of the task.
    """

    space: BlockSpace
    classes: int
    channels: int = 3

    @property
    def name(self) -> str:
        return self.space.name

    @property
    def decisions(self) -> Space:
        """One for each block that leaves something to choose."""
        return self.space.decisions

    @property
    def reference(self) -> Designs:
        """Every block as in MobileNetV2, ``(D,)``."""
        return self.space.reference

    @property
    def reference_words(self) -> str:
        """What the reference is, for people."""
        return f"{REFERENCE} wherever a block may be that"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of an image."""
        return (self.channels, self.space.image, self.space.image)

    def canonical(self, designs: Designs) -> Designs:
        """The designs themselves: even where two have blocks of the same shapes, a network of all paths has other
        weights for each."""
        return np.array(designs, dtype=np.int64)

    # --- rows --------------------------------------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> ChosenRows:
        described = self.space.describe(self.reference, self.classes, self.channels)
        before, x = stem_rows(described)
        sections = [Section(-1, [{row["name"]: row for row in before}])]
        for i, slot in enumerate(self.space.slots):
            entering, own = x, list[Any]()
            for choice in slot.choices:
                rows = dict[str, Any]()
                if choice != SKIP:
                    rows, x = block_roles(slot.block(choice), entering, slot.name)
                own.append(rows)
            sections.append(Section(self.space.searched.index(i) if i in self.space.searched else -1, own))
        sections.append(Section(-1, [{row["name"]: row for row in head_rows(described, x)}]))
        return ChosenRows.of(sections, len(self.decisions))

    @property
    def parts(self) -> NDArray[np.int64]:
        """``(R,)``, which block a row belongs to, from 1; 0 for what is before and behind the blocks."""
        return self._rows.section % (len(self.space.slots) + 1)

    def layers(self, design: Designs) -> LayerTable:
        """The layers of the network of a design ``(D,)``, ``(L,)``, as tracing :meth:`build` would read them."""
        return network_rows(self.space.describe(design, self.classes, self.channels))

    # --- networks ----------------------------------------------------------------------------------------------------

    def blueprint(self, design: Designs) -> Blueprint:
        """The network of a design ``(D,)`` as plain data."""
        return self.space.describe(design, self.classes, self.channels)

    def build(self, design: Designs, weights: SuperNet | None = None) -> nn.Module:
        """The network of a design ``(D,)``, with fresh weights or those of its path through a network of all paths."""
        return self.blueprint(design).build() if weights is None else weights.extract(design)

    def activate(self, network: SuperNet, design: Designs) -> None:
        """Let every pass through ``network`` take the path ``design (D,)``."""
        network.path = np.asarray(design, dtype=np.int64)

    def network(self, seed: int = 0, costs: int = 1) -> SuperNet:
        """The network of all paths, with fresh weights; its loss will have that many costs."""
        from netsmith.supernets.supernet import SuperNet

        return SuperNet(self.space, self.classes, self.channels, seed, costs)

    def multiplied(self) -> WidthFamily:
        """The reference under a width multiplier instead."""
        return WidthFamily(self.space, self.classes, self.channels)

    def places(self, design: Designs) -> list[dict[str, Any]]:
        """Every place for a block, what there is to choose for it and what a design ``(D,)`` chooses, for people."""
        return [
            {"name": slot.name, "stage": slot.stage, "channels": slot.channels, "stride": slot.stride,
             "side": slot.side, "choices": list(slot.choices), "chosen": chosen}
            for slot, chosen in zip(self.space.slots, self.space.chosen(design), strict=True)
        ]  # fmt: skip

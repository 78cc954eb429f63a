"""What every choice of a space costs on a target: a table of which the cost of any network of the space is a sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.export.packed import layer_bytes
from netsmith.export.packed.file import file_bytes
from netsmith.hardware.target import Cost, Target, as_run, price
from netsmith.network.layers import LayerTable
from netsmith.network.zoo.block_rows import Row, block_rows, head_rows, network_rows, stem_rows
from netsmith.space import CostTable
from netsmith.supernets.space import SKIP, BlockSpace

Designs = NDArray[np.int64]
FloatArray = NDArray[np.float64]
COSTS = ("latency", "energy", "size", "macs")


@dataclass(frozen=True)
class SpacePrices:
    """Costs of a space's choices on a target.

    A block's rows are the same whatever the other blocks are, as the widths between blocks are given, and targets price
    rows independently of each other; so the cost of a network is the sum of its blocks' costs. Only its size is
    a few bytes less, as the file numbers the blocks that there are, in names shorter than those of the slots.

    Attributes:
        space: what is priced.
        target: on what.
        classes, channels: of the networks.
        batch: samples that a run of the network has; costs are those of a whole run.
    """

    space: BlockSpace
    target: Target
    classes: int
    channels: int = 3
    batch: int = 1

    @cached_property
    def _rows(self) -> tuple[LayerTable, dict[tuple[int, int], LayerTable]]:
        """Rows of no block, and rows of (slot, choice); a skipped block has none."""
        description = self.space.describe(self.space.reference, self.classes, self.channels)
        outside, x = stem_rows(description)
        inside: dict[tuple[int, int], LayerTable] = {}
        for i, slot in enumerate(self.space.slots):
            entering = x
            for k, choice in enumerate(slot.choices):
                rows: list[Row] = []
                if choice != SKIP:
                    rows, x = block_rows(slot.block(choice), entering, slot.name)
                inside[i, k] = LayerTable.from_rows(rows)
        return LayerTable.from_rows(outside + head_rows(description, x)), inside

    def rows(self, design: Designs) -> LayerTable:
        """Layer table of the network of a design ``(D,)``."""
        return network_rows(self.space.describe(design, self.classes, self.channels))

    def all_rows(self) -> LayerTable:
        """Every distinct row of any network of the space, as the target runs it."""
        outside, inside = self._rows
        return as_run(LayerTable.distinct([outside, *inside.values()]), self.target.capabilities)

    def tables(self, costs: Sequence[str]) -> dict[str, CostTable]:
        """The cost table of each of some costs, over the decisions of the space.

        Raises:
            InputError: the target has no model of a cost.
        """
        outside, inside = self._rows
        fixed = self.total(outside, costs)
        own = {place: self._costs(rows, costs) for place, rows in inside.items()}
        sizes = self.space.decisions.sizes
        tables = {}
        for name in costs:
            unary = np.full((len(sizes), int(sizes.max())), np.inf)
            total = fixed[name]
            for (i, k), values in own.items():
                cost = float(values[name].sum())
                if i in self.space.searched:
                    unary[self.space.searched.index(i), k] = cost
                else:
                    total += cost
            tables[name] = CostTable(total, unary)
        return tables

    def total(self, rows: LayerTable, costs: Sequence[str]) -> dict[str, float]:
        """Costs of a network whose layers are ``rows``, as :meth:`tables` has them."""
        found = {name: float(values.sum()) for name, values in self._costs(rows, costs).items()}
        if "latency" in found:
            found["latency"] += self.priced(rows).fixed_s
        if "size" in found:
            found["size"] += file_bytes()
        return found

    def priced(self, rows: LayerTable) -> Cost:
        """Costs of rows as the target runs them."""
        return price(self.target, as_run(rows, self.target.capabilities), self.batch)

    def _costs(self, rows: LayerTable, costs: Sequence[str]) -> Mapping[str, FloatArray]:
        """Each cost of each row, ``(L,)``."""
        found: dict[str, FloatArray] = {}
        if {"latency", "energy"} & set(costs):
            cost = self.priced(rows)
            found["latency"] = cost.latency_s
            if "energy" in costs:
                if cost.energy_j is None:
                    name = self.target.name
                    raise InputError(
                        f"target {name!r} has no energy model; drop --energy or choose a target that has one"
                    )
                found["energy"] = cost.energy_j
        found["macs"] = rows.macs.astype(np.float64)
        found["size"] = layer_bytes(rows).astype(np.float64)
        return {name: found[name] for name in costs}

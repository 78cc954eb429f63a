"""What every choice of a space costs on a target: a table of which the cost of any network of the space is a sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.hardware.target import Cost, CostTable, Target, as_run
from netsmith.network.graph import trace
from netsmith.network.layers import LayerTable
from netsmith.network.zoo.blocks import block_network
from netsmith.supernets.space import SKIP, BlockSpace

Designs = NDArray[np.int64]
FloatArray = NDArray[np.float64]
COSTS = ("latency", "energy", "size", "macs")
BYTES = 4  #: of a weight or bias as it is stored


@dataclass(frozen=True)
class SpacePrices:
    """Costs of a space's choices on a target.

    A block's rows are the same whatever the other blocks are, as the widths between blocks are given; so as many traces
    as a block has choices give the rows of every network.

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
    def _traced(self) -> tuple[LayerTable, dict[tuple[int, int], LayerTable]]:
        """Rows of no block, and rows of (slot, choice); a skipped block has none."""
        sizes = self.space.decisions.sizes
        outside: LayerTable | None = None
        inside: dict[tuple[int, int], LayerTable] = {}
        for k in reversed(range(int(sizes.max()))):  # from the dearest: there every block is
            design = np.minimum(k, sizes - 1)
            table = self.rows(design)
            slots = self._slot_of(table, design)
            if outside is None:
                outside = table.take(slots < 0)
            own = dict(zip(self.space.searched, design.tolist(), strict=True))
            for i in range(len(self.space.slots)):
                inside[i, own.get(i, 0)] = table.take(slots == i)
        assert outside is not None
        return outside, inside

    def rows(self, design: Designs) -> LayerTable:
        """Layer table of the network of a design ``(D,)``."""
        description = self.space.describe(design, self.classes, self.channels)
        return trace(block_network(description), description.input_shape).layers

    def _slot_of(self, table: LayerTable, design: Designs) -> NDArray[np.int64]:
        """The slot of every row, -1 outside of blocks, ``(L,)``."""
        there = [i for i, choice in enumerate(self.space.chosen(design)) if choice != SKIP]
        found = np.full(len(table), -1)
        for row, name in enumerate(table.names):
            parts = name.split("/")[0].split(".")
            if parts[0] == "features" and 1 <= (n := int(parts[1].partition("#")[0])) <= len(there):
                found[row] = there[n - 1]
        return found

    def all_rows(self) -> LayerTable:
        """Every distinct row of any network of the space, as the target runs it."""
        outside, inside = self._traced
        return as_run(LayerTable.distinct([outside, *inside.values()]), self.target.capabilities)

    def tables(self, costs: Sequence[str]) -> dict[str, CostTable]:
        """The cost table of each of some costs, over the decisions of the space.

        Raises:
            InputError: the target has no model of a cost.
        """
        outside, inside = self._traced
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
        return found

    def priced(self, rows: LayerTable) -> Cost:
        """Costs of rows as the target runs them."""
        return self.target.cost(as_run(rows, self.target.capabilities), self.batch)

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
        found["size"] = rows.params.astype(np.float64) * BYTES
        return {name: found[name] for name in costs}

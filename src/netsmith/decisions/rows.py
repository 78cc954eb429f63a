"""Where a network's layers are in its table, and which of its rows merely have the channels of others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from torch import fx

from netsmith.network.graph import Graph
from netsmith.network.layers import KIND, LayerTable


@dataclass(frozen=True)
class Rows:
    """The rows of a traced network's layer table."""

    graph: Graph

    @property
    def table(self) -> LayerTable:
        """The table itself, ``(R,)``."""
        return self.graph.layers

    @cached_property
    def index(self) -> dict[str, int]:
        """Name of a row -> its place."""
        return {name: i for i, name in enumerate(self.table.names)}

    def of_node(self, node: str) -> int:
        """The row of a node of the graph, -1 if it has none."""
        return self.index.get(self.graph.node_names.get(node, ""), -1)

    def calls(self, layer: str) -> list[int]:
        """Rows of a layer: one a call."""
        return [i for n, i in self.index.items() if n == layer or n.startswith(f"{layer}#")]

    def pads(self, row: int) -> bool:
        """Whether a row lays channels beside those that it hands on."""
        return bool(self.table.kind[row] == KIND["pad"] and self.table.c_out[row] > self.table.c_in[row])

    @property
    def sources(self) -> dict[int, list[int]]:
        """Row without weights -> rows whose output channels it has (several behind a concatenation): of layers, or of
        what pads channels."""
        return self._followed[0]

    @property
    def operands(self) -> dict[int, list[list[int]]]:
        """Row of a product of activations -> for each operand the compute rows whose output channels it has."""
        return self._followed[1]

    @cached_property
    def _followed(self) -> tuple[dict[int, list[int]], dict[int, list[list[int]]]]:
        found: dict[str, list[int]] = {}

        def sources(node: fx.Node) -> list[int]:
            row = self.of_node(node.name)
            if row >= 0 and self.table.is_compute[row]:
                return [row]
            return found.get(node.name, [])

        out: dict[int, list[int]] = {}
        operands: dict[int, list[list[int]]] = {}
        for node in self.graph.nodes.values():
            if node.op != "call_function":
                continue
            row = self.of_node(node.name)
            inputs = [s for s in (sources(n) for n in node.all_input_nodes) if s]
            concat = row >= 0 and self.table.kind[row] == KIND["concat"]
            found[node.name] = [s for i in inputs for s in i] if concat else (inputs[0] if inputs else [])
            product = row >= 0 and self.table.kind[row] == KIND["matmul"]
            if product and inputs:
                out[row], operands[row] = inputs[0], inputs
            elif row >= 0 and not self.table.is_compute[row] and found[node.name]:
                out[row] = found[node.name]
                if self.pads(row):  # from here on channels are counted with those that it adds
                    found[node.name] = [row]
        return out, operands


def is_part(row: str, layers: Collection[str]) -> bool:
    """Whether a row is a call of one of these modules, or of what one holds: attention is many rows."""
    name = row.split("#")[0]
    return any(name == layer or name.startswith((f"{layer}.", f"{layer}/")) for layer in layers)

"""What lies between the layers of a given network: glue, and conversions between integers and floats.

Where integers are decides what it costs, and that (:mod:`netsmith.compression.placement`) depends on the bits of all
layers. So it is priced for whole designs, and expanded around one of them for tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from netsmith.compression.placement import Placement, place
from netsmith.decisions.bits import A_BITS, BITS, W_BITS
from netsmith.decisions.search_space import BoolArray, Designs, FloatArray, RowCost, RowSpace
from netsmith.network.graph import Graph
from netsmith.network.layers import FLOAT, KIND, MAPS, LayerTable

_NUMBERS = (BITS, W_BITS, A_BITS)  #: kinds of decisions that set widths
_SIZES = ("c_in", "c_out", "kernel_h", "kernel_w", "groups", "h_in", "w_in", "h_out", "w_out")
_NEGLIGIBLE = 1e-12  #: what a pair adds, in the unit of the cost
_MOST_LISTED = 600  #: combinations of sizes that are listed for one row


class IntegerPlacement:
    """The rows between layers, and their cost, in the designs of ``space``, whose given network is ``graph``."""

    def __init__(self, space: RowSpace, graph: Graph) -> None:
        self.space, self.graph = space, graph
        self._placements: dict[bytes, Placement] = {}

    @property
    def rows(self) -> BoolArray:
        """Which rows lie between layers, ``(R,)``."""
        return ~self.graph.layers.is_compute

    @property
    def starts(self) -> Designs:
        """The network as given, and the same with the least bits, ``(2, D)``."""
        least = self.space.reference.copy()
        least[[i for i, d in enumerate(self.space.decisions.decisions) if d.kind in _NUMBERS]] = 0
        return np.array([self.space.reference, least])

    def has(self, cost: str) -> bool:
        """Whether glue and conversions have this cost."""
        return cost in ("latency", "energy")

    def is_free(self, row_cost: RowCost) -> bool:
        """Whether neither placement nor sizes ever change, or nothing between layers costs anything."""
        if self.moves:
            return False
        if all(d.kind in _NUMBERS for d in self.space.decisions.decisions):
            return True
        ends = np.array([self.space.reference, np.zeros_like(self.space.reference)])
        return not self.price(ends, row_cost).any()

    def price(self, designs: Designs, row_cost: RowCost) -> FloatArray:
        """Cost of glue and conversions of each design, ``(N,)``."""
        designs = np.atleast_2d(designs)
        tables = self.space.rows(designs)
        glue = np.flatnonzero(~tables.is_compute[0])
        blocks, owner = list[dict[str, Any]](), []
        for i in range(len(designs)):
            one = LayerTable(names=tables.names, **{k: v[i] for k, v in tables.columns.items()})
            placement = self._placement(one)
            one = self._placed(one, placement)
            rows, conversions = glue[one.calls[glue] > 0], self._conversions(one, placement)
            block = {k: np.concatenate([v[rows], conversions.columns[k]]) for k, v in one.columns.items()}
            blocks.append(block)
            owner.append(np.full(len(block["kind"]), i))
        merged: dict[str, Any] = {k: np.concatenate([b[k] for b in blocks]) for k in blocks[0]}
        if not len(merged["kind"]):
            return np.zeros(len(designs))
        flat = LayerTable(names=("between",) * len(merged["kind"]), **merged)
        costs = np.bincount(np.concatenate(owner), row_cost(flat), minlength=len(designs))
        return np.asarray(costs, dtype=float)

    def with_bits(self, table: LayerTable, design: Designs) -> LayerTable:
        """The rows of one design ``(..., R)`` with glue in the bits of its placement."""
        return self._placed(table, self._placement(self._one(design)))

    def added(self, table: LayerTable, design: Designs) -> LayerTable:
        """The conversions of one design, whose rows are ``table (R,)``."""
        return self._conversions(table, self._placement(self._one(design)))

    # --- around a design --------------------------------------------------------------------------------------------

    def expand(
        self, around: Designs, row_cost: RowCost
    ) -> tuple[float, list[FloatArray], dict[tuple[int, int], FloatArray]]:
        """First order, and pairs of neighbouring layers: at ``around``, for each choice alone, for each pair beyond."""
        sizes = self.space.decisions.sizes
        designs, where = [around], list[tuple[int, ...]]([()])
        for i, decision in enumerate(self.space.decisions.decisions):
            # where all layers are integer layers, or none, the placement is always the same and no bits move it
            if decision.kind not in _NUMBERS or (decision.kind == BITS and self.moves):
                for k in range(sizes[i]):
                    designs.append(_with(around, {i: k}))
                    where.append((i, k))
        pairs = self.neighbours if self.moves else []
        for i, j in pairs:
            for k, m in product(range(sizes[i]), range(sizes[j])):
                designs.append(_with(around, {i: k, j: m}))
                where.append((i, j, k, m))
        cost = self.price(np.array(designs), row_cost)
        base = float(cost[0])
        ones = [np.zeros(int(s)) for s in sizes]
        two = {(i, j): np.zeros((int(sizes[i]), int(sizes[j]))) for i, j in pairs}
        for place_, c in zip(where, cost, strict=True):
            if len(place_) == 2:
                ones[place_[0]][place_[1]] = c - base
        for place_, c in zip(where, cost, strict=True):
            if len(place_) == 4:
                i, j, k, m = place_
                two[i, j][k, m] = c - base - ones[i][k] - ones[j][m]
        return base, ones, {p: v for p, v in two.items() if np.abs(v).max() > _NEGLIGIBLE}

    @property
    def moves(self) -> bool:
        """Whether layers may be integers or stay in floating point, as a design says."""
        numbers = [d for d in self.space.decisions.decisions if d.kind in _NUMBERS]
        return not numbers or numbers[-1].choices[-1] == FLOAT

    @cached_property
    def neighbours(self) -> list[tuple[int, int]]:
        """Pairs of bit decisions whose layers meet through glue only."""
        kinds = [d.kind for d in self.space.decisions.decisions]
        of_bits = {
            self.graph.node_of[self.graph.layers.names[r]]: int(d)
            for d, r in zip(*np.nonzero(self.space.depends() & self.graph.layers.is_compute), strict=True)
            if kinds[d] == BITS
        }
        reach: dict[str, frozenset[int]] = {}
        found: set[tuple[int, int]] = set()
        for node in self.graph.module.graph.nodes:
            ups: set[int] = set()
            for n in node.all_input_nodes:
                ups |= reach.get(n.name, frozenset())
            if node.name in of_bits:
                me = of_bits[node.name]
                found |= {(min(u, me), max(u, me)) for u in ups if u != me}
                reach[node.name] = frozenset({me})
            elif node.op == "call_function":
                if len(node.all_input_nodes) > 1:  # layers that meet in one addition decide its placement together
                    found |= {(u, v) for u in ups for v in ups if u < v}
                reach[node.name] = frozenset(sorted(ups)[-3:])
        return sorted(found)

    # --- one design -------------------------------------------------------------------------------------------------

    def _one(self, design: Designs) -> LayerTable:
        tables = self.space.rows(np.asarray(design)[None])
        return LayerTable(names=tables.names, **{k: v[0] for k, v in tables.columns.items()})

    def _placement(self, table: LayerTable) -> Placement:
        """Where integers are in the design whose rows are ``table (R,)``."""
        integer = table.is_compute & (np.maximum(table.w_bits, table.a_bits) < FLOAT) & (table.calls > 0)
        layers = [table.names[i] for i in np.flatnonzero(integer)]
        key = "\n".join(layers).encode()
        if key not in self._placements:
            if len(self._placements) > 4000:
                self._placements.clear()
            self._placements[key] = place(self.graph, layers)
        return self._placements[key]

    def _placed(self, table: LayerTable, placement: Placement) -> LayerTable:
        integer = {self.graph.node_names[n] for n in placement.glue if n in self.graph.node_names}
        glue = np.array([n in integer for n in table.names])
        bits = np.where(glue, 8, np.where(table.is_compute, table.a_bits, 32))
        return table.replace(a_bits=bits, w_bits=np.where(table.is_compute, table.w_bits, bits))

    def _conversions(self, table: LayerTable, placement: Placement) -> LayerTable:
        """Rows of the quantize and dequantize operators that a placement needs in a design with rows ``table (R,)``."""
        present, shape_of = table.calls > 0, self._shape_rows
        rows, kinds = list[int](), list[int]()
        for name in placement.inputs:
            if name in shape_of and (shape_of[name] < 0 or present[shape_of[name]]):
                rows.append(shape_of[name])
                kinds.append(KIND["quantize"])
        for name in placement.anchors:
            float_users = [
                u for u in self.graph.nodes[name].users
                if u.name not in placement.glue and u.name not in placement.anchors
                and not self._is_integer(table, u.name)
            ]  # fmt: skip
            if float_users and name in shape_of and shape_of[name] >= 0 and present[shape_of[name]]:
                rows.append(shape_of[name])
                kinds.append(KIND["dequantize"])
        return self._conversion(table, rows, kinds)

    def _is_integer(self, table: LayerTable, node: str) -> bool:
        row = self.graph.node_names.get(node)
        return row is not None and bool(table.w_bits[self._position[row]] < FLOAT)

    def _conversion(self, table: LayerTable, rows: Sequence[int], kinds: Sequence[int]) -> LayerTable:
        """Conversions of the outputs of ``rows (C,)`` of tables ``(..., R)``, for -1 of the input: ``(..., C)``."""
        r = np.asarray(rows, dtype=np.int64)
        at = np.maximum(r, 0)
        usual = LayerTable.from_rows([{"name": "conversion", "w_bits": 8, "a_bits": 8, "layout": MAPS}])
        values: dict[str, Any] = {"kind": np.asarray(kinds, dtype=np.int64)}
        for axis, given in zip("chw", (*self.graph.input_shape[:3], 1, 1), strict=False):
            values[f"{axis}_in"] = values[f"{axis}_out"] = np.where(r < 0, given, table.columns[f"{axis}_out"][..., at])
        shape = table.kind[..., at].shape
        columns: dict[str, Any] = {k: np.broadcast_to(values.get(k, v), shape) for k, v in usual.columns.items()}
        return LayerTable(names=("conversion",) * len(r), **columns)

    @cached_property
    def _position(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.graph.layers.names)}

    @cached_property
    def _shape_rows(self) -> dict[str, int]:
        """Node -> row whose output has its shape (its own, or that of the layer it is fused into); -1 for the input."""
        shapes: dict[str, int] = {}
        for node in self.graph.module.graph.nodes:
            if node.op == "placeholder":
                shapes[node.name] = -1
            elif node.name in self.graph.node_names:
                shapes[node.name] = self._position[self.graph.node_names[node.name]]
            elif node.op == "call_function":
                ups = [shapes[n.name] for n in node.all_input_nodes if n.name in shapes]
                if ups:
                    shapes[node.name] = ups[0]
        return shapes

    # --- all designs ------------------------------------------------------------------------------------------------

    def possible(self) -> list[LayerTable]:
        """Glue and conversions in every size and at both precisions, wherever a search ends.

        Rows that depend on so many decisions that not all combinations can be listed have them changed one at a time.
        """
        kinds = np.array([d.kind in _NUMBERS for d in self.space.decisions.decisions], dtype=bool)
        given = self.graph.layers
        numbers = self.space.depends()[kinds].any(axis=0) & given.is_compute
        layers = [given.names[r] for r in np.flatnonzero(numbers)]
        integer = place(self.graph, layers)  # no other placement has an integer where this one has none
        glue = {self.graph.node_names[n] for n in integer.glue if n in self.graph.node_names}
        tables = []
        for r in np.flatnonzero(~given.is_compute):
            rows = self.space.rows(self._sizes(int(r)), [int(r)])
            for bits in (32, 8) if given.names[r] in glue else (32,):
                tables.append(rows.replace(w_bits=bits, a_bits=bits))
        nodes = [self.graph.nodes[self.graph.node_of[n]] for n in layers]
        read = {m.name for n in nodes for m in n.all_input_nodes if m.op != "get_attr"}
        read |= {m.name for n in integer.glue for m in self.graph.nodes[n].all_input_nodes}
        for kind, names in (("quantize", read), ("dequantize", set(integer.anchors))):
            for row in sorted({self._shape_rows[n] for n in names if n in self._shape_rows}):
                table = self.space.rows(self._sizes(max(row, 0)))
                tables.append(self._conversion(table, [row], [KIND[kind]]))
        return tables

    def _sizes(self, r: int) -> Designs:
        """Designs in which the decisions that set the sizes of row ``r`` have every combination, ``(N, D)``."""
        space = self.space.decisions
        alone = self.space.reference + np.zeros((len(space) + 1, 1), dtype=np.int64)
        alone[np.arange(len(space)), np.arange(len(space))] = 0  # the last one is the reference itself
        rows = self.space.rows(alone, [r])
        changed = np.any([c != c[-1] for k, c in rows.columns.items() if k in _SIZES], axis=0)[:-1, 0]
        own = np.flatnonzero(changed).tolist()
        sizes = [int(space.sizes[d]) for d in own]
        if np.prod(sizes, dtype=float) <= _MOST_LISTED:
            found = list(product(*(range(n) for n in sizes)))
        else:
            last = [n - 1 for n in sizes]
            found = [(*last[:i], k, *last[i + 1 :]) for i, n in enumerate(sizes) for k in range(n)]
        designs = np.tile(self.space.reference, (len(found), 1))
        designs[:, own] = np.array(found).reshape(len(found), len(own))
        return designs


def _with(design: Designs, change: dict[int, int]) -> Designs:
    out = design.copy()
    for i, k in change.items():
        out[i] = k
    return out

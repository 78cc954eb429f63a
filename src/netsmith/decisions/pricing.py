"""What designs cost on a target: prediction of one design, and cost tables that a solver can optimise over.

A compute layer's cost depends on few decisions (its input channels, its output channels, its bits, whether its branch
is there), so it becomes one exact factor over them. What lies between layers (additions, conversions between integers
and floats) depends on the placement of integers, which is not local; it is expanded around a given design, first order
and pairs of neighbouring layers, and the expansion is renewed at the solution until it stands still.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.compression.placement import Placement, place
from netsmith.decisions.choices import BITS, DEPTH, WIDTH, Choices, Designs, FloatArray
from netsmith.export.packed import layer_bytes, table_bytes
from netsmith.export.packed.model import stored_tensors
from netsmith.hardware.target import Cost, Target, as_run, price
from netsmith.network.layers import FLOAT, KIND, LayerTable
from netsmith.space import CostTable, Factor

#: A factor over more cells than this is expanded around the current design instead, over the decisions that matter
#: most: fewer where each cell has to be measured, and where all that touch a row would take more than the second.
CELLS, MODELLED = 600, 131_072
#: All exact factors together have at most so many cells, of which so many are priced at once.
_TOTAL, _AT_ONCE = 8_000_000, 400_000
_BLOCK = 20_000  #: designs that become rows together
RowCost = Callable[[LayerTable], FloatArray]
_Row = tuple[int, list[int], list[int]]  #: a row, decisions of its factor, decisions that are expanded


class Pricing:
    """Costs of the designs of ``choices`` on ``target``.

    Costs by name: ``latency`` (s), ``energy`` (J, where the target has it), ``macs``, ``size`` (bytes of the network's
    packed file, everything that it stores included).
    """

    def __init__(self, choices: Choices, target: Target) -> None:
        self.choices, self.target = choices, target
        self._stored, others = stored_tensors(choices.graph)
        self._file_bytes = float(table_bytes(choices.table, [], others=others, stored=self._stored)[0])
        self._placements: dict[bytes, Placement] = {}

    def row_cost(self, name: str) -> RowCost:
        """The cost of each row of a table, ``(..., L)``, for a cost name."""
        if name == "macs":
            return lambda t: np.asarray(t.macs, dtype=float)
        if name == "size":
            return lambda t: layer_bytes(t, self.choices.scheme, stored=self._stored).astype(float)
        if name == "energy":
            return lambda t: np.asarray(self.cost(t).energy_j, dtype=float)
        return lambda t: np.asarray(self.cost(t).latency_s)

    def cost(self, table: LayerTable) -> Cost:
        """What the target says of a table, each row at widths that it has."""
        return price(self.target, as_run(table, self.target.capabilities))

    def is_exact(self, name: str) -> bool:
        """Whether a cost table is right at every design.

        What lies between layers then has no such cost, or neither placement nor widths ever change; and no layer
        depends on more decisions than a factor holds.
        """
        return self._between_is_fixed(name) and all(not rest for _, _, rest in self._plan(name))

    def _between_is_fixed(self, name: str) -> bool:
        if not self.between(name):
            return True
        if self.choices.has_floats:
            return False
        if not self.choices.groups and not self.choices.branches:
            return True
        ends = np.array([self.choices.reference, np.zeros_like(self.choices.reference)])
        return not self._between(ends, name).any()

    def between(self, name: str) -> bool:
        """Whether glue and conversions have this cost."""
        return name in ("latency", "energy")

    def predict(self, designs: Designs, name: str = "latency") -> FloatArray:
        """Cost of each design, ``(N,)``, with its own placement."""
        designs = np.atleast_2d(designs)
        tables = self.choices.columns(designs)
        layers = tables.take(tables.is_compute[0])
        total = self.row_cost(name)(layers).sum(axis=1) + self.fixed(name)
        return np.asarray(total + (self._between(designs, name) if self.between(name) else 0.0))

    def fixed(self, name: str) -> float:
        """What belongs to no row: the frame of a file, and the tensors that no layer owns."""
        return self._file_bytes if name == "size" else 0.0

    def per_row(self, design: Designs, name: str = "latency") -> FloatArray:
        """Cost of each row of the table for one design, ``(R,)``, conversions not included."""
        table = self._with_glue_bits(self.choices.columns(design), self._placement(design))
        return np.asarray(self.row_cost(name)(table)[0])

    def rows(self, design: Designs) -> LayerTable:
        """One design as it runs, ``(R,)``: layers that are present, glue at its placement's bits, conversions."""
        tables = self.choices.columns(design)
        one = LayerTable(names=tables.names, **{k: v[0] for k, v in tables.columns.items()})
        placement = self._placement(np.asarray(design))
        one = self._with_glue_bits(one, placement)
        conversions = self._conversions(one, placement)
        kept = one.take(one.calls > 0)
        columns: dict[str, Any] = {k: np.concatenate([v, conversions[k]]) for k, v in kept.columns.items()}
        names = (*kept.names, *("conversion",) * len(conversions["kind"]))
        return LayerTable(names=names, **columns)

    def table(self, name: str, around: Designs) -> CostTable:
        """The cost table of one cost, exact for layers, expanded around the design ``around`` for what lies between."""
        space = self.choices.decisions
        d, k = len(space), int(space.sizes.max()) if len(space) else 1
        unary = np.where(np.arange(k) < space.sizes[:, None], 0.0, np.inf)
        fixed, factors = self._layers(name, around, unary)
        fixed += self.fixed(name)
        if self.between(name):
            base, ones, pairs = self._expansion(name, around)
            fixed += base
            for i in range(d):
                unary[i, : space.sizes[i]] += ones[i]
            for (i, j), values in pairs.items():
                factors.append(Factor((i, j), values))
        return CostTable(fixed, unary, tuple(factors))

    # --- compute layers: exact --------------------------------------------------------------------------------------

    def _touching(self, r: int) -> list[int]:
        """Decisions that the cost of row r depends on, the most important first."""
        choices = self.choices
        into, out_of = choices.coupling
        rest = [int(x) for x in dict.fromkeys([*choices.precision[:, r], choices.presence[r]]) if x >= 0]
        wide = np.argsort(-(into[:, r] + 1.001 * out_of[:, r]), kind="stable")
        return rest + [int(d) for d in wide if into[d, r] + out_of[d, r] > 0]

    def _layers(self, name: str, around: Designs, unary: FloatArray) -> tuple[float, list[Factor]]:
        space, plan, costs = self.choices.decisions, self._plan(name), list[FloatArray]()
        ends = np.cumsum([np.prod(space.sizes[exact]) + space.sizes[rest].sum() for _, exact, rest in plan])
        for part in np.split(np.arange(len(plan)), np.flatnonzero(np.diff(ends // _AT_ONCE)) + 1):
            costs += self._row_costs(name, around, [plan[i] for i in part])
        fixed, factors = 0.0, []
        for (_, exact, rest), cost in zip(plan, costs, strict=True):
            shape = tuple(int(space.sizes[e]) for e in exact)
            cells = int(np.prod(shape, dtype=int))
            values = cost[:cells].reshape(shape)
            here = values[tuple(around[e] for e in exact)] if exact else values
            start = cells
            for dec in rest:
                single = cost[start : start + space.sizes[dec]]
                unary[dec, : space.sizes[dec]] += single - here
                start += space.sizes[dec]
            if not exact:
                fixed += float(values)
            elif len(exact) == 1:
                unary[exact[0], : shape[0]] += values
            else:
                factors.append(Factor(tuple(exact), values))
        return fixed, factors

    def _plan(self, name: str) -> list[_Row]:
        """Each compute row with the decisions that its factor is over, and those that are expanded."""
        choices, space = self.choices, self.choices.decisions
        plan: list[_Row] = []
        compute = np.flatnonzero(choices.table.is_compute)
        modelled = name in ("macs", "size") or not self.target.capabilities.measured
        most = max(CELLS, min(MODELLED, _TOTAL // max(len(compute), 1))) if modelled else CELLS
        for r in compute:
            touching = self._touching(int(r))
            whole = float(np.prod([float(space.sizes[dec]) for dec in touching]))
            exact: list[int] = touching if whole <= most else []
            for dec in touching if not exact else ():
                if np.prod([space.sizes[e] for e in [*exact, dec]]) <= CELLS:
                    exact.append(dec)
            plan.append((int(r), exact, [dec for dec in touching if dec not in exact]))
        return plan

    def _row_costs(self, name: str, around: Designs, plan: list[_Row]) -> list[FloatArray]:
        """Cost of each row at every cell of its factor, then at every choice of the rest."""
        tables, counts = list[dict[str, Any]](), []
        for r, exact, rest in plan:
            designs = self._cells(around, exact, rest)
            for start in range(0, len(designs), _BLOCK):
                table = self.choices.columns(designs[start : start + _BLOCK], [r])
                tables.append({k: v[:, 0] for k, v in table.columns.items()})
            counts.append(len(designs))
        if not tables:
            return []
        merged: dict[str, Any] = {k: np.concatenate([t[k] for t in tables]) for k in tables[0]}
        names = tuple(self.choices.table.names[row[0]] for row, n in zip(plan, counts, strict=True) for _ in range(n))
        return np.split(self.row_cost(name)(LayerTable(names=names, **merged)), np.cumsum(counts)[:-1])

    def _cells(self, around: Designs, exact: list[int], rest: list[int]) -> Designs:
        """The design ``around`` with all combinations of ``exact``, then with every choice of each of ``rest``."""
        sizes = self.choices.decisions.sizes
        designs = np.tile(around, (int(np.prod(sizes[exact])), 1))
        if exact:
            designs[:, exact] = np.indices(sizes[exact].tolist()).reshape(len(exact), -1).T
        singles = [np.tile(around, (int(sizes[dec]), 1)) for dec in rest]
        for dec, block in zip(rest, singles, strict=True):
            block[:, dec] = np.arange(sizes[dec])
        return np.concatenate([designs, *singles])

    # --- between layers: expanded around a design -------------------------------------------------------------------

    def _expansion(
        self, name: str, around: Designs
    ) -> tuple[float, list[FloatArray], dict[tuple[int, int], FloatArray]]:
        space = self.choices.decisions
        kinds = [d.kind for d in space.decisions]
        designs: list[Designs] = [around]
        where: list[tuple[int, ...]] = [()]
        # where all layers are integer layers, or none, the placement is always the same and no width of bits moves it
        moving = {WIDTH, DEPTH, BITS} if self.choices.has_floats else {WIDTH, DEPTH}
        for i, size in enumerate(space.sizes):
            for k in range(size if kinds[i] in moving else 0):
                designs.append(_with(around, {i: k}))
                where.append((i, k))
        pairs = self._neighbours() if self.choices.has_floats else []
        for i, j in pairs:
            for k in range(space.sizes[i]):
                for m in range(space.sizes[j]):
                    designs.append(_with(around, {i: k, j: m}))
                    where.append((i, j, k, m))
        cost = self._between(np.array(designs), name)
        base = float(cost[0])
        ones = [np.zeros(int(s)) for s in space.sizes]
        two = {(i, j): np.zeros((int(space.sizes[i]), int(space.sizes[j]))) for i, j in pairs}
        for place_, c in zip(where, cost, strict=True):
            if len(place_) == 2:
                ones[place_[0]][place_[1]] = c - base
        for place_, c in zip(where, cost, strict=True):
            if len(place_) == 4:
                i, j, k, m = place_
                two[i, j][k, m] = c - base - ones[i][k] - ones[j][m]
        return base, ones, {p: v for p, v in two.items() if np.abs(v).max() > 1e-12}

    def _neighbours(self) -> list[tuple[int, int]]:
        """Pairs of bit decisions whose layers meet through glue only."""
        choices = self.choices
        decision = {choices.graph.node_of[n]: choices.decisions.index(f"{n}.{BITS}") for n in choices.layers}
        reach: dict[str, frozenset[int]] = {}
        found: set[tuple[int, int]] = set()
        for node in choices.graph.module.graph.nodes:
            ups: set[int] = set()
            for n in node.all_input_nodes:
                ups |= reach.get(n.name, frozenset())
            if node.name in decision:
                me = decision[node.name]
                found |= {(min(u, me), max(u, me)) for u in ups if u != me}
                reach[node.name] = frozenset({me})
            elif node.op == "call_function":
                if len(node.all_input_nodes) > 1:  # layers that meet in one addition decide its placement together
                    found |= {(u, v) for u in ups for v in ups if u < v}
                reach[node.name] = frozenset(sorted(ups)[-3:])
        return sorted(found)

    def _placement(self, design: Designs) -> Placement:
        layers = [n for n, (_, a_bits) in self.choices.bits(design).items() if a_bits < FLOAT]
        key = "\n".join(layers).encode()
        if key not in self._placements:
            if len(self._placements) > 4000:
                self._placements.clear()
            self._placements[key] = place(self.choices.graph, layers)
        return self._placements[key]

    def _with_glue_bits(self, table: LayerTable, placement: Placement) -> LayerTable:
        integer = {self.choices.graph.node_names[n] for n in placement.glue if n in self.choices.graph.node_names}
        glue = np.array([n in integer for n in table.names])
        bits = np.where(glue, 8, np.where(table.is_compute, table.a_bits, 32))
        return table.replace(a_bits=bits, w_bits=np.where(table.is_compute, table.w_bits, bits))

    def _between(self, designs: Designs, name: str) -> FloatArray:
        """Cost of glue and conversions of each design, ``(N,)``."""
        choices = self.choices
        designs = np.atleast_2d(designs)
        tables = choices.columns(designs)
        glue = np.flatnonzero(~tables.is_compute[0])
        blocks: list[dict[str, NDArray[np.int64]]] = []
        owner: list[NDArray[np.int64]] = []
        for i, design in enumerate(designs):
            placement = self._placement(design)
            one = LayerTable(names=tables.names, **{k: v[i] for k, v in tables.columns.items()})
            one = self._with_glue_bits(one, placement)
            rows = glue[one.calls[glue] > 0]
            conversions = self._conversions(one, placement)
            block = {k: np.concatenate([v[rows], conversions[k]]) for k, v in one.columns.items()}
            blocks.append(block)
            owner.append(np.full(len(block["kind"]), i))
        merged: dict[str, Any] = {k: np.concatenate([b[k] for b in blocks]) for k in blocks[0]}
        if not len(merged["kind"]):
            return np.zeros(len(designs))
        flat = LayerTable(names=("between",) * len(merged["kind"]), **merged)
        costs = np.bincount(np.concatenate(owner), self.row_cost(name)(flat), minlength=len(designs))
        return np.asarray(costs, dtype=float)

    def _conversions(self, table: LayerTable, placement: Placement) -> dict[str, NDArray[np.int64]]:
        """Rows of the quantize and dequantize operators that the placement needs."""
        present = table.calls > 0
        nodes = self.choices.graph.nodes
        rows: list[tuple[int, int]] = []
        shape_of = self.shape_rows
        for name in placement.inputs:
            if name in shape_of and (shape_of[name] < 0 or present[shape_of[name]]):
                rows.append((shape_of[name], KIND["quantize"]))
        layers = {self.choices.graph.node_of[n] for n in self.choices.layers}
        for name in placement.anchors:
            float_users = [
                u for u in nodes[name].users
                if u.name not in placement.glue and u.name not in placement.anchors
                and not (u.name in layers and self._is_int8(table, u.name))
            ]  # fmt: skip
            if float_users and name in shape_of and shape_of[name] >= 0 and present[shape_of[name]]:
                rows.append((shape_of[name], KIND["dequantize"]))
        columns = {k: np.ones(len(rows), dtype=np.int64) for k in table.columns}
        for j, (r, kind) in enumerate(rows):
            columns["kind"][j] = kind
            columns["bias"][j] = columns["activation"][j] = columns["shared"][j] = columns["entries"][j] = 0
            columns["w_bits"][j] = columns["a_bits"][j] = 8
            c, h, w = self.choices.graph.input_shape[:3] if r < 0 else (table.c_out[r], table.h_out[r], table.w_out[r])
            for side in ("in", "out"):
                columns[f"c_{side}"][j], columns[f"h_{side}"][j], columns[f"w_{side}"][j] = c, h, w
        return columns

    def _is_int8(self, table: LayerTable, node: str) -> bool:
        name = self.choices.graph.node_names[node]
        return bool(table.w_bits[table.names.index(name)] < FLOAT)

    @property
    def shape_rows(self) -> dict[str, int]:
        """Node -> row whose output has its shape (its own, or that of the layer it is fused into); -1 for the input."""
        if not hasattr(self, "_shapes"):
            graph = self.choices.graph
            index = {n: i for i, n in enumerate(graph.layers.names)}
            shapes: dict[str, int] = {}
            for node in graph.module.graph.nodes:
                if node.op == "placeholder":
                    shapes[node.name] = -1
                elif node.name in graph.node_names:
                    shapes[node.name] = index[graph.node_names[node.name]]
                elif node.op == "call_function":
                    ups = [shapes[n.name] for n in node.all_input_nodes if n.name in shapes]
                    if ups:
                        shapes[node.name] = ups[0]
            self._shapes = shapes
        return self._shapes


def _with(design: Designs, change: dict[int, int]) -> Designs:
    out = design.copy()
    for i, k in change.items():
        out[i] = k
    return out

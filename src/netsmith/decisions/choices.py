"""What can be chosen about a given network: channels of each group, presence of each branch, bits of each layer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import fx

from netsmith.compression.branches import Branch
from netsmith.compression.channels import ChannelGroup, GroupReport
from netsmith.compression.kept import widths
from netsmith.compression.placement import layer_inputs, quantizable
from netsmith.compression.whole import takes_whole
from netsmith.decisions.between import A_BITS as A_BITS
from netsmith.decisions.between import BITS as BITS
from netsmith.decisions.between import W_BITS as W_BITS
from netsmith.decisions.between import IntegerPlacement
from netsmith.decisions.search_space import Storage
from netsmith.errors import InputError
from netsmith.export.packed import Scheme
from netsmith.network.graph import Graph
from netsmith.network.layers import FLOAT, KIND, LayerTable
from netsmith.space import Decision, Space

Designs = NDArray[np.int64]
FloatArray = NDArray[np.float64]

WIDTH, DEPTH = "channels", "branch"
KEEP, DROP = "keep", "drop"

Pairs = Sequence[tuple[int, int]]


WIDTHS = 8  #: channel counts of a group to choose from, unless the user asks for more


def group_widths(group: ChannelGroup, multiple: int, count: int = WIDTHS) -> tuple[int, ...]:
    """At most ``count`` channel counts, ascending: equal shares of the group in steps that the target likes."""
    if count < 2:
        raise InputError(f"a group with {count} widths leaves nothing to choose: ask for 2 or more")
    every = widths(group.channels, multiple, unit=group.unit)
    return every if len(every) <= count else widths(
        group.channels, multiple, [i / count for i in range(1, count)], group.unit
    )  # fmt: skip


@dataclass(frozen=True)
class Choices:
    """The decisions of one network and what they do to its layer table.

    Attributes:
        decisions: ``GROUP.channels``, ``BRANCH.branch`` and ``LAYER.bits`` (or ``LAYER.w_bits`` and
            ``LAYER.a_bits``); the last choice is the network as given, at the widest bits there are.
        graph: the network as given.
        groups, branches, layers: what the decisions are about, in the order of the space.
        scheme: how weights of few bits are stored: on a grid, or as indices into a codebook of their layer. Layers with
            codebooks compute in floating point, whatever their ``w_bits``.
        weighty: paths of all convolutions and linear layers of the network, whether or not they are rows.
    """

    decisions: Space
    graph: Graph
    groups: tuple[ChannelGroup, ...]
    branches: tuple[Branch, ...]
    layers: tuple[str, ...]
    scheme: Scheme = "linear"
    weighty: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, graph: Graph, report: GroupReport, branches: Sequence[Branch], *, prune: bool = True,
        quantize: bool = True, multiple: int = 1, bits: Pairs = ((8, 8), (32, 32)), pinned: Sequence[str] = (),
        scheme: Scheme = "linear", widths: int = WIDTHS,
    ) -> Choices:  # fmt: skip
        """The choices for a network.

        Args:
            graph: the traced network.
            report: its channel groups; groups and branches are used only if ``prune``.
            branches: its removable branches.
            multiple: granularity of channel counts that the target likes.
            bits: (weight, activation) widths to choose from. Where they are equal in every pair, a layer has one
                decision for both; otherwise every combination is allowed and it has two, weights first. Where
                activations are floats in every pair, only the weights have one.
            pinned: layers that keep the widest bits.
            scheme: how weights of few bits are stored.
            widths: most channel counts of a group; where its multiples are fewer, all of them.
        """
        offered = {g.name: group_widths(g, multiple, widths) for g in report.groups} if prune else {}
        groups = tuple(g for g in report.groups if len(offered.get(g.name, ())) > 1)
        drops = tuple(branches) if prune else ()
        layers = tuple(quantizable(graph)) if quantize else ()
        sides = [(BITS, 0)] if all(w == a for w, a in bits) else [(W_BITS, 0), (A_BITS, 1)]
        if sides[0][0] == W_BITS and all(a == FLOAT for _, a in bits):
            del sides[1]
        widths_of = {kind: tuple(sorted({pair[side] for pair in bits})) for kind, side in sides}
        decisions = [Decision(f"{g.name}.{WIDTH}", WIDTH, offered[g.name]) for g in groups]
        decisions += [Decision(f"{b.name}.{DEPTH}", DEPTH, (DROP, KEEP)) for b in drops]
        decisions += [
            Decision(f"{n}.{kind}", kind, widths_of[kind][-1:] if n in pinned else widths_of[kind])
            for n in layers
            for kind, _ in sides
        ]
        space = Space(tuple(decisions), _shared_inputs(graph, decisions))
        return cls(space, graph, groups, drops, layers, scheme, frozenset(report.counts))

    @property
    def reference(self) -> Designs:
        """The design that changes nothing, ``(D,)``."""
        return self.decisions.sizes - 1

    @cached_property
    def values(self) -> FloatArray:
        """``(D, K)`` numeric value of each choice (kept channels, 0/1 for a branch, bits), padded with the last one."""
        k = int(self.decisions.sizes.max()) if len(self.decisions) else 1
        out = np.zeros((len(self.decisions), k))
        for d, decision in enumerate(self.decisions.decisions):
            v = [float(c == KEEP) if decision.kind == DEPTH else float(c) for c in decision.choices]
            out[d] = v + [v[-1]] * (k - len(v))
        return out

    @cached_property
    def table(self) -> LayerTable:
        """The layer table of the network as given."""
        return self.graph.layers

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.table.names)}

    @cached_property
    def coupling(self) -> tuple[FloatArray, FloatArray]:
        """``(D, R)`` each: input and output channels that row r loses for each channel that decision d removes."""
        c_in, c_out = np.zeros((2, len(self.decisions), len(self.table)))
        for d, group in enumerate(self.groups):
            for members, side in ((group.inputs, c_in), (group.outputs, c_out)):
                for m in members:
                    for row in self._calls(m.layer):
                        side[d, row] += len(m.index) / group.channels
        depthwise = self.table.is_depthwise
        c_in[:, depthwise] = np.maximum(c_in[:, depthwise], c_out[:, depthwise])
        for r, sources in self._sources.items():
            total = sum(int(self.table.c_out[s]) for s in sources) or 1
            follow = sum((c_out[:, s] for s in sources), np.zeros(len(self.decisions)))
            c_in[:, r] = follow * self.table.c_in[r] / total
            c_out[:, r] = follow * self.table.c_out[r] / total
            if self._pads(r):
                c_out[:, r] = c_in[:, r] + self._padded(r)
            if r in self._operands:
                parts = ~self.whole[:, r]
                c_in[parts, r], c_out[parts, r] = self._parts(r, self._operands[r], c_out)[:, parts]
        return c_in, c_out

    def _pads(self, r: int) -> bool:
        """Whether row ``r`` lays channels beside those that it hands on."""
        return bool(self.table.kind[r] == KIND["pad"] and self.table.c_out[r] > self.table.c_in[r])

    def _padded(self, r: int) -> FloatArray:
        """``(D,)``: channels of those that row ``r`` adds that leave with each channel that a decision removes."""
        module, lost = self.table.names[r].rpartition("/")[0], np.zeros(len(self.decisions))
        for d, group in enumerate(self.groups):
            lost[d] = sum(len(end.root) for end in group.padded if end.layer == module) / group.channels
        return lost

    def _parts(self, r: int, operands: Sequence[Sequence[int]], c_out: FloatArray) -> FloatArray:
        """``(2, D)``: what a product of two activations loses with parts of heads: of the sum that is contracted where
        both operands lose them, else of its result. Nothing where that is not plain, so that no cost is too low."""
        lost = np.zeros((2, len(self.decisions)))
        sizes = [sum(int(self.table.c_out[s]) for s in some) for some in operands]
        if len(operands) == 2:
            a, b = (sum((c_out[:, s] for s in some), np.zeros(len(self.decisions))) for some in operands)
            if sizes[0] == sizes[1] == self.table.c_in[r]:
                lost[0] = np.where((a > 0) & (b > 0), a, 0)
            if sizes[1] == self.table.c_out[r]:
                lost[1] = np.where(a == 0, b, 0)
        return lost

    @cached_property
    def whole(self) -> NDArray[np.bool_]:
        """``(D, R)``: whether what a decision removes of a row with groups (or heads) are whole ones."""
        out = np.ones((len(self.decisions), len(self.table)), dtype=bool)
        groups, names = self.table.groups, self.table.names
        for r in np.flatnonzero((groups > 1) | (self.table.kind == KIND["matmul"])):
            sizes = [int(self.table.c_in[r] // groups[r])] * 3
            operands = self._operands.get(int(r), [[int(r)]])
            if len(operands) == 2 and not any(names[s].split("#")[0] in self.weighty for s in operands[0]):
                sizes[1] = int(self.table.c_out[r] // groups[r])  # values, of which the second product keeps the width
            layers = [(names[s].split("#")[0], per) for some, per in zip(operands, sizes, strict=False) for s in some]
            for d, group in enumerate(self.groups):
                own = [at for at in layers if any(m.layer == at[0] for m in (*group.inputs, *group.outputs))]
                out[d, r] = all(takes_whole(group, *at) for at in own) and not (own and groups[r] == 1)
        return out

    def _calls(self, layer: str) -> list[int]:
        return [i for n, i in self._rows.items() if n == layer or n.startswith(f"{layer}#")]

    @property
    def _sources(self) -> dict[int, list[int]]:
        """Row without weights -> rows whose output channels it has (several behind a concatenation): of layers, or of
        what pads channels."""
        return self._followed[0]

    @property
    def _operands(self) -> dict[int, list[list[int]]]:
        """Row of a product of activations -> for each operand the compute rows whose output channels it has."""
        return self._followed[1]

    @cached_property
    def _followed(self) -> tuple[dict[int, list[int]], dict[int, list[list[int]]]]:
        nodes, row_of = self.graph.nodes, self.graph.node_names
        found: dict[str, list[int]] = {}

        def sources(node: fx.Node) -> list[int]:
            row = self._rows.get(row_of.get(node.name, ""), -1)
            if row >= 0 and self.table.is_compute[row]:
                return [row]
            return found.get(node.name, [])

        out: dict[int, list[int]] = {}
        operands: dict[int, list[list[int]]] = {}
        for node in nodes.values():
            if node.op != "call_function":
                continue
            row = self._rows.get(row_of.get(node.name, ""), -1)
            inputs = [s for s in (sources(n) for n in node.all_input_nodes) if s]
            concat = row >= 0 and self.table.kind[row] == KIND["concat"]
            found[node.name] = [s for i in inputs for s in i] if concat else (inputs[0] if inputs else [])
            product = row >= 0 and self.table.kind[row] == KIND["matmul"]
            if product and inputs:
                out[row], operands[row] = inputs[0], inputs
            elif row >= 0 and not self.table.is_compute[row] and found[node.name]:
                out[row] = found[node.name]
                if self._pads(row):  # from here on channels are counted with those that it adds
                    found[node.name] = [row]
        return out, operands

    @cached_property
    def presence(self) -> NDArray[np.int64]:
        """``(R,)`` decision whose branch holds the row, or -1; the addition behind a branch goes with it."""
        out = np.full(len(self.table), -1)
        for i, branch in enumerate(self.branches):
            for name in self._vanishing(branch):
                row = self._rows.get(self.graph.node_names.get(name, ""), -1)
                if row >= 0:
                    out[row] = len(self.groups) + i
        return out

    def _vanishing(self, branch: Branch) -> set[str]:
        """Nodes that a dropped branch leaves without use: its own, and the addition that joined it."""
        nodes = list(self.graph.module.graph.nodes)
        own = {self.graph.node_of[n] for n in self._rows if _is_part(n, branch.layers)}
        node = next((n for n in reversed(nodes) if n.name in own), None)
        if node is None:
            return set()
        dead = {node}
        while len(node.users) == 1:
            node = next(iter(node.users))
            if sum(n.op != "get_attr" for n in node.all_input_nodes) > 1:
                break
            dead.add(node)
        for n in reversed(nodes):  # the addition itself stays alive here: it is what keeps the shortcut in use
            if n.op == "call_function" and n.users and all(u in dead for u in n.users):
                dead.add(n)
        return {n.name for n in dead} | {node.name}

    @property
    def is_mixed(self) -> bool:
        """Whether weights have widths of their own."""
        return bool(self.layers) and self.decisions.decisions[-1].kind != BITS

    @property
    def has_floats(self) -> bool:
        """Whether layers may be integers or stay in floating point, as a design says."""
        return not self.layers or self.decisions.decisions[-1].choices[-1] == FLOAT

    @property
    def _kinds(self) -> tuple[str, ...]:
        """Kinds of the decisions about the bits of one layer, in their order."""
        first = len(self.groups) + len(self.branches)
        count = (len(self.decisions) - first) // max(len(self.layers), 1)
        return tuple(d.kind for d in self.decisions.decisions[first : first + count])

    @cached_property
    def precision(self) -> NDArray[np.int64]:
        """``(2, R)`` decisions that set the bits of a row's weights and of its input, or -1."""
        out = np.full((2, len(self.table)), -1)
        first, kinds = len(self.groups) + len(self.branches), self._kinds
        for i, layer in enumerate(self.layers):
            for j, kind in enumerate(kinds):
                sides = {BITS: (0, 1), W_BITS: (0,), A_BITS: (1,)}[kind]
                out[sides, self._rows[layer]] = first + i * len(kinds) + j
        return out

    def layer_of(self, decision: int) -> str:
        """The layer whose bits a decision sets."""
        return self.layers[(decision - len(self.groups) - len(self.branches)) // len(self._kinds)]

    def columns(self, designs: Designs, rows: Sequence[int] | NDArray[np.int64] | None = None) -> LayerTable:
        """Layer tables of designs ``(N, D)`` as arrays ``(N, R)``; rows of dropped branches have no ``calls``.

        Conversions between integer and floating point are not rows here; they depend on the placement.

        Args:
            rows: only these, ``(R,)``.
        """
        at = np.arange(len(self.table)) if rows is None else np.asarray(rows)
        given = self.table if rows is None else self.table.take(at)
        designs = np.atleast_2d(designs)
        value = (
            self.values[np.arange(len(self.decisions)), designs] if len(self.decisions) else np.zeros((len(designs), 0))
        )
        width = np.array([d.kind == WIDTH for d in self.decisions.decisions], dtype=bool)
        full = self.values[np.arange(len(self.decisions)), self.reference] if len(self.decisions) else np.zeros(0)
        removed = np.where(width, full - value, 0.0)
        into, out_of = (side[:, at] for side in self.coupling)
        c_in = np.maximum(1, given.c_in - np.rint(removed @ into)).astype(np.int64)
        c_out = np.maximum(1, given.c_out - np.rint(removed @ out_of)).astype(np.int64)
        # grouped convolutions lose whole groups or channels of each, products whole heads or parts of each
        share = 1 - removed @ (into * self.whole[:, at]) / np.maximum(given.c_in, 1)
        groups = np.where(given.groups > 1, np.maximum(1, np.rint(given.groups * share)), 1).astype(np.int64)
        one = np.ones((len(designs), 1))
        w_bits, a_bits = np.moveaxis(np.concatenate([value, one * FLOAT], axis=1)[:, self.precision[:, at]], 1, 0)
        present = np.concatenate([value, one], axis=1)[:, self.presence[at]] > 0
        calls = given.calls * present
        return given.replace(c_in=c_in, c_out=c_out, groups=groups, w_bits=w_bits, a_bits=a_bits, calls=calls)

    def rows(self, designs: Designs, at: Sequence[int] | NDArray[np.int64] | None = None) -> LayerTable:
        """:meth:`columns`, as a search space has it."""
        return self.columns(designs, at)

    def depends(self) -> NDArray[np.bool_]:
        """``(D, R)``: which decisions change which rows."""
        into, out_of = self.coupling
        out = np.asarray((into + out_of) > 0)
        rows = np.arange(len(self.table))
        for decision in (self.presence, *self.precision):
            out[decision[decision >= 0], rows[decision >= 0]] = True
        return out

    def deciding(self, row: int) -> list[int]:
        """Decisions that a row depends on, the most important first."""
        into, out_of = self.coupling
        rest = [int(x) for x in dict.fromkeys([*self.precision[:, row], self.presence[row]]) if x >= 0]
        wide = np.argsort(-(into[:, row] + 1.001 * out_of[:, row]), kind="stable")
        return rest + [int(d) for d in wide if into[d, row] + out_of[d, row] > 0]

    @cached_property
    def between(self) -> IntegerPlacement:
        """What lies between layers."""
        return IntegerPlacement(self, self.graph)

    @cached_property
    def storage(self) -> Storage:
        """How the network is stored."""
        return Storage.of(self.graph, self.scheme)

    def bits(self, design: Designs) -> dict[str, tuple[int, int]]:
        """(Weight, activation) widths of the layers of one design whose weights have few bits, and that are present."""
        table = self.columns(design)
        return {
            n: (int(table.w_bits[0, i]), int(table.a_bits[0, i]))
            for i, n in enumerate(table.names)
            if table.w_bits[0, i] < FLOAT and table.calls[0, i]
        }

    def kept(self, design: Designs) -> dict[str, int]:
        """Group -> kept channels, for the groups that shrink and are not in a dropped branch."""
        out = {}
        for d, group in enumerate(self.groups):
            n = int(self.values[d, design[d]])
            if n < group.channels:
                out[group.name] = n
        return out

    def canonical(self, design: Designs) -> Designs:
        """The same network with the choices inside dropped branches reset, so that equal networks are equal designs."""
        out = np.array(design, dtype=np.int64)
        gone = {layer for b in self.dropped(out) for layer in b.layers}
        for d, group in enumerate(self.groups):
            weighty = [m.layer for m in group.outputs if m.layer in self.weighty]
            if weighty and all(layer in gone for layer in weighty):
                out[d] = self.reference[d]
        first = len(self.groups) + len(self.branches)
        absent = {d for d in range(first, len(out)) if _is_part(self.layer_of(d), gone)}
        out[list(absent)] = self.reference[list(absent)]
        for tied in self.decisions.tied:
            present = [d for d in tied if d not in absent]
            out[list(tied)] = out[(present or list(tied))[0]]
        return out

    def dropped(self, design: Designs) -> list[Branch]:
        """Branches that the design removes."""
        first = len(self.groups)
        return [b for i, b in enumerate(self.branches) if self.values[first + i, design[first + i]] == 0]


def _is_part(row: str, layers: Collection[str]) -> bool:
    """Whether a row is a call of one of these modules, or of what one holds: attention is many rows."""
    name = row.split("#")[0]
    return any(name == layer or name.startswith((f"{layer}.", f"{layer}/")) for layer in layers)


def _shared_inputs(graph: Graph, decisions: Sequence[Decision]) -> tuple[tuple[int, ...], ...]:
    """Groups of decisions about the width of one and the same tensor."""
    readers: dict[tuple[str, int], list[int]] = {}
    for d, decision in enumerate(decisions):
        if decision.kind == A_BITS:
            layer = decision.name.removesuffix(f".{A_BITS}")
            source = layer_inputs(graph, [layer])[layer]
            readers.setdefault((source, len(decision.choices)), []).append(d)
    return tuple(tuple(group) for group in readers.values() if len(group) > 1)

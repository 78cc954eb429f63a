"""What lies in memory while a traced network runs one sample: its activations, step by step, in the order of its graph.

That is the order of the nodes in the exported file. Weights are not counted: they are read from where they are stored.
What is counted follows what runtimes do (ONNX Runtime's allocation planner, and those of microcontrollers):

- the input and the output count, and so does everything that a step reads or writes, while it runs;
- a reshape is another view of the same numbers; what moves numbers (a transpose, a slice, a split, a padding) writes a
  tensor of its own;
- a rectifier behind a convolution, linear layer or addition is executed within it, and what it reads never exists;
- element-wise operators write in the place of an operand of the same size that nothing reads later;
- a SiLU is two operators, a sigmoid and a product, as it is in the exported file;
- where layers run in 8-bit integers, tensors lie as :mod:`netsmith.compression.placement` has them, and a conversion is
  a step that reads one form and writes the other: to integers as soon as the numbers are there, back to floating
  point where they are first read so;
- the scores of an attention are a tensor, as they are in the exported file.

What an operator needs for itself while it runs (a workspace to unfold a convolution, say) is the runtime's own affair.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from netsmith.compression.placement import Placement
from netsmith.compression.timeline import Form, Timeline, Value
from netsmith.network.graph import Graph
from netsmith.network.layers import KIND, LayerTable
from netsmith.network.liveness import Step, lifetimes
from netsmith.network.passes import CONVS
from netsmith.network.rows import ACTIVATION_OPS, activation_of, fused_activation

aten = torch.ops.aten
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Views: other shapes of the same numbers in the same order.
_VIEWS = frozenset((
    aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.flatten.using_ints,
    aten.unflatten.int, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default,
    aten.contiguous.default, aten.alias.default, aten.detach.default, aten.clone.default, aten.view_as.default,
    aten.reshape_as.default, aten.dropout.default, aten.lift_fresh_copy.default,
))  # fmt: skip
_MOVES = (aten.permute.default, aten.transpose.int)
_FUSING = (*CONVS, aten.linear.default, aten.add.Tensor, aten.sub.Tensor)
_ATTENTION = aten.scaled_dot_product_attention.default
_SCORES, _GATE = " (scores)", " (sigmoid)"  #: of a node that runs in two steps, what the first yields


@dataclass(frozen=True)
class _Operator:
    """A node and the values around it; ``alias`` where it yields its first operand, in another shape or as it is."""

    node: fx.Node
    row: int
    operands: tuple[tuple[int, str], ...]  #: values, and the nodes that stand for them here
    yields: tuple[int, ...]
    alias: bool = False
    over: tuple[int, ...] = ()
    part: str = ""  #: of the node, where it runs in several


class Activations:
    """The values of a traced network and what reads them.

    Args:
        order: names of the graph's nodes in the order in which they run; by default as they are in the graph.
        sums_in_place: whether operators of two tensors, additions above all, write in the place of one. ONNX Runtime's
            do not, but it executes most additions within a convolution, where they do.
    """

    def __init__(self, graph: Graph, order: Sequence[str] | None = None, sums_in_place: bool = True) -> None:
        self.graph, self.sums_in_place = graph, sums_in_place
        self._index = {name: i for i, name in enumerate(graph.layers.names)}
        nodes = list(graph.module.graph.nodes)
        if order is not None:
            rank = {name: i for i, name in enumerate(order)}
            nodes.sort(key=lambda n: rank[n.name])
        self.values: list[Value] = []
        self.inputs: list[int] = []
        self._of: dict[str, tuple[int, ...]] = {}
        self._fused = {
            sink.name: n.name
            for n in nodes
            if n.op == "call_function" and n.target in _FUSING and (sink := fused_activation(n)) is not None
        }
        self.operators: list[_Operator] = []
        for node in nodes:
            self._read(node)
        out = next(n for n in nodes if n.op == "output")
        self.outputs = [(v, m.name) for m in out.all_input_nodes for v in self._of.get(m.name, ())]

    # --- values ------------------------------------------------------------------------------------------------------

    def _read(self, node: fx.Node) -> None:
        numbers = self.graph.numbers.get(node.name)
        if node.op == "placeholder" and numbers:
            self._of[node.name] = (self._new(node.name, -1, numbers[0], 1.0),)
            self.inputs.append(self._of[node.name][0])
            self.operators.append(_Operator(node, -1, (), self._of[node.name]))
        if node.op != "call_function" or numbers == ():
            return  # constants, and what is no tensor
        sources = [m for m in node.all_input_nodes if self._of.get(m.name)]
        operands = tuple((v, m.name) for m in sources for v in self._of[m.name])
        row = self._index.get(self.graph.node_names.get(node.name, ""), -1)
        if node.target is operator.getitem and operands:
            at = int(node.args[1]) if len(self._of[sources[0].name]) > 1 else 0  # type: ignore[arg-type]
            operands = ((self._of[sources[0].name][at], sources[0].name),)
        if operands and (numbers is None or node.name in self._fused or _is_view(node)):
            self._of[node.name] = operands[0][:1]
            self.operators.append(_Operator(node, row, operands[:1], self._of[node.name], alias=True))
            return
        if numbers is None:
            return
        made = list[int]()
        if node.target is _ATTENTION and row >= 0:
            made.append(self._scores(node, row))
        name, sized = node.name, self._sized(row, numbers, operands)
        yields = tuple(self._new(name, at, n, scale, by) for n, (at, scale, by) in zip(numbers, sized, strict=True))
        if made:
            scores = (made[0], name)
            self.operators.append(_Operator(node, row, operands[:2], (made[0],), part=_SCORES))
            operands = (scores, *operands[2:])
        self._of[name] = yields
        if node.target is aten.silu.default:
            at, scale, by = sized[0]
            gate = self._new(name + _GATE, at, numbers[0], scale, by)
            self.operators.append(_Operator(node, row, operands, (gate,), part=_GATE))
            operands = ((gate, name), *operands)
        over: tuple[int, ...] = ()
        if len(yields) == 1 and _is_elementwise(node) and (self.sums_in_place or len(operands) < 2):
            same = (v for v, _ in operands if abs(self.values[v].numbers - numbers[0]) < 0.5)
            over = tuple(v for v in same if v not in self.inputs)
        self.operators.append(_Operator(node, row, operands, yields, over=over))

    def _new(self, name: str, row: int, numbers: float, scale: float, by: Any = "output") -> int:
        self.values.append(Value(name, row, numbers if row < 0 else scale, numbers, by))
        return len(self.values) - 1

    def _sized(
        self, row: int, numbers: tuple[float, ...], operands: tuple[tuple[int, str], ...]
    ) -> list[tuple[int, float, str]]:
        """What sets the size of each tensor of a node.

        What merely moves numbers, or makes as many of as many, is as large as what it reads, whichever of its axes has
        the channels; else its row says it, if it has one for it.
        """
        table = self.graph.layers
        if row >= 0 and not table.is_compute[row]:
            alike = [self.values[v] for v, _ in operands if abs(self.values[v].numbers - numbers[0]) < 0.5]
            moves = [self.values[v] for v, _ in operands[:1]] if table.kind[row] == KIND["reshape"] else []
            for source in (*alike, *moves):
                return [(source.row, source.scale * n / max(source.numbers, 1.0), source.by) for n in numbers]
        if row >= 0 and len(numbers) == 1:
            written = int(table.c_out[row] * table.h_out[row] * table.w_out[row])
            if written == numbers[0] or not operands:
                return [(row, numbers[0] / max(written, 1), "output")]
        if not operands:
            return [(-1, n, "output") for n in numbers]
        source = self.values[operands[-1][0]]  # of an attention the values, whose width its output has
        return [(source.row, source.scale * n / max(source.numbers, 1.0), source.by) for n in numbers]

    def _scores(self, node: fx.Node, row: int) -> int:
        """The scores of an attention: as many as products of a query and a key, for each head."""
        table = self.graph.layers
        queries, keys = (m.meta["val"].shape for m in node.all_input_nodes[:2])
        tokens = float(int(queries[-2]) * int(keys[-2]))
        heads = float(table.groups[row])
        return self._new(node.name + _SCORES, row, heads * tokens, tokens, "groups")

    # --- a run -------------------------------------------------------------------------------------------------------

    def timeline(
        self, layers: Collection[str] = (), placement: Placement | None = None, gone: BoolArray | None = None,
        integer_input: bool = False,
    ) -> Timeline:  # fmt: skip
        """What lies in memory when.

        Args:
            layers: row names of those that run in 8-bit integers, and ``placement`` where that puts integers; without
                one every value has one form.
            gone: ``(R,)``: rows that are left out: an operator that joins a branch hands on what is left.
            integer_input: the network is handed integers where integer layers alone read its input.
        """
        return _Run(self, layers, placement, gone, integer_input).timeline()

    def program(self, table: LayerTable) -> tuple[list[Step], list[float], list[int]]:
        """The steps of a run in floating point, bytes of the tensors that they read and write, for a table ``(R,)``,
        and which of these are the outputs."""
        run = _Run(self, (), None, None, False)
        timeline = run.timeline()
        sizes = timeline.bytes(table.replace(calls=table.calls[None]))[0]
        return run.steps, [float(sizes[b]) for b in run.buffers], run.ends

    @cached_property
    def compute(self) -> BoolArray:
        return self.graph.layers.is_compute


@dataclass
class _Run:
    """One run, in the making."""

    of: Activations
    layers: Collection[str]
    placement: Placement | None
    gone: BoolArray | None
    integer_input: bool
    steps: list[Step] = field(default_factory=list)
    tensors: list[tuple[Value, Form]] = field(default_factory=list)
    readers: list[list[int]] = field(default_factory=list)
    own: dict[int, int] = field(default_factory=dict)  #: value -> the tensor that it is written as
    converted: dict[tuple[str, Form], int] = field(default_factory=dict)  #: node and form -> the tensor of it
    ends: list[int] = field(default_factory=list)  #: outputs
    buffers: list[int] = field(default_factory=list)  #: of each tensor

    def timeline(self) -> Timeline:
        self._integer = {self.of.graph.node_of[name] for name in self.layers}
        if self.placement is not None:
            self._integer |= self.placement.glue
        for op in self.of.operators:
            self._run(op)
        self.ends = [self._form(v, name, "float", -1) for v, name in self.of.outputs if v in self.own]
        if not self.steps:
            self.steps.append(Step("input", tuple(self.ends), ()))
        buffer, live = lifetimes(len(self.tensors), self.steps, self.ends)
        self.buffers = buffer.tolist()
        held = [list[tuple[Value, Form]]() for _ in range(live.shape[1])]
        rows = [set[int]() for _ in held]
        for tensor, b in enumerate(self.buffers):
            held[b].append(self.tensors[tensor])
            rows[b] |= set(self.readers[tensor])
        return Timeline(
            tuple(s.name for s in self.steps),
            tuple(tuple(h) for h in held),
            live,
            tuple(tuple(sorted(r)) for r in rows),
        )

    def _run(self, op: _Operator) -> None:
        name = op.node.name
        present = [(v, n) for v, n in op.operands if v in self.own]
        if op.operands and not present:
            return
        if op.alias:
            self._convert(op)
            return
        if self.gone is not None and op.row >= 0 and self.gone[op.row]:
            if not self.of.compute[op.row]:  # what joins a branch hands on what is left
                self.own[op.yields[0]] = self.own[present[0][0]]
            return
        if not op.operands:
            form: Form = "integer" if self._is_integer_input(op) else "float"
            for v in op.yields:
                self.own[v] = self._tensor(self.of.values[v], form)
            if op.node.op != "placeholder":
                self.steps.append(Step(name, (), tuple(self.own[v] for v in op.yields)))
            self._convert(op)
            return
        want: Form = "integer" if name in self._integer else "float"
        reads = {v: self._form(v, n, want, op.row) for v, n in present}
        sink = next((s for s, n in self.of._fused.items() if n == name), name)
        made: Form = "integer" if self.placement is not None and sink in self.placement.anchors else "float"
        for v in op.yields:
            self.own[v] = self._tensor(self.of.values[v], made)
        over = tuple(reads[v] for v in op.over if v in reads and self.tensors[reads[v]][1] == made)
        self.steps.append(Step(name + op.part, tuple(reads.values()), tuple(self.own[v] for v in op.yields), over))
        self._convert(op)

    def _tensor(self, value: Value, form: Form) -> int:
        self.tensors.append((value, form))
        self.readers.append([])
        return len(self.tensors) - 1

    def _is_integer_input(self, op: _Operator) -> bool:
        """Whether integer layers alone read an input that may be handed over as integers."""
        if not self.integer_input or self.placement is None:
            return False
        return {u.name for u in op.node.users} <= set(self.placement.inputs.get(op.node.name, ()))

    def _convert(self, op: _Operator) -> None:
        """Write a node's numbers as integers at once where layers read them so."""
        name = op.node.name
        if op.alias:
            self.own[op.yields[0]] = self.own[op.operands[0][0]]
        if self.placement is None or op.part or not op.yields or name not in self.placement.inputs:
            return
        source = self.own[op.yields[0]]
        value, form = self.tensors[source]
        if form == "float":
            copy = self.converted[name, "integer"] = self._tensor(value, "integer")
            self.steps.append(Step(f"{name} (to integers)", (source,), (copy,)))
            self.readers[source].append(-1)

    def _form(self, v: int, node: str, want: Form, reader: int) -> int:
        """The tensor that a reader of a value takes; converted first where it is there in another form."""
        tensor = self.own[v]
        if self.placement is not None and self.tensors[tensor][1] != want:
            if (node, want) in self.converted:
                tensor = self.converted[node, want]
            elif want == "float":
                copy = self._tensor(self.tensors[tensor][0], "float")
                self.steps.append(Step(f"{node} (to floating point)", (tensor,), (copy,)))
                self.readers[tensor].append(-1)
                tensor = self.converted[node, want] = copy
        self.readers[tensor].append(reader)
        return tensor


def _is_view(node: fx.Node) -> bool:
    """Whether a node yields the numbers of its first operand in the same order."""
    if node.target is operator.getitem or node.target in _VIEWS:
        return True
    if node.target not in _MOVES:
        return False
    shape = list(node.all_input_nodes[0].meta["val"].shape)
    axes = list(range(len(shape)))
    given: Any = node.args[1:]
    if node.target is aten.transpose.int:
        a, b = (int(x) % len(shape) for x in given[:2])
        axes[a], axes[b] = axes[b], axes[a]
    else:
        axes = [int(x) % len(shape) for x in given[0]]
    moved = [x for x in axes if isinstance(shape[x], torch.SymInt) or shape[x] != 1]
    return moved == sorted(moved)


def _is_elementwise(node: fx.Node) -> bool:
    """Whether each number that a node yields is made of those at the same place of its operands."""
    if node.target in ACTIVATION_OPS or activation_of(node) is not None:
        return True
    return isinstance(node.target, torch._ops.OpOverload) and torch.Tag.pointwise in node.target.tags

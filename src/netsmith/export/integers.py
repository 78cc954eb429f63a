"""Integer weights in an ONNX file: each layer marks its own while it is exported, and is called by its own name.

An exporter merges equal constants, transposes weights and gives nodes names of its own, so what belongs to which layer
cannot be read off afterwards. A marker between a weight and its layer comes through; then it becomes the integers,
their scale, and the operator that makes numbers of them again, in the form that runtimes fuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import fx

from netsmith.network.fake_quantize import FAKE_QUANTIZE
from netsmith.network.graph import Graph
from netsmith.network.passes import get_parameter

_DOMAIN, _MARKER = "netsmith", "IntegerWeight"
MARKER_OP = "onnx_symbolic::_symbolic"  #: the operator of torch that marks
_TOP_4, _TOP_8, _TOP_32 = 7, 127, 2**31 - 1
OPSET_4 = 21  #: the first with 4-bit integers


@dataclass(frozen=True)
class IntegerLayer:
    """A layer whose weight is stored as integers.

    Attributes:
        name: of its row in the layer table.
        scale: ``(C_out,)`` steps of its weight.
        input_scale: step of what it reads.
        narrow: whether 4 bits hold its weight.
    """

    name: str
    scale: NDArray[np.float32]
    input_scale: float
    narrow: bool


def mark_integers(graph: Graph, scales: Mapping[str, torch.Tensor]) -> tuple[fx.GraphModule, list[IntegerLayer]]:
    """A copy of a quantized graph with a marker behind the weight of each layer that reads and holds integers.

    Args:
        graph: ``QuantizedGraph.graph``.
        scales: parameter name -> ``(C_out,)`` scale of its weight.
    """
    found: list[IntegerLayer] = []
    if not scales:
        return graph.module, found
    marked = graph.copy()
    nodes = marked.nodes
    for row, name in graph.node_of.items():
        x, weight = (*nodes[name].args[:2], None, None)[:2]
        if not (isinstance(x, fx.Node) and x.target is FAKE_QUANTIZE and isinstance(weight, fx.Node)):
            continue
        scale = scales.get(str(weight.target)) if weight.op == "get_attr" else None
        if scale is None:
            continue
        top = get_parameter(graph.module, str(weight.target)).detach().abs().flatten(1).amax(dim=1) / scale
        largest = float(top.max())
        if largest > _TOP_8 + 0.5:
            continue
        with marked.module.graph.inserting_before(nodes[name]):
            marker = marked.module.graph.call_function(_mark, (weight, len(found)))
        nodes[name].replace_input_with(weight, marker)
        step = scale.detach().numpy().astype(np.float32)
        found.append(IntegerLayer(row, step, float(x.args[1]), largest < _TOP_4 + 0.5))  # type: ignore[arg-type]
    marked.module.recompile()
    return marked.module, found


def _mark(weight: torch.Tensor, layer: int) -> torch.Tensor:
    return torch.onnx.ops.symbolic(
        f"{_DOMAIN}::{_MARKER}", (weight,), {"layer": layer}, dtype=weight.dtype, shape=weight.shape, version=1
    )


def write_integers(model: onnx.ModelProto, layers: list[IntegerLayer], integer_bias: bool) -> None:
    """Replace the markers in a model by integers; the node of each layer gets the layer's name.

    Args:
        layers: as :func:`mark_integers` gave them.
        integer_bias: store biases as integers on the grid of their products; else they are added behind their layer.
    """
    if layers:
        _Writer(model, layers, integer_bias).write()
        kept = [o for o in model.opset_import if o.domain != _DOMAIN]
        del model.opset_import[:]
        model.opset_import.extend(kept)


def integer_weights(model: onnx.ModelProto) -> dict[str, str]:
    """Layer -> name of the constant that holds its integers, for the layers of a model that have such weights."""
    constants = {i.name for i in model.graph.initializer}
    makers = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    held = {n.name: makers.get(n.input[1], "") for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")}
    return {layer: weight for layer, weight in held.items() if weight in constants}


@dataclass
class _Writer:
    model: onnx.ModelProto
    layers: list[IntegerLayer]
    integer_bias: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    made: dict[tuple[Any, ...], str] = field(default_factory=dict)  #: what is stored -> name of its numbers

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.opset = next(o.version for o in self.model.opset_import if not o.domain)
        self.tensors = {i.name: i for i in graph.initializer}
        self.names = set(self.tensors) | {o for n in graph.node for o in n.output} | {i.name for i in graph.input}

    def write(self) -> None:
        """Layers are found by what the marker, perhaps transposed on its way, ends in."""
        graph = self.model.graph
        marked: dict[str, tuple[IntegerLayer, str, tuple[int, ...]]] = {}
        for node in graph.node:
            if node.domain == _DOMAIN and node.op_type == _MARKER:
                layer = self.layers[helper.get_node_attr_value(node, "layer")]
                rank = len(self.tensors[node.input[0]].dims)
                marked[node.output[0]] = layer, node.input[0], tuple(range(rank))
            elif node.op_type == "Transpose" and node.input[0] in marked:
                layer, name, axes = marked[node.input[0]]
                order = helper.get_node_attr_value(node, "perm")
                marked[node.output[0]] = layer, name, tuple(axes[i] for i in order)
            elif len(node.input) > 1 and node.input[1] in marked:
                self._layer(node, *marked[node.input[1]])
            else:
                self.nodes.append(node)
        del graph.node[:]
        graph.node.extend(self.nodes)

    def _layer(self, node: onnx.NodeProto, layer: IntegerLayer, weight: str, axes: tuple[int, ...]) -> None:
        node.name = layer.name
        value = numpy_helper.to_array(self.tensors[weight]).transpose(axes)
        narrow = self.opset >= OPSET_4 and layer.narrow
        node.input[1] = self._integers(
            f"{layer.name}.weight", value, layer.scale, ml_dtypes.int4 if narrow else np.int8, _TOP_8, axes.index(0)
        )
        self.nodes.append(node)
        if node.op_type == "MatMul" or len(node.input) < 3 or not node.input[2]:
            return
        bias = numpy_helper.to_array(self.tensors[node.input[2]])
        if self.integer_bias:
            step = (layer.scale.astype(np.float64) * layer.input_scale).astype(np.float32)
            del self.nodes[-1]
            node.input[2] = self._integers(f"{layer.name}.bias", bias, step, np.int32, _TOP_32, 0)
            self.nodes.append(node)
        else:
            self.nodes.append(self._bias_behind(node, layer, bias))

    def _bias_behind(self, node: onnx.NodeProto, layer: IntegerLayer, bias: NDArray[Any]) -> onnx.NodeProto:
        """Take the bias out of a layer; the addition that stands in for it."""
        axes = max(len(a.ints) for a in node.attribute if a.name == "kernel_shape") if node.op_type == "Conv" else 0
        name, out = self._store(f"{layer.name}.bias_behind", bias.reshape(-1, *[1] * axes)), node.output[0]
        del node.input[2]
        node.output[0] = self._fresh(f"{out}_without_bias")
        return helper.make_node("Add", [node.output[0], name], [out], name=name)

    def _integers(
        self, name: str, value: NDArray[Any], scale: NDArray[np.float32], dtype: Any, limit: int, axis: int
    ) -> str:
        """Store a value as integers with steps along an axis, once for all who share it; the name of its numbers."""
        shape = [1] * value.ndim
        shape[axis] = -1
        q = np.clip(np.round(value.astype(np.float64) / scale.astype(np.float64).reshape(shape)), -limit, limit)
        q = q.astype(dtype)
        key = q.tobytes(), scale.tobytes(), str(q.dtype), q.shape, axis
        if key not in self.made:
            inputs = [
                self._store(f"{name}_q", q), self._store(f"{name}_scale", scale),
                self._store(f"{name}_zero", np.zeros(scale.shape, dtype)),
            ]  # fmt: skip
            self.made[key] = self._fresh(f"{name}_dequantized")
            self.nodes.append(
                helper.make_node("DequantizeLinear", inputs, [self.made[key]], name=self.made[key], axis=axis)
            )
        return self.made[key]

    def _store(self, name: str, value: NDArray[Any]) -> str:
        fresh = self._fresh(name)
        self.model.graph.initializer.append(numpy_helper.from_array(value, fresh))
        return fresh

    def _fresh(self, name: str) -> str:
        """The name, or with a number where another value has it already."""
        fresh, n = name, 2
        while fresh in self.names:
            fresh, n = f"{name}_{n}", n + 1
        self.names.add(fresh)
        return fresh

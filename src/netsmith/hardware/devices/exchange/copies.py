"""ONNX models of one layer for any runtime: several copies of it, each behind a producer of its own.

The time of a layer is that of a model with it less that of the same model without it, over the number of copies. So
the call, the feeds, the producers and the ends, which are in both, cancel. Every copy has weights of its own and an
output of its own, so that a compiler can neither merge copies nor drop them; an output is one value a channel, so that
it costs next to nothing to return. Integer layers are quantized in the QDQ form.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from netsmith.hardware.measured.fragments import Fragments
from netsmith.hardware.table.keys import ENTRY, Key
from netsmith.network.layers import KINDS

#: Oldest opset in which an operator has the form that is used here; 13 for all others.
_SINCE = {"HardSwish": 14, "BatchNormalization": 15, "LayerNormalization": 17, "ReduceMean": 18, "Gelu": 20}
_IR_VERSION = 8
_ON_MAPS = (
    "conv",
    "conv_transpose",
    "add",
    "mul",
    "activation",
    "maxpool",
    "avgpool",
    "concat",
    "norm",
    "pad",
    "reshape",
)


class Copies(Fragments):
    """Fragments that any ONNX runtime can run, and their counterparts without the layer."""

    closes: ClassVar[bool] = False
    behind: ClassVar[tuple[str, ...]] = ("conv", "add", "mul", "activation", "maxpool", "avgpool", "concat")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.size: tuple[int, int] | None = None  #: of the maps that end here, None for other tensors
        self.integers: dict[str, str] = {}  #: dequantized tensor -> what it was dequantized from
        self.before: dict[str, str] = {}  #: quantized tensor -> the floats that it was made of
        self.inputs_of_layer: list[str] = []

    def source(self, shape: tuple[int, ...], integer: bool) -> str:
        from onnx import TensorProto

        name = f"input_{'x'.join(map(str, shape))}"
        self.inputs[name] = (TensorProto.FLOAT, shape)
        # differs from copy to copy but not in its result, and cannot be folded into the layer
        x = self.op("Max", name, self.constant(np.array(-100.0 - self.count, dtype=np.float32)))
        return self.quantize(x) if integer else x

    def quantize(self, x: str, *scale_and_zero: Any) -> str:
        out = super().quantize(x, *scale_and_zero)
        self.before[out] = x
        return out

    def dequantize(self, x: str, *scale_and_zero: Any) -> str:
        out = super().dequantize(x, *scale_and_zero)
        self.integers[out] = x
        return out

    def sink(self, x: str, rank: int, integer: bool, whole: bool = False) -> None:
        from onnx import TensorProto

        kind = TensorProto.FLOAT
        if whole:
            out = self.op("ReduceMax", x, word="out", keepdims=1)
        elif rank == 4 and self.size is not None:
            # one value of each map, read in whatever layout the maps are in
            x = self.dequantize(x) if integer else x
            out = self.op("MaxPool", x, word="out", kernel_shape=[1, 1], strides=list(self.size))
            out = self.dequantize(self.quantize(out)) if integer else out
        else:
            zeros, ones = (self.constant(np.full(rank, v, dtype=np.int64)) for v in (0, 1))
            out = self.op("Slice", x, zeros, ones, word="out")
            kind = TensorProto.UINT8 if integer else kind
        self.outputs.append((out, kind, rank))
        self.sinks.append(out)

    def with_layer(self, key: Key) -> None:
        """A copy of the layer behind its producers."""
        self.size = (key.h_out, key.w_out) if KINDS[key.kind] in _ON_MAPS else None
        self.add(key)
        shapes = self._input_shapes(key, self._input_shape(key))
        for x, shape in zip(self.inputs_of_layer[1:], shapes[1:], strict=True):  # as many ends as without the layer
            self._end(key, x, shape)

    def without_layer(self, key: Key) -> None:
        """The producers of a copy alone."""
        if KINDS[key.kind] == "dequantize":  # a pass over the floats ends the layer; here it ends the source
            self.sink(self.source(self._input_shape(key), False), 4, False, whole=True)
            return
        for x, shape in zip(self.prepared(key)[0], self._input_shapes(key, self._input_shape(key)), strict=True):
            if key.context == ENTRY and key.bits == 8:  # the first layer of a network quantizes its input itself
                x = self.before[self.integers[x]]
            self._end(key, x, shape)

    def prepared(self, key: Key) -> tuple[list[str], int]:
        found = super().prepared(key)
        self.inputs_of_layer = found[0]
        return found

    def _end(self, key: Key, x: str, shape: tuple[int, ...]) -> None:
        self.size = (shape[2], shape[3]) if KINDS[key.kind] in _ON_MAPS and len(shape) == 4 else None
        raw = self.integers.get(x)
        self.sink(x if raw is None else raw, len(shape), raw is not None)


def build(key: Key, copies: int, *, layer: bool) -> tuple[bytes, dict[str, list[int]]]:
    """A serialised model with ``copies`` copies of the layer, or without it, and the shapes of its inputs."""
    parts = Copies(seed=0)
    for _ in range(copies):
        (parts.with_layer if layer else parts.without_layer)(key)
    return serialised(parts), {name: list(shape) for name, (_, shape) in parts.inputs.items()}


def serialised(parts: Fragments) -> bytes:
    """The model of some fragments, at the oldest opset that has their operators."""
    from onnx import helper

    nodes: list[Any] = []
    read = {name for name, _, _ in parts.outputs}
    for node in reversed(parts.nodes):  # runtimes do run what nothing reads
        if read & set(node.output):
            nodes.insert(0, node)
            read |= set(node.input)
    graph = helper.make_graph(
        nodes, "layers",
        [helper.make_tensor_value_info(n, t, s) for n, (t, s) in parts.inputs.items()],
        [helper.make_tensor_value_info(n, t, [None] * r) for n, t, r in parts.outputs],
        [w for w in parts.weights if w.name in read],
    )  # fmt: skip
    opset = max([13, *(_SINCE.get(n.op_type, 13) for n in nodes)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))

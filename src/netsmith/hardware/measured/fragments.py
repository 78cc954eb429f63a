"""A key as a few ONNX nodes: the layer as it stands in a network, between a source and a sink that are not counted.

Floating point convolutions run in a blocked layout. A layer between convolutions therefore stands behind a cheap
depthwise convolution (`prod`) and before one too (`cons`), so that the runtime picks the same kernels, fusions and
reorders as inside a network. A grouped convolution, for one, has no blocked kernel unless its groups fill the blocks,
and pays for leaving the layout and for coming back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from netsmith.hardware.table.keys import BARE, BLOCKED, ENTRY, MIXED, Key
from netsmith.network.layers import ACTIVATIONS, KINDS

OPSET = 20
_SCALE = 0.02


@dataclass
class Fragments:
    """Fragments of one model, gathered.

    Attributes:
        inputs: graph input name to (type, shape); layers of equal input shape share one.
        sinks: name of the sink node of each fragment.
        producers: how many `prod` convolutions each fragment has.
        consumes: whether a fragment ends in a `cons` convolution.
    """

    seed: int = 0
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    inputs: dict[str, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    outputs: list[tuple[str, int, int]] = field(default_factory=list)
    sinks: list[str] = field(default_factory=list)
    producers: list[int] = field(default_factory=list)
    consumes: list[bool] = field(default_factory=list)

    closes: ClassVar[bool] = True  #: whether glue between convolutions ends in a `cons` convolution
    behind: ClassVar[tuple[str, ...]] = ("maxpool", "avgpool")  #: kinds whose integer variants stand behind a `prod`

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.count = 0

    def name(self, word: str) -> str:
        self.count += 1
        return f"{word}_{self.count}"

    def op(self, kind: str, *inputs: str, word: str = "n", domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        out = self.name(word)
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=out, domain=domain, **attributes))
        return out

    def constant(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        out = self.name("w")
        self.weights.append(numpy_helper.from_array(value, out))
        return out

    def weight(self, *shape: int) -> str:
        return self.constant((self.rng.standard_normal(shape) * 0.05).astype(np.float32))

    def source(self, shape: tuple[int, ...], integer: bool) -> str:
        """A tensor that an operator of this run has just written, as in a network."""
        from onnx import TensorProto

        kind = TensorProto.UINT8 if integer else TensorProto.FLOAT
        name = f"{'u8' if integer else 'f32'}_{'x'.join(map(str, shape))}"
        self.inputs[name] = (kind, shape)
        return self.op("BitwiseNot" if integer else "Abs", name, word="src")

    def sink(self, x: str, rank: int, integer: bool, whole: bool = False) -> None:
        """Read one element, so that the runtime may reuse the layer's output at once."""
        from onnx import TensorProto

        if whole:  # a dequantizer would move behind a slice
            out = self.op("ReduceMax", x, word="sink", keepdims=1)
        else:
            zeros, ones = (self.constant(np.full(rank, v, dtype=np.int64)) for v in (0, 1))
            out = self.op("Slice", x, zeros, ones, word="sink")
        self.outputs.append((out, TensorProto.UINT8 if integer else TensorProto.FLOAT, rank))
        self.sinks.append(out)

    def quantize(self, x: str, scale: float = _SCALE, zero: int = 128) -> str:
        s, z = self.constant(np.array(scale, dtype=np.float32)), self.constant(np.array(zero, dtype=np.uint8))
        return self.op("QuantizeLinear", x, s, z)

    def dequantize(self, x: str, scale: float = _SCALE, zero: int = 128) -> str:
        s, z = self.constant(np.array(scale, dtype=np.float32)), self.constant(np.array(zero, dtype=np.uint8))
        return self.op("DequantizeLinear", x, s, z)

    def integer_weight(self, axis: int, *shape: int) -> str:
        """Signed 8-bit weights with a scale a channel."""
        q = self.constant(self.rng.integers(-127, 128, shape, dtype=np.int8))
        s = self.constant(np.full(shape[axis], 0.001, dtype=np.float32))
        z = self.constant(np.zeros(shape[axis], dtype=np.int8))
        return self.op("DequantizeLinear", q, s, z, axis=axis)

    def integer_bias(self, channels: int, scale: float = _SCALE) -> str:
        q = self.constant(self.rng.integers(-100, 100, channels, dtype=np.int32))
        s = self.constant(np.full(channels, scale * 0.001, dtype=np.float32))
        return self.op("DequantizeLinear", q, s, self.constant(np.zeros(channels, dtype=np.int32)), axis=0)

    def depthwise(self, x: str, channels: int) -> str:
        w, b = self.weight(channels, 1, 1, 1), self.weight(channels)
        return self.op("Conv", x, w, b, kernel_shape=[1, 1], group=channels)

    def integer_depthwise(self, x: str, channels: int) -> str:
        w, b = self.integer_weight(0, channels, 1, 1, 1), self.integer_bias(channels)
        return self.op("Conv", x, w, b, kernel_shape=[1, 1], group=channels)

    # ---- layers -----------------------------------------------------------------------------------------------------

    def add(self, key: Key) -> None:
        """Append the fragment of ``key``."""
        kind, integer = KINDS[key.kind], key.bits == 8
        xs, produced = self.prepared(key)
        y, rank = self._layer(kind, key, xs, integer)
        y = self._activation(ACTIVATIONS[key.activation], y) if kind != "activation" else y
        consumes = self.closes and key.context in (BLOCKED, MIXED) and not integer and key.h_out > 1
        if consumes:
            y = self.depthwise(y, key.c_out)
        out_integer = kind == "quantize" or (integer and kind != "dequantize")
        if integer and kind not in ("quantize", "dequantize"):
            # a rectifier vanishes in the clamp of a quantizer that starts at 0, as in a network
            name = ACTIVATIONS[key.activation] if kind != "activation" else ""
            y = self.quantize(y, *{"relu": (_SCALE, 0), "relu6": (6 / 255, 0)}.get(name, (_SCALE, 128)))
        self.sink(y, rank, out_integer, whole=kind == "dequantize")
        self.producers.append(produced)
        self.consumes.append(consumes)

    def prepared(self, key: Key) -> tuple[list[str], int]:
        """The inputs of ``key``'s layer as it reads them in a network, and how many `prod` convolutions they have."""
        kind, integer = KINDS[key.kind], key.bits == 8
        blocked = key.context in (BLOCKED, MIXED) and not integer
        entry = key.context == ENTRY
        produced = 0
        xs: list[str] = []
        for i, s in enumerate(self._input_shapes(key, self._input_shape(key))):
            raw = kind == "dequantize" or (integer and not entry and kind != "quantize")
            x = self.source(s, raw)
            if blocked and (i == 0 or (kind in ("add", "concat") and key.context == BLOCKED)):
                x = self.depthwise(x, s[1])
                produced += 1
            if entry and integer:
                x = self.quantize(x)
            if integer and kind not in ("quantize", "dequantize"):
                x = self.dequantize(x)
            if integer and not entry and kind in self.behind and len(s) == 4:  # there they run channels last
                x = self.dequantize(self.quantize(self.integer_depthwise(x, s[1])))
                produced += 1
            xs.append(x)
        assert len(xs) == (2 if kind in ("add", "mul", "matmul", "concat") else 1)
        return xs, produced

    def _input_shape(self, key: Key) -> tuple[int, ...]:
        if KINDS[key.kind] == "linear" and key.groups > 1:  # a weight of its own for each head
            return (key.groups, key.h_out, key.c_in // key.groups)
        if KINDS[key.kind] == "linear":
            return (1, key.c_in) if key.h_out == 1 else (1, key.h_out, key.c_in)
        return (1, key.c_in, key.h_in, key.w_in)

    def _input_shapes(self, key: Key, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        kind = KINDS[key.kind]
        if kind == "add":
            return [shape, shape]
        if kind == "mul":  # of maps: by one factor a channel, as in squeeze and excite
            return [shape, (1, key.c_in, 1, 1) if key.context == BLOCKED else shape]
        if kind == "concat":
            first = max(1, key.c_in // 2)
            return [(1, first, *shape[2:]), (1, max(1, key.c_in - first), *shape[2:])]
        if kind == "matmul":
            heads = key.groups
            k, n = key.c_in // heads, key.c_out // heads
            return [(1, heads, key.h_out, k), (1, heads, k, n)]
        return [shape]

    def _layer(self, kind: str, key: Key, xs: list[str], integer: bool) -> tuple[str, int]:
        """The operator itself; returns its output and the rank of that."""
        x = xs[0]
        if kind == "conv":
            per_group = key.c_in // key.groups
            shape = (key.c_out, per_group, key.kernel_h, key.kernel_w)
            w = self.integer_weight(0, *shape) if integer else self.weight(*shape)
            b = self.integer_bias(key.c_out) if integer else self.weight(key.c_out)
            y = self.op(
                "Conv", x, w, b, kernel_shape=[key.kernel_h, key.kernel_w], strides=_strides(key), group=key.groups,
                pads=_pads(key),
            )  # fmt: skip
            return y, 4
        if kind == "conv_transpose":
            return self._transposed(key, x), 4
        if kind == "linear" and key.groups > 1:
            return self.op("MatMul", x, self.weight(key.groups, key.c_in // key.groups, key.c_out // key.groups)), 3
        if kind == "linear" and key.h_out == 1:
            w = self.integer_weight(0, key.c_out, key.c_in) if integer else self.weight(key.c_out, key.c_in)
            b = self.integer_bias(key.c_out) if integer else self.weight(key.c_out)
            return self.op("Gemm", x, w, b, transB=1), 2
        if kind == "linear":
            w = self.integer_weight(1, key.c_in, key.c_out) if integer else self.weight(key.c_in, key.c_out)
            return self.op("Add", self.op("MatMul", x, w), self.weight(key.c_out)), 3
        if kind in ("add", "mul", "matmul"):
            return self.op({"add": "Add", "mul": "Mul", "matmul": "MatMul"}[kind], *xs), 4
        if kind == "concat":
            return self.op("Concat", *xs, axis=1), 4
        if kind == "activation":
            return self._activation(ACTIVATIONS[key.activation], x), 4
        if kind == "softmax":
            return self.op("Softmax", x, axis=-1), 4
        if kind == "quantize":
            return self.quantize(x), 4
        if kind == "dequantize":
            return self.dequantize(x), 4
        if kind == "norm":
            return self._norm(key, x), 4
        if kind in ("maxpool", "avgpool"):
            return self._pool(kind, key, x), 4
        return self._move(kind, key, x)

    def _transposed(self, key: Key, x: str) -> str:
        """A transposed convolution; one over other than two dimensions as the convolution of its input that it is."""
        strides, sides = _strides(key), ((key.h_in, key.h_out, key.kernel_h), (key.w_in, key.w_out, key.kernel_w))
        cut = [(size - 1) * s + kernel - out for (size, out, kernel), s in zip(sides, strides, strict=True)]
        if any(c <= -s for c, s in zip(cut, strides, strict=True)) or any(c >= 2 * k for c, (*_, k) in zip(cut, sides)):
            phases = key.c_out * key.kernel_h * key.kernel_w
            weight = self.weight(phases, key.c_in // key.groups, 1, 1)
            return self.op("Conv", x, weight, self.weight(phases), kernel_shape=[1, 1], group=key.groups)
        weight = self.weight(key.c_in, key.c_out // key.groups, key.kernel_h, key.kernel_w)
        half = [max(0, c) // 2 for c in cut]
        return self.op(
            "ConvTranspose", x, weight, self.weight(key.c_out), kernel_shape=[key.kernel_h, key.kernel_w],
            strides=strides, group=key.groups, pads=[*half, *(max(0, c) - h for c, h in zip(cut, half, strict=True))],
            output_padding=[max(0, -c) for c in cut],
        )  # fmt: skip

    def _activation(self, name: str, x: str) -> str:
        if name == "none":
            return x
        if name == "relu6":
            return self.op("Clip", x, *(self.constant(np.array(v, dtype=np.float32)) for v in (0, 6)))
        if name == "silu":
            return self.op("Mul", x, self.op("Sigmoid", x))
        if name == "hardsigmoid":
            return self.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)
        ops = {"relu": "Relu", "hardswish": "HardSwish", "sigmoid": "Sigmoid", "gelu": "Gelu", "tanh": "Tanh"}
        return self.op(ops.get(name, "LeakyRelu"), x)

    def _norm(self, key: Key, x: str) -> str:
        if key.context == BLOCKED:  # a batch norm that could not be folded
            scale = [self.constant(np.ones(key.c_out, dtype=np.float32)) for _ in range(4)]
            return self.op("BatchNormalization", x, *scale)
        weights = [self.constant(np.ones(key.w_out, dtype=np.float32)) for _ in range(2)]
        return self.op("LayerNormalization", x, *weights, axis=-1)

    def _pool(self, kind: str, key: Key, x: str) -> str:
        if (kind == "avgpool" and key.h_out * key.w_out == 1) or (key.kernel_h, key.kernel_w) == (1, 1):
            return self.op("ReduceMean", x, self.constant(np.array([2, 3], dtype=np.int64)), keepdims=1)
        op = "MaxPool" if kind == "maxpool" else "AveragePool"
        return self.op(op, x, kernel_shape=[key.kernel_h, key.kernel_w], strides=_strides(key), pads=_pads(key))

    def _move(self, kind: str, key: Key, x: str) -> tuple[str, int]:
        """Padding, views, slices, transpositions; an unknown operator counts as one pass over its output."""
        before, after = (key.c_in, key.h_in, key.w_in), (key.c_out, key.h_out, key.w_out)
        if kind == "pad" and all(a >= b for a, b in zip(after, before, strict=True)):
            low = [(a - b) // 2 for a, b in zip(after, before, strict=True)]
            high = [a - b - c for a, b, c in zip(after, before, low, strict=True)]
            return self.op("Pad", x, self.constant(np.array([0, *low, 0, *high], dtype=np.int64))), 4
        if kind == "reshape" and np.prod(before) == np.prod(after):
            if key.c_in == key.c_out:
                return self.op("Reshape", x, self.constant(np.array([1, key.c_in, -1], dtype=np.int64))), 3
            return self.op("Transpose", x, perm=[0, 2, 3, 1]), 4
        if kind == "reshape" and all(a <= b for a, b in zip(after, before, strict=True)):
            step = [max(1, b // a) for a, b in zip(after, before, strict=True)]
            ends = [a * s for a, s in zip(after, step, strict=True)]
            args = [self.constant(np.array(v, dtype=np.int64)) for v in ([0, 0, 0], ends, [1, 2, 3], step)]
            return self.op("Slice", x, *args), 4
        return self.op("Neg", x), 4


def _strides(key: Key) -> list[int]:
    # one-dimensional convolutions stand as maps of height 1
    return [key.stride if key.h_in > 1 or key.h_out > 1 else 1, key.stride]


def _pads(key: Key) -> list[int]:
    """Padding that turns the input size into the output size, as even as it can be."""
    steps = _strides(key)
    pads = []
    for size, out, kernel, step in zip(
        (key.h_in, key.w_in), (key.h_out, key.w_out), (key.kernel_h, key.kernel_w), steps, strict=True
    ):
        total = max(0, (out - 1) * step + kernel - size)
        pads.append(((total + 1) // 2, total // 2))
    return [pads[0][0], pads[1][0], pads[0][1], pads[1][1]]


def bare_depthwise(channels: int, h: int, w: int) -> Key:
    """The key of a `prod` convolution by itself."""
    from netsmith.network.layers import KIND

    return Key(KIND["conv"], channels, channels, 1, 1, 1, channels, h, w, h, w, 0, 32, BARE)

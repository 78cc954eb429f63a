"""A traced network, fake-quantized or not, to an ONNX model that ONNX Runtime fuses."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from netsmith.errors import InputError
from netsmith.network.fake_quantize import FAKE_QUANTIZE
from netsmith.network.graph import Graph, random_input
from netsmith.network.passes import get_parameter

OPSET = 20
OPSET_4 = 21  #: the first with 4-bit integers
_TOP_4 = 7  #: largest weight of 4 bits


def stored_bits(w_bits: int, a_bits: int) -> tuple[int, int]:
    """Bits that a weight and an activation on grids of these widths take in the file; where it is more, the grid is
    only simulated.

    Activations have no 4-bit form: ONNX Runtime (1.31) cannot load a model in which a rectifier or a clip stands before
    a 4-bit QuantizeLinear.
    """
    weights = 4 if 0 < w_bits <= 4 else 8
    return weights if 0 < w_bits <= 8 else 32 * (w_bits > 0), 8 if 0 < a_bits <= 8 else 32 * (a_bits > 0)


def to_onnx(
    graph: Graph, weight_scales: Mapping[str, torch.Tensor] | None = None, *, integer_bias: bool = True
) -> onnx.ModelProto:
    """Export a graph; fake quantizers become QuantizeLinear/DequantizeLinear pairs.

    Weights on grids of up to 4 bits are stored in 4, all other integers in 8: what lies outside a grid that does not
    fill them is clipped before it is rounded.

    Args:
        graph: the network as traced, or ``QuantizedGraph.graph``.
        weight_scales: parameter name -> ``(C_out,)`` scales of weights to be stored as integers.
        integer_bias: store the biases of these layers as int32 on the grid of their products, as integer kernels want
            it. That grid is too coarse for a bias where operands have few bits; otherwise they are added behind the
            layer, for ONNX Runtime's optimizer would put a float bias on that grid itself.

    Raises:
        InputError: an operator has no ONNX counterpart; it is named.
    """
    narrow = not integer_bias and _has_4_bit_weights(graph, weight_scales or {})
    x = random_input(graph.example_batch, *graph.input_shape)
    dynamic = ({0: torch.export.Dim.AUTO},) if graph.dynamic_batch else None
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            torch.no_grad(),
            contextlib.redirect_stdout(io.StringIO()),
            _operators_once() as known,
        ):
            warnings.simplefilter("ignore")
            program = torch.export.export(graph.module, (x,), dynamic_shapes=dynamic, strict=False)
            translations = _translations(program)
            _decompose_where_needed(program, known | {o.name() for o in translations})
            exported = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET_4 if narrow else OPSET, verbose=False, input_names=["input"],
                output_names=["output"],
                custom_translation_table=translations,
            )  # fmt: skip
    except Exception as error:
        raise InputError(
            f"the network cannot be written as ONNX: {str(error).strip().splitlines()[0][:300]}"
        ) from error
    assert exported is not None
    model = exported.model_proto
    _strip_metadata(model)
    _global_pools(model)
    if weight_scales:
        _integer_weights(model, weight_scales, integer_bias)
    onnx.checker.check_model(model)
    return model


@functools.cache
def _operators(parse: Any) -> Any:
    return parse()


@contextlib.contextmanager
def _operators_once() -> Iterator[frozenset[str]]:
    """Keep the exporter's list of operators, for it parses their source anew at every export; yields their names.

    That takes 0.3 s, a third of the export of a small network, and a search exports each design that it measures. The
    list has no public handle: a version of torch that holds it elsewhere is as slow as it would be.
    """
    apis: Any = None
    with contextlib.suppress(ImportError, AttributeError):
        from torch.onnx._internal.exporter import _registration

        apis = getattr(_registration, "onnxscript_apis", None)
    parse = getattr(apis, "get_torchlib_ops", None)
    if parse is None:
        yield frozenset()
        return
    apis.get_torchlib_ops = lambda: _operators(parse)
    try:
        yield frozenset(str(o.qualified_name) for o in _operators(parse))
    finally:
        apis.get_torchlib_ops = parse


def _decompose_where_needed(program: torch.export.ExportedProgram, known: frozenset[str]) -> None:
    """Spare the exporter a second trace of a program that has no operator to decompose: half of the export's time.

    Global pooling, which nearly every network has, is spelled out here, as the exporter itself would.
    """
    aten = torch.ops.aten
    for node in program.graph.nodes:
        if node.target is aten.adaptive_avg_pool2d.default and list(node.args[1]) == [1, 1]:
            node.target, node.args = aten.mean.dim, (node.args[0], [-1, -2], True)
    decompose = program.run_decompositions

    def run(table: Any = None, **options: Any) -> torch.export.ExportedProgram:
        operators = [node.target for node in program.graph.nodes if node.op not in ("placeholder", "output")]
        done = all(
            isinstance(o, torch._ops.OpOverload) and o.name() in known and not o._schema.is_mutable for o in operators
        )
        return program if done else decompose(table, **options)

    program.run_decompositions = run


def _has_4_bit_weights(graph: Graph, scales: Mapping[str, torch.Tensor]) -> bool:
    for name, scale in scales.items():
        weight = get_parameter(graph.module, name).detach()
        if float((weight.abs().flatten(1).amax(dim=1) / scale).max()) < _TOP_4 + 0.5:
            return True
    return False


def _translations(program: torch.export.ExportedProgram) -> dict[Any, Any]:
    """Operators of the program that are translated here: fake quantizers, and norms that the exporter would decompose.

    Norms without weights are left to it.
    """
    from onnxscript import opset20

    op: Any = opset20  # its type variables do not admit what a translation function is handed

    def batch_norm(
        x: Any, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, momentum: float, epsilon: float,
        cudnn_enabled: bool,
    ) -> Any:  # fmt: skip
        return op.BatchNormalization(x, weight, bias, mean, variance, epsilon=epsilon)

    def fake_quantize(x: Any, scale: float, zero_point: int, qmin: int, qmax: int) -> Any:
        # unsigned activations: x86 integer kernels multiply u8 by s8
        s = op.Constant(value=helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [scale]))
        z = op.Constant(value=helper.make_tensor("zero_point", onnx.TensorProto.UINT8, [], [zero_point]))
        if qmin > 0 or qmax < 255:
            ends = [
                op.Constant(value=helper.make_tensor("end", onnx.TensorProto.FLOAT, [], [(q - zero_point) * scale]))
                for q in (qmin, qmax)
            ]
            x = op.Clip(x, *ends)
        return op.DequantizeLinear(op.QuantizeLinear(x, s, z), s, z)

    found: dict[Any, Any] = {FAKE_QUANTIZE: fake_quantize}
    norm = torch.ops.aten.batch_norm.default
    norms = [node.args for node in program.graph.nodes if node.target is norm]
    if norms and not any(None in args[:5] or args[5] for args in norms):
        found[norm] = batch_norm
    return found


def _strip_metadata(model: onnx.ModelProto) -> None:
    """Drop stack traces: they name the exporting user's files and triple the size of small models."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]


def _global_pools(model: onnx.ModelProto) -> None:
    """Means over both image axes as GlobalAveragePool, which alone has blocked and integer kernels."""
    values = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    rank = {v.name: len(v.type.tensor_type.shape.dim) for v in model.graph.value_info}
    new: list[onnx.NodeProto] = []
    for node in model.graph.node:
        axes = values.get(node.input[1]) if node.op_type == "ReduceMean" and len(node.input) > 1 else None
        if axes is None or rank.get(node.input[0]) != 4 or {int(a) % 4 for a in axes.ravel()} != {2, 3}:
            new.append(node)
            continue
        keep = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
        pooled = node.output[0] if keep else f"{node.output[0]}_pooled"
        new.append(helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=f"{node.name}_pool"))
        if not keep:
            new.append(helper.make_node("Flatten", [pooled], [node.output[0]], name=node.name, axis=1))
    del model.graph.node[:]
    model.graph.node.extend(new)


def _integer_weights(model: onnx.ModelProto, scales: Mapping[str, torch.Tensor], integer_bias: bool) -> None:
    """Store weights as int8, behind a DequantizeLinear, and biases as int32 likewise or in an addition."""
    graph, opset = model.graph, next(o.version for o in model.opset_import if not o.domain)
    tensors = {i.name: i for i in graph.initializer}
    activation_scale = {
        n.output[0]: float(numpy_helper.to_array(tensors[n.input[1]]))
        for n in graph.node
        if n.op_type == "DequantizeLinear"
    }
    new: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm") and node.input[1] in scales and node.input[0] in activation_scale:
            weight, scale = node.input[1], scales[node.input[1]].numpy().astype(np.float32)
            node.input[1] = _integer(graph, new, tensors, weight, scale, np.int8, 127, opset=opset)
            if len(node.input) > 2 and node.input[2] and integer_bias:
                bias_scale = (scale.astype(np.float64) * activation_scale[node.input[0]]).astype(np.float32)
                node.input[2] = _integer(graph, new, tensors, node.input[2], bias_scale, np.int32, 2**31 - 1)
            elif len(node.input) > 2 and node.input[2]:
                new.append(node)
                new.append(_bias_behind(graph, tensors, node))
                continue
        elif node.op_type == "MatMul" and node.input[1] in tensors and node.input[0] in activation_scale:
            _matmul_weight(graph, new, tensors, node, scales)
        new.append(node)
    del graph.node[:]
    graph.node.extend(new)
    used = {name for n in graph.node for name in n.input}
    kept = [i for i in graph.initializer if i.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _bias_behind(graph: onnx.GraphProto, tensors: dict[str, onnx.TensorProto], node: onnx.NodeProto) -> onnx.NodeProto:
    """Take the bias out of a layer; the addition that stands in for it."""
    bias = numpy_helper.to_array(tensors[node.input[2]])
    axes = max(len(a.ints) for a in node.attribute if a.name == "kernel_shape") if node.op_type == "Conv" else 0
    name, out = f"{node.input[2]}_behind_{node.name}", node.output[0]
    graph.initializer.append(numpy_helper.from_array(bias.reshape(-1, *[1] * axes), name))
    del node.input[2]
    node.output[0] = f"{out}_without_bias"
    return helper.make_node("Add", [node.output[0], name], [out], name=name)


def _integer(
    graph: onnx.GraphProto, nodes: list[onnx.NodeProto], tensors: dict[str, onnx.TensorProto], name: str,
    scale: np.ndarray[Any, Any], dtype: Any, limit: int, axis: int = 0, opset: int = OPSET,
) -> str:  # fmt: skip
    """Add an integer initializer and its DequantizeLinear; return the name of the dequantized value."""
    value = numpy_helper.to_array(tensors[name]).astype(np.float64)
    shape = [1] * value.ndim
    shape[axis] = -1
    q = np.clip(np.round(value / scale.astype(np.float64).reshape(shape)), -limit, limit)
    if dtype is np.int8 and opset >= OPSET_4 and np.abs(q).max(initial=0) <= _TOP_4:
        dtype = ml_dtypes.int4
    q = q.astype(dtype)
    graph.initializer.append(numpy_helper.from_array(q, f"{name}_q"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(scale.shape, dtype), f"{name}_zero"))
    output = f"{name}_dequantized"
    if not any(n.output[0] == output for n in nodes):
        nodes.append(
            helper.make_node(
                "DequantizeLinear", [f"{name}_q", f"{name}_scale", f"{name}_zero"], [output], name=output, axis=axis
            )
        )
    return output


def _matmul_weight(
    graph: onnx.GraphProto, nodes: list[onnx.NodeProto], tensors: dict[str, onnx.TensorProto], node: onnx.NodeProto,
    scales: Mapping[str, torch.Tensor],
) -> None:  # fmt: skip
    """A linear layer over tokens: the exporter transposes its weight, so its channel axis is the last one."""
    value = numpy_helper.to_array(tensors[node.input[1]])
    for scale in scales.values():
        s = scale.numpy().astype(np.float32)
        if value.ndim == 2 and value.shape[1] == len(s):
            q = value / s
            if np.abs(q - np.round(q)).max() < 1e-2 and np.abs(q).max() < 127.5:
                node.input[1] = _integer(graph, nodes, tensors, node.input[1], s, np.int8, 127, axis=1)
                return

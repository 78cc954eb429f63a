"""A traced network, fake-quantized or not, to an ONNX model that ONNX Runtime fuses."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import fx
from torch.utils._pytree import tree_structure

from netsmith.errors import InputError
from netsmith.export.integers import MARKER_OP, OPSET_4, mark_integers, write_integers
from netsmith.network.fake_quantize import FAKE_QUANTIZE
from netsmith.network.graph import Graph, copy_module
from netsmith.network.passes import CONVS
from netsmith.network.ports import BATCH
from netsmith.network.signature import dynamic_shapes, returned

PRODUCER = "netsmith"  #: in every file, which tells it from those of other programs
OPSET = 20


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
    module, layers = mark_integers(graph, weight_scales or {})
    module = _only_tensors(module)
    opset = OPSET_4 if not integer_bias and any(layer.narrow for layer in layers) else OPSET
    example = graph.example
    dynamic = dynamic_shapes(module, example, graph.axes) if graph.dynamic_batch else None
    names = list(graph.input_names), list(graph.output_names)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            torch.no_grad(),
            contextlib.redirect_stdout(io.StringIO()),
            _operators_once() as known,
        ):
            warnings.simplefilter("ignore")
            program = torch.export.export(
                module, example.args, dict(example.kwargs), dynamic_shapes=dynamic, strict=False
            )
            _spell_out(program)
            try:
                exported = _exported(program, opset, known, *names)
            except Exception:  # an operator, or a use of one, that the exporter knows in its parts only
                exported = _exported(_in_parts(program), opset, frozenset(), *names)
            _own_constants(exported.model)
            model: onnx.ModelProto = exported.model_proto
        _strip_metadata(model)
        _name_axes(model, graph)
        _global_pools(model)
        write_integers(model, layers, integer_bias)
        _drop_unused(model)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise InputError(f"the network cannot be written as ONNX: {_reason(error)}") from error
    return model


def _only_tensors(module: fx.GraphModule) -> fx.GraphModule:
    """The graph without what it returns that is no tensor, for which files have no form; itself if there is none."""
    given = returned(module)
    tensors = tuple(value for value in given if isinstance(value, fx.Node))
    if len(tensors) == len(given):
        return module
    module = copy_module(module)
    place = module.graph.output_node()
    place.args = (tuple(value for value in returned(module) if isinstance(value, fx.Node)),)
    codegen = module.graph._codegen
    info = codegen.pytree_info  # type: ignore[attr-defined]
    codegen.pytree_info = info._replace(out_spec=tree_structure(tensors))  # type: ignore[attr-defined]
    module.recompile()
    return module


def _exported(
    program: torch.export.ExportedProgram, opset: int, known: frozenset[str], inputs: list[str], outputs: list[str]
) -> Any:
    """The exporter's own model of a program, of which it decomposes operators that are neither known nor ours."""
    translations = _translations(program)
    _decompose_where_needed(program, known | {o.name() for o in translations} | {MARKER_OP})
    exported = torch.onnx.export(
        program, dynamo=True, opset_version=opset, verbose=False, input_names=inputs, output_names=outputs,
        custom_translation_table=translations,
    )  # fmt: skip
    assert exported is not None
    return exported


def _in_parts(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The program in core operators; layers stay whole, as their integers are attached to them."""
    table = torch.export.default_decompositions()
    for layer in (*CONVS, torch.ops.aten.linear.default):
        table.pop(layer, None)
    whole: torch.export.ExportedProgram = program.run_decompositions(table)
    return whole


def _reason(error: BaseException) -> str:
    """The operator that the exporter stumbled over, if it says so; its own words are for its developers."""
    cause: BaseException | None = error
    while cause is not None:
        if found := re.search(r"No ONNX function found for <OpOverload\(op='(?:aten\.)?([\w.]+)'", str(cause)):
            return f"ONNX has no form of operator {found[1]}; compute it in another way"
        if found := re.search(r"translating node .*target=torch\.ops\.(?:aten\.)?([\w.]+)", str(cause)):
            return f"operator {found[1]}, as it is used here, has no form in ONNX; compute it in another way"
        cause = cause.__cause__
    return f"the exporter of torch {torch.__version__} fails on it; compute it with other operators"


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


def _spell_out(program: torch.export.ExportedProgram) -> None:
    """Write what the exporter would decompose or cannot read in a form that it takes as it is.

    Global pooling, which nearly every network has, becomes the mean that the exporter itself would make of it; bounds
    that are whole numbers become real ones, for it fails on one of each.
    """
    aten = torch.ops.aten
    for node in program.graph.nodes:
        if node.target is aten.adaptive_avg_pool2d.default and list(node.args[1]) == [1, 1]:
            node.target, node.args = aten.mean.dim, (node.args[0], [-1, -2], True)
        elif node.target is aten.clamp.default and node.meta["val"].is_floating_point():
            node.args = (node.args[0], *(float(a) if isinstance(a, int) else a for a in node.args[1:]))


def _decompose_where_needed(program: torch.export.ExportedProgram, known: frozenset[str]) -> None:
    """Spare the exporter a second trace of a program that has no operator to decompose: half of the export's time."""
    decompose = program.run_decompositions

    def run(table: Any = None, **options: Any) -> torch.export.ExportedProgram:
        operators = [node.target for node in program.graph.nodes if node.op not in ("placeholder", "output")]
        done = all(
            isinstance(o, torch._ops.OpOverload) and o.name() in known and not o._schema.is_mutable for o in operators
        )
        return program if done else decompose(table, **options)

    program.run_decompositions = run


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
    model.producer_name, model.producer_version = PRODUCER, ""


def _name_axes(model: onnx.ModelProto, graph: Graph) -> None:
    """Call the axes that may have any length as they were asked for, where other axes than that of the batch may."""
    if not graph.axes:
        return
    known: dict[str, str] = {}
    for value in model.graph.input:
        words = {0: BATCH, **graph.axes.get(value.name, {})}
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_param and axis in words:
                known[size.dim_param] = words[axis]
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in known:
                size.dim_param = known[size.dim_param]


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


def _own_constants(model: Any) -> None:
    """Give every constant of an exported model a name of its own.

    A rewrite of the exporter names the shape that it makes by the value that is reshaped: where one value is flattened
    twice, the second constant took the place of the first, which was left without a definition.

    Args:
        model: an ``onnx_ir.Model``.
    """
    graph = model.graph
    taken = set(graph.initializers) | {v.name for v in graph.inputs}
    taken |= {v.name for node in graph for v in node.outputs}
    for node in graph:
        for value in node.inputs:
            if value is None or value.producer() is not None or value.const_value is None or value.is_graph_input():
                continue
            if graph.initializers.get(value.name) is value:
                continue
            name, n = value.name, 2
            while name in taken:
                name, n = f"{value.name}_{n}", n + 1
            value.name = name
            taken.add(name)
            graph.register_initializer(value)


def _drop_unused(model: onnx.ModelProto) -> None:
    """Drop constants that nothing reads any more."""
    used = {name for n in model.graph.node for name in n.input} | {o.name for o in model.graph.output}
    kept = [i for i in model.graph.initializer if i.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)

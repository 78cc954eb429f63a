"""Nodes of an ATen graph to rows of the layer table."""

from __future__ import annotations

import operator
from collections.abc import Mapping

import torch
from torch import fx

from netsmith.data.batch import Batch
from netsmith.network.layers import ACTIVATION, KIND, KINDS, MAPS, MIXED, PLAIN, WEIGHTED
from netsmith.network.operations import Operation, operations
from netsmith.network.passes import CONVS, LAYERS, TRANSPOSED_CONVS
from netsmith.network.recurrent import RECURRENT
from netsmith.network.work_rows import Row, attention, sides, work_row

aten = torch.ops.aten

ACTIVATION_OPS = {
    aten.relu.default: "relu", aten.hardswish.default: "hardswish", aten.hardsigmoid.default: "hardsigmoid",
    aten.sigmoid.default: "sigmoid", aten.silu.default: "silu", aten.gelu.default: "gelu", aten.tanh.default: "tanh",
    aten.relu6.default: "relu6", aten.leaky_relu.default: "other", aten.elu.default: "other",
    aten.mish.default: "other",
    aten.prelu.default: "other", aten.softplus.default: "other", aten.exp.default: "other", aten.log.default: "other",
}  # fmt: skip
_GLUE = {
    aten.add.Tensor: "add", aten.sub.Tensor: "add", aten.mul.Tensor: "mul", aten.div.Tensor: "mul",
    aten.max_pool2d.default: "maxpool", aten.avg_pool2d.default: "avgpool", aten.mean.dim: "avgpool",
    aten.adaptive_avg_pool2d.default: "avgpool", aten.cat.default: "concat", aten.softmax.int: "softmax",
    aten._softmax.default: "softmax", aten.layer_norm.default: "norm", aten.group_norm.default: "norm",
    aten.native_layer_norm.default: "norm", aten.batch_norm.default: "norm",
    aten._native_batch_norm_legit_no_training.default: "norm", aten.constant_pad_nd.default: "pad",
    aten.pad.default: "pad",
    aten.view.default: "reshape", aten.reshape.default: "reshape", aten.permute.default: "reshape",
    aten.transpose.int: "reshape", aten.flatten.using_ints: "reshape", aten.slice.Tensor: "reshape",
    aten.select.int: "reshape", aten.expand.default: "reshape", aten.unsqueeze.default: "reshape",
    aten.squeeze.dim: "reshape", aten.squeeze.dims: "reshape", aten.split.Tensor: "reshape",
    aten.chunk.default: "reshape",
    aten.unbind.int: "reshape", aten.split_with_sizes.default: "reshape", aten._unsafe_view.default: "reshape",
    aten.unflatten.int: "reshape", aten.expand_as.default: "reshape", aten.movedim.int: "reshape",
    aten.channel_shuffle.default: "reshape", aten.pixel_shuffle.default: "reshape", aten.roll.default: "reshape",
}  # fmt: skip
_PIECES = (
    operator.getitem, aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default, aten.slice.Tensor,
    aten.select.int,
)  # fmt: skip
_ATTENTION = (aten.scaled_dot_product_attention.default,)
#: Operators that a runtime executes a rectifier in.
_FUSING = (*CONVS, aten.linear.default, aten.add.Tensor, aten.sub.Tensor)


def activation_of(node: fx.Node) -> str | None:
    """Name of the activation that a node computes, ``relu6`` for a clamp to [0, 6], else None."""
    if node.op != "call_function":
        return None
    if node.target in (aten.hardtanh.default, aten.clamp.default):
        return "relu6" if tuple(node.args[1:3]) == (0, 6) or tuple(node.args[1:3]) == (0.0, 6.0) else "other"
    return ACTIVATION_OPS.get(node.target)  # type: ignore[call-overload, no-any-return]


def fused_activation(node: fx.Node) -> fx.Node | None:
    """The rectifier that a runtime executes inside ``node``: its only user, a relu or relu6."""
    if len(node.users) != 1:
        return None
    user = next(iter(node.users))
    return user if activation_of(user) in ("relu", "relu6") else None


Numbers = dict[str, tuple[float, ...]]


def read_rows(module: fx.GraphModule, example: Batch) -> tuple[list[Row], dict[str, str], Numbers]:
    """Return the rows of every operator in execution order, the node behind each row name, and what nodes yield.

    The last is by node, for each tensor that it yields, how many numbers of 32 bits it has for one sample; nothing
    for constants and for what is no tensor.

    Args:
        example: what the graph runs on: one sample, or what it was traced with if it takes no other number.

    Raises:
        InputError: the work of such a network is no multiple of its batch.
    """
    rows: list[Row] = []
    node_of: dict[str, str] = {}
    fused: set[fx.Node] = set()
    layouts: dict[fx.Node, int] = {}
    stored: set[str] = set()
    own = {str(n.target) for n in module.graph.nodes if n.op == "get_attr"}
    every = operations(module, example)
    for node in module.graph.nodes:
        layouts[node] = _layout(node, layouts)
        if node.op != "call_function" or node in fused or every[node].constant:
            continue
        found = _rows(node, every)
        after = fused_activation(node) if node.target in _FUSING and found else None
        if after is not None:
            found[0]["activation"] = ACTIVATION[activation_of(after) or "other"]
            fused.add(after)
        for row in found:
            parameter = row.pop("parameter", "")
            name = _name(node, parameter)
            row["name"] = _unique(name, node_of)
            row["layout"] = layouts[node]
            if KINDS[row["kind"]] in WEIGHTED:  # a weight that comes with the sample is nobody's parameter
                weight = _weight(node, parameter)
                row["shared"] = int(parameter not in own or weight in stored)
                stored.add(weight)
            node_of[row["name"]] = node.name
            rows.append(row)
    return rows, node_of, {node.name: _numbers(done) for node, done in every.items()}


def _numbers(done: Operation) -> tuple[float, ...]:
    """Numbers of each tensor of a node's value, for one sample; what is no floating-point number by its bytes."""
    if done.constant:
        return ()
    values = done.value if isinstance(done.value, list | tuple) else (done.value,)
    tensors = [v for v in values if isinstance(v, torch.Tensor)]
    return tuple(t.numel() / done.batch * (1.0 if t.is_floating_point() else t.element_size() / 4) for t in tensors)


def _weight(node: fx.Node, parameter: str) -> str:
    """The parameter that a row multiplies with, and which piece of it: packed weights serve several products."""
    weight, pieces = node.args[1] if node.target in LAYERS else None, ""
    while isinstance(weight, fx.Node) and weight.target in _PIECES:
        pieces += f" {weight.target}{weight.args[1:]}"
        weight = weight.args[0]
    return parameter + pieces


def _layout(node: fx.Node, layouts: dict[fx.Node, int]) -> int:
    """Layout of a node's output: convolutions set it, element-wise operators and pools on maps hand it on."""
    value = node.meta.get("val")
    if node.op != "call_function" or not isinstance(value, torch.Tensor) or value.dim() != 4:
        return PLAIN
    if node.target in CONVS:
        return MAPS
    inputs = [layouts[n] for n in node.all_input_nodes if n.op == "call_function"]
    kind = _GLUE.get(node.target)  # type: ignore[call-overload]
    if not inputs or kind in ("reshape", "pad", "other", "softmax"):
        return PLAIN
    if kind == "add" and len(set(inputs)) > 1:
        return MIXED
    return PLAIN if PLAIN in inputs else max(inputs)


def _rows(node: fx.Node, every: Mapping[fx.Node, Operation]) -> list[Row]:
    """The rows of a node: its products and convolutions, or what it moves."""
    operation = every[node]
    if node.target in LAYERS and operation.work:
        x = every[node.args[0]].value.shape  # type: ignore[index]
        row = work_row(next(iter(operation.work)), operation.batch, tuple(x))
        row["bias"] = int(len(node.args) > 2 and node.args[2] is not None)  # in some layouts a sum of its own adds it
        return [row | {"calls": sum(operation.work.values())} | weight_reason(node)]
    work = operation.work
    if node.target in _ATTENTION:
        work = attention(*(tuple(every[n].value.shape) for n in node.args[:3]))  # type: ignore[index]
    reason = "a recurrent layer keeps its weights" if node.target in RECURRENT else "it is a product, not a layer"
    rows = [work_row(item, operation.batch) | {"calls": calls, "frozen": reason} for item, calls in work.items()]
    if operation.unknown:
        return [*rows, _glue(node, "unknown", every) or {"kind": KIND["unknown"]}]
    if rows or not isinstance(operation.value, torch.Tensor) or node.target is operator.getitem:
        return rows
    kind = "activation" if activation_of(node) else _GLUE.get(node.target, "other")  # type: ignore[call-overload]
    moved = _glue(node, kind, every)
    return [moved] if moved else []


def weight_reason(node: fx.Node) -> Row:
    """Why the weight of a layer is left alone, as the column ``frozen`` of its row."""
    weight = node.args[1]
    if isinstance(weight, fx.Node) and weight.op == "get_attr":
        if len(weight.users) > 1:
            return {"frozen": "its weight is used more than once"}
        bias = node.args[2] if len(node.args) > 2 else None
        if isinstance(bias, fx.Node) and bias.op != "get_attr":
            return {"frozen": "its bias is computed in the forward"}
        if node.target in TRANSPOSED_CONVS:
            return {"frozen": "runtimes have no integer kernel for transposed convolutions"}
        return {}
    return {"frozen": "its weight is computed in the forward"}


def _glue(node: fx.Node, kind: str, every: Mapping[fx.Node, Operation]) -> Row | None:
    """What a node moves; None where no tensor of samples goes in, or what comes out is hardly one."""
    inputs = [every[n].value for n in node.all_input_nodes if isinstance(every[n].value, torch.Tensor)]
    y, batch = every[node].value, every[node].batch
    if not inputs or not isinstance(y, torch.Tensor) or y.dim() < 2:
        return None
    x = inputs[0]
    c_in = sum(int(i.shape[1]) for i in inputs) if kind == "concat" and x.dim() > 1 else _channels(x)
    row: Row = {"kind": KIND[kind], "c_in": c_in, "c_out": _channels(y)}
    if kind == "activation":
        row["activation"] = ACTIVATION[activation_of(node) or "other"]
    if kind in ("maxpool", "avgpool") and y.dim() == 4 and x.dim() == 4:
        if node.target in (aten.max_pool2d.default, aten.avg_pool2d.default):
            kernel, stride = node.args[1], (node.args[2] if len(node.args) > 2 else None) or node.args[1]
            row |= {"kernel_h": int(kernel[0]), "kernel_w": int(kernel[-1]), "stride": int(stride[0])}  # type: ignore[index, arg-type]
        else:
            row |= {"kernel_h": int(x.shape[2]), "kernel_w": int(x.shape[3])}
    return row | sides(_without_channels(x), _without_channels(y), batch)


def _channels(t: torch.Tensor) -> int:
    return int(t.shape[1]) if t.dim() > 1 else 1


def _without_channels(t: torch.Tensor) -> tuple[int, ...]:
    """Samples, height, ..., width."""
    return (*t.shape[:1], *t.shape[2:])


def _name(node: fx.Node, parameter: str) -> str:
    """The module of a layer, the parameter of another product, or where an operator stands and what it is."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(next(reversed(list(stack.values())))[0]) if stack else ""
    if node.target in LAYERS:
        weight = node.args[1]
        if isinstance(weight, fx.Node) and weight.op == "get_attr":
            return str(weight.target).rpartition(".")[0] or str(weight.target)
    elif parameter:
        return parameter
    op = str(node.target)
    op = op.split(".")[1] if op.startswith("aten.") else op.removesuffix(".default")
    return f"{path}/{op}" if path else op


def _unique(name: str, taken: dict[str, str]) -> str:
    if name not in taken:
        return name
    n = 2
    while f"{name}#{n}" in taken:
        n += 1
    return f"{name}#{n}"

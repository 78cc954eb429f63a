"""Nodes of an ATen graph to rows of the layer table."""

from __future__ import annotations

import operator
from math import prod
from typing import Any

import torch
from torch import fx

from netsmith.network.layers import ACTIVATION, KIND, MAPS, MIXED, PLAIN
from netsmith.network.passes import CONVS

aten = torch.ops.aten
Row = dict[str, Any]

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
_PRODUCTS = (aten.matmul.default, aten.bmm.default, aten.mm.default)
_ATTENTION = (aten.scaled_dot_product_attention.default,)


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


def read_rows(module: fx.GraphModule) -> tuple[list[Row], dict[str, str]]:
    """Return the rows of every operator in execution order and the node behind each row name."""
    rows: list[Row] = []
    node_of: dict[str, str] = {}
    fused: set[fx.Node] = set()
    layouts: dict[fx.Node, int] = {}
    for node in module.graph.nodes:
        layouts[node] = _layout(node, layouts)
        if node.op != "call_function" or node in fused or not isinstance(node.meta.get("val"), torch.Tensor):
            continue
        row = _row(node)
        if row is None:
            continue
        after = fused_activation(node) if row["kind"] in (KIND["conv"], KIND["linear"], KIND["add"]) else None
        if after is not None:
            row["activation"] = ACTIVATION[activation_of(after) or "other"]
            fused.add(after)
        row["name"] = _unique(_name(node, row), node_of)
        row["layout"] = layouts[node]
        node_of[row["name"]] = node.name
        rows.append(row)
    return rows, node_of


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


def _row(node: fx.Node) -> Row | None:
    if node.target in CONVS:
        return _conv(node)
    if node.target is aten.linear.default:
        return _linear(node)
    if node.target in _PRODUCTS:
        return _product(node)
    if node.target in _ATTENTION:
        return _attention(node)
    if node.target is operator.getitem:
        return None
    kind = "activation" if activation_of(node) else _GLUE.get(node.target, "other")  # type: ignore[call-overload]
    return _glue(node, kind)


def _conv(node: fx.Node) -> Row:
    x, w = node.args[0].meta["val"], node.args[1].meta["val"]  # type: ignore[union-attr]
    y = node.meta["val"]
    args: list[Any] = list(node.args) + [None] * (7 - len(node.args))
    stride = args[3] or [1]
    groups = int(args[6] or 1)
    spatial = [1] * max(0, 2 - (w.dim() - 2)) + [int(s) for s in w.shape[2:]]
    row = {
        "kind": KIND["conv"], "c_in": int(x.shape[1]), "c_out": int(y.shape[1]), "kernel_h": prod(spatial[:-1]),
        "kernel_w": spatial[-1], "stride": int(stride[-1]), "groups": groups, "bias": int(args[2] is not None),
    }  # fmt: skip
    return row | _sizes(x.shape[2:], y.shape[2:]) | weight_reason(node)


def _linear(node: fx.Node) -> Row:
    w, y = node.args[1].meta["val"], node.meta["val"]  # type: ignore[union-attr]
    tokens = prod(int(s) for s in y.shape[1:-1])
    row = {
        "kind": KIND["linear"], "c_in": int(w.shape[1]), "c_out": int(w.shape[0]),
        "bias": int(len(node.args) > 2 and node.args[2] is not None), "h_in": tokens, "h_out": tokens,
    }  # fmt: skip
    return row | weight_reason(node)


def weight_reason(node: fx.Node) -> Row:
    """Why the weight of a layer is left alone, as the column ``frozen`` of its row."""
    weight = node.args[1]
    if isinstance(weight, fx.Node) and weight.op == "get_attr":
        if len(weight.users) > 1:
            return {"frozen": "its weight is shared with another layer"}
        return {}
    return {"frozen": "its weight is computed in the forward"}


def _product(node: fx.Node) -> Row:
    a, b = (n.meta["val"].shape for n in node.args[:2])  # type: ignore[union-attr]
    heads = prod(int(s) for s in a[1:-2]) if len(a) > 2 else 1
    m, k, n = (int(a[-2]) if len(a) > 2 else 1), int(a[-1]), int(b[-1])
    return {"kind": KIND["matmul"], "groups": heads, "c_in": k * heads, "c_out": n * heads, "h_in": m, "h_out": m}


def _attention(node: fx.Node) -> Row:
    # two products, (T, d) x (d, S) and (T, S) x (S, d), in one row: 2 * H * T * S * d multiply-accumulates
    q, k = (n.meta["val"].shape for n in node.args[:2])  # type: ignore[union-attr]
    heads, t, d, s = int(q[1]) if len(q) > 3 else 1, int(q[-2]), int(q[-1]), int(k[-2])
    return {"kind": KIND["matmul"], "groups": heads, "c_in": d * heads, "c_out": 2 * s * heads, "h_in": t, "h_out": t}


def _glue(node: fx.Node, kind: str) -> Row | None:
    inputs = [n.meta["val"] for n in node.all_input_nodes if isinstance(n.meta.get("val"), torch.Tensor)]
    y = node.meta["val"]
    if not inputs or y.dim() < 2:
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
    return row | _sizes(x.shape[2:], y.shape[2:])


def _channels(t: torch.Tensor) -> int:
    return int(t.shape[1]) if t.dim() > 1 else 1


def _sizes(x: Any, y: Any) -> Row:
    def two(s: Any) -> tuple[int, int]:
        s = [int(v) for v in s]
        return (prod(s[:-1]), s[-1]) if s else (1, 1)

    (h_in, w_in), (h_out, w_out) = two(x), two(y)
    return {"h_in": h_in, "w_in": w_in, "h_out": h_out, "w_out": w_out}


def _name(node: fx.Node, row: Row) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    path = str(next(reversed(list(stack.values())))[0]) if stack else ""
    if row["kind"] in (KIND["conv"], KIND["linear"]):
        weight = node.args[1]
        if isinstance(weight, fx.Node) and weight.op == "get_attr":
            return str(weight.target).rpartition(".")[0] or str(weight.target)
    op = str(node.target).split(".")[1] if str(node.target).startswith("aten.") else node.name
    return f"{path}/{op}" if path else op


def _unique(name: str, taken: dict[str, str]) -> str:
    if name not in taken:
        return name
    n = 2
    while f"{name}#{n}" in taken:
        n += 1
    return f"{name}#{n}"

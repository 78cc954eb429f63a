"""Rewrites of an ATen graph: drop what does nothing, fold batch norm."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn

aten = torch.ops.aten

CONVS = (
    aten.conv1d.default, aten.conv1d.padding, aten.conv2d.default, aten.conv2d.padding, aten.conv3d.default,
    aten.conv3d.padding,
)  # fmt: skip
TRANSPOSED_CONVS = (aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input)
#: What has a weight as its second argument and is a module of a user's network, as a rule.
LAYERS = (*CONVS, *TRANSPOSED_CONVS, aten.linear.default)
BATCH_NORMS = (aten.batch_norm.default, aten._native_batch_norm_legit_no_training.default)
_IDENTITIES = (
    aten.clone.default, aten.alias.default, aten.detach.default, aten.dropout.default, aten.feature_dropout.default,
    aten.contiguous.default, aten.lift_fresh_copy.default,
)  # fmt: skip
_CASTS = (aten.to.device, aten.to.dtype, aten._to_copy.default, aten.type_as.default)
# operators whose result shares no memory with an argument
_FRESH = (
    *CONVS, *BATCH_NORMS, aten.linear.default, aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor,
    aten.cat.default, aten.layer_norm.default, aten.group_norm.default, aten.max_pool2d.default,
    aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default, aten.mean.dim, aten.matmul.default,
    aten.relu.default, aten.hardswish.default, aten.hardsigmoid.default, aten.sigmoid.default, aten.silu.default,
    aten.gelu.default, aten.tanh.default, aten.hardtanh.default, aten.relu6.default, aten.leaky_relu.default,
    aten.elu.default, aten.mish.default, aten.clamp.default, aten.clone.default, aten.softmax.int,
)  # fmt: skip
_RELUS = (aten.relu.default,)
_PADS = (aten.pad.default, aten.constant_pad_nd.default)
_ZEROS = (aten.zeros.default, aten.zeros_like.default, aten.new_zeros.default)
# what these make of zeros is zeros; the layer scale and the layout changes behind a dropped branch
_KEEP_ZERO = (
    aten.permute.default, aten.transpose.int, aten.view.default, aten.reshape.default, aten._unsafe_view.default,
    aten.flatten.using_ints, aten.unsqueeze.default, aten.squeeze.dim, aten.expand.default, aten.slice.Tensor,
    aten.relu.default, aten.neg.default, aten.mul.Scalar, aten.div.Tensor, aten.avg_pool2d.default,
    aten.adaptive_avg_pool2d.default, aten.roll.default,
)  # fmt: skip


def get_parameter(module: nn.Module, name: str) -> torch.Tensor:
    """The parameter, buffer or constant at a dotted path."""
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part)
    assert isinstance(value, torch.Tensor)
    return value


def weight_name(node: fx.Node) -> str:
    """Name of the parameter that the node of a layer multiplies by."""
    weight = node.args[1]
    assert isinstance(weight, fx.Node)
    return str(weight.target)


def set_parameter(module: nn.Module, name: str, value: torch.Tensor) -> None:
    """Write a parameter at a dotted path, replacing whatever is there."""
    path, _, leaf = name.rpartition(".")
    owner: nn.Module = module
    for part in path.split(".") if path else []:
        if not hasattr(owner, part):
            owner.add_module(part, nn.Module())
        owner = getattr(owner, part)
    if leaf in owner._buffers:
        owner._buffers[leaf] = value.detach()
        return
    if hasattr(owner, leaf):
        delattr(owner, leaf)
    owner.register_parameter(leaf, nn.Parameter(value.detach(), requires_grad=value.is_floating_point()))


def make_functional(module: fx.GraphModule) -> bool:
    """Replace in-place operators by their functional forms; later readers of the tensor then read the new one.

    Returns:
        False, with the graph half done, where that is not plainly right: a tensor that is or may have a view, an
        input, or what torch.vmap works on.
    """
    graph = module.graph
    order = {n: i for i, n in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        schema = getattr(node.target, "_schema", None)
        if "batch_dim" in str(node.target):  # what torch.vmap leaves in a graph
            return False
        if node.op != "call_function" or schema is None or not schema.is_mutable:
            continue
        written = [i for i, a in enumerate(schema.arguments) if a.alias_info is not None and a.alias_info.is_write]
        packet, _, overload = str(node.target).removeprefix("aten.").rpartition(".")
        functional = getattr(getattr(aten, packet.removesuffix("_"), None), overload, None)
        x = node.args[0] if node.args else None
        if written != [0] or functional is None or not isinstance(x, fx.Node) or x.target not in _FRESH:
            return False
        if any(u.target not in _FRESH for u in x.users if order[u] < order[node]):
            return False
        with graph.inserting_before(node):
            new = graph.call_function(functional, node.args, node.kwargs)
        new.meta, order[new] = dict(node.meta), order[node]
        node.replace_all_uses_with(new)
        for user in list(x.users):
            if order[user] > order[node]:
                user.replace_input_with(x, new)
        graph.erase_node(node)
    module.recompile()
    return True


def clean(module: fx.GraphModule) -> None:
    """Remove identities, additions of zero (dropped branches), repeated rectifiers and padding that is cut off again,
    then dead code."""
    graph = module.graph
    zero: set[Any] = set()  # nodes whose values are all zero
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default  # a view may need the copy that is about to go as an identity
        if node.target in _IDENTITIES or (node.target in _CASTS and _same_type(node)):
            _replace(node, node.args[0])
        elif node.target is aten.add.Tensor:
            a, b = node.args[0], node.args[1]
            if a in zero and _same_shape(node, b):
                _replace(node, b)
            elif b in zero and _same_shape(node, a):
                _replace(node, a)
        elif (
            node.target in _ZEROS
            or (node.target is aten.full.default and node.args[1] == 0)
            or (node.target in _KEEP_ZERO and node.args[0] in zero)
            or (node.target is aten.mul.Tensor and any(a in zero for a in node.args))
        ):
            zero.add(node)
    for node in list(graph.nodes):
        if node.target in _RELUS and isinstance(node.args[0], fx.Node) and node.args[0].target in _RELUS:
            _replace(node, node.args[0])
        if node.target is aten.view_as_complex.default:  # pairs must lie together, in whatever layout tensors arrive
            with graph.inserting_before(node):
                pairs = graph.call_function(aten.contiguous.default, node.args)
            pairs.meta = dict(node.args[0].meta)
            node.args = (pairs,)
        if node.target in (aten.narrow.default, aten.slice.Tensor):
            _pad_less(node)
    _finish(module)


def _pad_less(node: fx.Node) -> None:
    """Where ``node``, a slice, cuts off nothing but what was padded, pad by less instead."""
    pad: Any = node.args[0]
    if not isinstance(pad, fx.Node) or pad.target not in _PADS or len(pad.users) > 1:
        return
    if pad.target is aten.pad.default and pad.args[2:3] not in ((), ("constant",)):
        return
    padded, rest = list[Any](pad.args), list[Any]([*node.args[1:], *(0, 0)[len(node.args) - 1 :]])
    x, shape, amounts = padded[0], node.meta["val"].shape, list(padded[1])
    dim, start = int(rest[0]) % len(shape), rest[1] or 0
    if node.target is aten.slice.Tensor and node.args[4:] not in ((), (1,)):
        return
    at = 2 * (len(shape) - 1 - dim)  # amounts begin with the last dimension
    sizes = [start, x.meta["val"].shape[dim], shape[dim], *amounts]
    if at >= len(amounts) or start < 0 or not all(isinstance(n, int) for n in sizes):
        return
    front = amounts[at] - start
    behind = shape[dim] - x.meta["val"].shape[dim] - front
    if front < 0 or behind < 0:
        return
    amounts[at : at + 2] = front, behind
    if any(amounts):
        pad.args = (x, amounts, *padded[2:])
        pad.meta["val"] = node.meta["val"]
    _replace(node, pad if any(amounts) else x)


def fold_batch_norm(module: fx.GraphModule) -> None:
    """Merge every batch norm that follows a convolution or linear layer (alone) into that layer's weight and bias.

    A weight that several calls read is folded once, where the same norm follows all of them; otherwise the norms stay,
    because each would need a copy of the weight of its own, and the network would have more parameters than its owner
    gave it.
    """
    folds: dict[fx.Node, list[tuple[fx.Node, fx.Node]]] = {}  # weight -> layers that read it, each with its norm
    for node in module.graph.nodes:
        if node.op != "call_function" or node.target not in BATCH_NORMS:
            continue
        layer = node.args[0]
        foldable = (
            isinstance(layer, fx.Node)
            and layer.target in (*CONVS, aten.linear.default)
            and len(layer.users) == 1
            and all(isinstance(a, fx.Node) and a.op == "get_attr" for a in layer.args[1:2])
            and not (node.target is aten.batch_norm.default and node.args[5])
            and (layer.target is not aten.linear.default or layer.meta["val"].dim() == 2)
        )
        if foldable:
            folds.setdefault(layer.args[1], []).append((layer, node))
    for weight, calls in folds.items():
        folded = {(*layer.args[2:3], *norm.args[1:]) for layer, norm in calls}
        if len(folded) == 1 and set(weight.users) == {layer for layer, _ in calls}:
            _fold(module, calls)
    _finish(module)


def _fold(module: fx.GraphModule, calls: list[tuple[fx.Node, fx.Node]]) -> None:
    """Fold the norm behind all calls of a layer, which nothing else reads the weight of."""

    def value(arg: Any) -> torch.Tensor | None:
        return get_parameter(module, str(arg.target)).detach() if isinstance(arg, fx.Node) else None

    layer, norm = calls[0]
    native = norm.target is aten._native_batch_norm_legit_no_training.default
    gamma, beta, mean, var = (value(a) for a in norm.args[1:5])
    eps = float(norm.args[6] if native else norm.args[7])  # type: ignore[arg-type]
    weight = value(layer.args[1])
    bias_node = layer.args[2] if len(layer.args) > 2 else None
    bias = value(bias_node)
    assert weight is not None and mean is not None and var is not None
    scale = (gamma if gamma is not None else torch.ones_like(mean)).double() / torch.sqrt(var.double() + eps)
    shift = (beta.double() if beta is not None else 0) - mean.double() * scale
    if bias is not None:
        shift = shift + bias.double() * scale
    weight_node = layer.args[1]
    assert isinstance(weight_node, fx.Node)
    name = str(weight_node.target)
    stem = name.rpartition(".")[0]
    bias_name = f"{stem}.bias" if stem else "bias"
    read_by_others = isinstance(bias_node, fx.Node) and len(bias_node.users) > len(calls)
    if hasattr(module.get_submodule(stem), "bias") and (bias is None or read_by_others):
        bias_name = f"{stem}.bias_{layer.name}" if stem else f"bias_{layer.name}"
    set_parameter(module, name, (weight.double() * scale.reshape(-1, *[1] * (weight.dim() - 1))).to(weight.dtype))
    set_parameter(module, bias_name, shift.to(weight.dtype))
    with module.graph.inserting_after(weight_node):
        new_weight = module.graph.get_attr(name)
        new_bias = module.graph.get_attr(bias_name)
    new_weight.meta, new_bias.meta = dict(weight_node.meta), {"val": norm.args[3].meta.get("val")}  # type: ignore[union-attr]
    for layer, norm in calls:
        layer.args = (layer.args[0], new_weight, new_bias, *layer.args[3:])
        layer.meta["norm"] = str(norm.args[3].target)  # type: ignore[union-attr]  # its running mean, for who undoes the folding
        if native:
            for user in list(norm.users):
                if user.target is operator.getitem and user.args[1] == 0:
                    _replace(user, layer)
        else:
            _replace(norm, layer)


def _replace(node: fx.Node, by: Any) -> None:
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)


def _same_type(node: fx.Node) -> bool:
    x, y = (n.meta["val"] for n in (node.args[0], node))  # type: ignore[union-attr]
    return bool(x.dtype == y.dtype and x.device == y.device)


def _same_shape(node: fx.Node, arg: Any) -> bool:
    return isinstance(arg, fx.Node) and tuple(node.meta["val"].shape[1:]) == tuple(arg.meta["val"].shape[1:])


def _finish(module: fx.GraphModule) -> None:
    module.graph.eliminate_dead_code()
    module.recompile()
    used = {str(n.target) for n in module.graph.nodes if n.op == "get_attr"}
    for name, _ in list(module.named_parameters(remove_duplicate=False)) + list(
        module.named_buffers(remove_duplicate=False)
    ):
        if name not in used:
            path, _, leaf = name.rpartition(".")
            delattr(module.get_submodule(path), leaf)

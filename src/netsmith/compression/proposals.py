"""What may belong together: proposals from torch-pruning's dependency graph, and attention heads by their names."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from netsmith.compression.branches import ZeroBranch
from netsmith.compression.channels import Member
from netsmith.compression.dependencies import TooEntangledError, made_robust
from netsmith.compression.training_mode import in_training
from netsmith.compression.trial import Inputs, Limit, first_line
from netsmith.network.copying import copy_network


@dataclass
class Proposal:
    """A proposal: members over its own channels ``range(channels)``, ``heads`` sets that are tied, or 0."""

    name: str
    channels: int
    outputs: list[Member]
    inputs: list[Member]
    heads: int = 0
    attributes: tuple[tuple[str, str, int], ...] = ()
    ops: tuple[str, ...] = ()
    reason: str | None = None


_FUSED = ("qkv", "to_qkv", "in_proj", "query_key_value")
_SPLIT = (("q", "k", "v"), ("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("to_q", "to_k", "to_v"))
_OUT = ("proj", "out_proj", "o_proj", "to_out", "out", "dense")
_HEADS = ("num_heads", "n_heads", "heads", "num_attention_heads", "n_head", "nhead")
_WIDTHS = ("attn_dim", "inner_dim", "all_head_size")


def attention_heads(model: nn.Module) -> Iterator[Proposal]:
    """Heads of attention modules that hold their query, key, value and output layers under the usual names."""
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            continue
        children = {k: m for k, m in module.named_children() if isinstance(m, nn.Linear)}
        out = next((k for k in _OUT if k in children), None)
        heads = next((a for a in _HEADS if isinstance(getattr(module, a, None), int)), None)
        if out is None or heads is None:
            continue
        width, n = children[out].in_features, getattr(module, heads)
        sources = [((k,), 3) for k in _FUSED] + [(k, 1) for k in _SPLIT]
        for names, parts in sources:
            if all(k in children and children[k].out_features == parts * width for k in names) and width % n == 0:
                dot = f"{path}." if path else ""
                root = np.arange(width)
                index = np.concatenate([root + p * width for p in range(parts)])
                outputs = [Member(dot + k, parts * width, index, np.tile(root, parts)) for k in names]
                inputs = [Member(dot + out, width, root, root)]
                scaled = [(path, a, getattr(module, a)) for a in (heads, *_WIDTHS) if hasattr(module, a)]
                yield Proposal(dot + names[0], width, outputs, inputs, heads=n, attributes=tuple(scaled))
                break


def traced(probe: nn.Module, inputs: Inputs, skip: set[str], limit: Limit, training: bool = False) -> list[Proposal]:
    """What torch-pruning proposes, a proposal for each layer whose outputs no earlier proposal covers.

    With ``training`` it is followed through what the network does in that mode.

    When ``limit`` is over, the layers left have proposals without members beside themselves, and with the reason.
    """
    from torch_pruning.dependency import DependencyGraph

    model = _with_stubs(copy_network(probe), inputs)
    names = {m: n for n, m in model.named_modules()}
    parameters = {id(p): n for n, p in model.named_parameters()}
    with warnings.catch_warnings(), torch.enable_grad(), made_robust(limit):
        warnings.simplefilter("ignore")
        level = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            forward = in_training if training else None
            graph = DependencyGraph().build_dependency(model, inputs, forward_fn=forward, verbose=False)
        finally:
            logging.disable(level)
        result: list[Proposal] = []
        covered: dict[str, set[int]] = {}
        again: set[str] = set()
        through = {n for n, m in model.named_modules() if is_depthwise(m)}
        for name, module in model.named_modules():
            if not isinstance(module, (_ConvNd, nn.Linear, nn.Embedding)) or name in skip:
                continue
            if module not in graph.module2node:
                continue
            start = [i for i in range(_out_size(module)) if i not in covered.get(name, ())]
            if name in again:  # its view of channels that a concatenation lays side by side ties what the first lost
                start = list(range(_out_size(module)))
            if start:
                try:
                    pruner = graph.get_pruner_of_module(module)
                    group = graph.get_pruning_group(module, pruner.prune_out_channels, start)
                    raw = _from_torch_pruning(name, start, group, names, parameters, graph)
                except Exception as e:  # one layer that torch-pruning cannot follow says nothing about the others
                    index = np.arange(len(start))
                    member = Member(name, _out_size(module), np.asarray(start), index)
                    entangled = isinstance(e, TooEntangledError)
                    reason = limit.reason if entangled else f"its channels could not be followed: {first_line(e)}"
                    raw = Proposal(name, len(start), [member], [], reason=reason)
                for m in raw.outputs:
                    covered.setdefault(m.layer, set()).update(m.index.tolist())
                if {"concatenation", "split", "unbind"} & set(raw.ops):
                    parts = {m.layer for m in raw.outputs if m.size < raw.channels and m.layer != name}
                    again |= parts - through
                result.append(raw)
    return result


def _from_torch_pruning(
    name: str, start: list[int], group: Any, names: dict[nn.Module, str], parameters: dict[int, str], graph: Any
) -> Proposal:
    number = {r: i for i, r in enumerate(start)}
    outputs: list[Member] = []
    inputs: list[Member] = []
    ops: list[str] = []
    reason = None
    for item in group:
        node, module = item.dep.target, item.dep.target.module
        if isinstance(module, nn.Parameter):
            layer, dim = parameters[id(module)], node.pruning_dim % module.dim()
            size, side = module.shape[dim], outputs
        elif module in names:
            layer, dim = names[module], None
            is_in = item.dep.handler.__name__ == "prune_in_channels"
            one_sided = isinstance(module, nn.Embedding) or not isinstance(module, (_ConvNd, nn.Linear))
            out = one_sided or is_depthwise(module) or not is_in
            side = outputs if out else inputs
            size = _side_size(module, out)
            if size is None:
                reason = reason or f"its channels reach {layer!r}, a {type(module).__name__}, which cannot be sliced"
                continue
            if size == 0:  # nothing in this layer depends on the number of channels
                continue
        else:
            ops.append(_op_name(module))
            continue
        index, root = np.asarray(item.idxs), np.array([number.get(r, -1) for r in item.root_idxs])
        if len(index) and (index.max() >= size or index.min() < 0 or (root < 0).any()):
            reason = reason or f"its channels do not line up with those of {layer!r} (padding or slicing of channels)"
            continue
        side.append(Member(layer, size, index.astype(np.int64), root.astype(np.int64), dim))
    if not inputs:
        reason = reason or "its channels are the network's output"
    telling = tuple(sorted({op for op in ops if op}))
    return Proposal(name, len(start), outputs, inputs, ops=telling, reason=reason)


def _with_stubs(model: nn.Module, inputs: Inputs) -> nn.Module:
    """Put layers where branches were dropped: zeros have no history, so the trace could not tie their channels."""
    paths = [p for p, m in model.named_modules() if isinstance(m, ZeroBranch)]
    if not paths:
        return model
    shapes: dict[str, tuple[int, ...]] = {}
    hooks = []
    for p in paths:

        def watch(_: nn.Module, args: Inputs, out: torch.Tensor, p: str = p) -> None:
            shapes[p] = tuple(args[0].shape)

        hooks.append(model.get_submodule(p).register_forward_hook(watch))
    with torch.no_grad():
        model(*inputs)
    for h in hooks:
        h.remove()
    dtype = next((x.dtype for x in inputs if isinstance(x, torch.Tensor) and x.is_floating_point()), torch.float32)
    for p in paths:
        zero = model.get_submodule(p)
        assert isinstance(zero, ZeroBranch)
        shape = shapes.get(p)
        if shape is None:
            continue
        conv: Any = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}.get(len(shape)) if zero.channel_dim == 1 else None
        stub: nn.Module
        if conv is not None:
            stub = conv(shape[1], zero.channels, 1, stride=zero.stride[1:])
        else:
            stub = nn.Linear(shape[-1], zero.channels)
        parent, _, name = p.rpartition(".")
        setattr(model.get_submodule(parent), name, stub.to(dtype))
    return model


def _op_name(module: nn.Module) -> str:
    """Name of a traced operation that may move channels; empty for the harmless ones."""
    text = str(getattr(module, "_grad_fn", "")) + type(module).__name__
    known = {"ConstantPad": "padding", "Reshape": "reshape", "Unbind": "unbind", "Slice": "slicing", "Split": "split",
             "Concat": "concatenation", "Softmax": "softmax", "Mm": "matrix product"}  # fmt: skip
    return next((v for k, v in known.items() if k in text), "")


def is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, _ConvNd) and 1 < module.groups == module.in_channels == module.out_channels


def sides_of(module: nn.Module) -> tuple[int, int]:
    if isinstance(module, _ConvNd):
        return module.in_channels, module.out_channels
    assert isinstance(module, nn.Linear)
    return module.in_features, module.out_features


def _out_size(module: nn.Module) -> int:
    return module.embedding_dim if isinstance(module, nn.Embedding) else sides_of(module)[1]


def _side_size(module: nn.Module, out: bool) -> int | None:
    """Channels on one side; 0 if the layer does not care how many; ``None`` if it cannot be sliced."""
    if isinstance(module, (_ConvNd, nn.Linear)):
        return sides_of(module)[out]
    if isinstance(module, nn.Embedding):
        return module.embedding_dim
    if isinstance(module, _NormBase):
        return module.num_features
    if isinstance(module, nn.GroupNorm):
        return module.num_channels
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        return module.normalized_shape[0]
    if isinstance(module, nn.PReLU):
        return module.num_parameters if module.num_parameters > 1 else 0
    return None

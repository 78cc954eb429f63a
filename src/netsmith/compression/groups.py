"""Channel groups: which channels of which layers must leave together.

torch-pruning's dependency graph proposes the groups, attention heads are proposed by the names of their layers, and
every proposal is tried: half of its channels are removed from a copy with random weights, whose output must be that
of the masked parent. What fails is frozen with the reason.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from netsmith.compression.branches import Inputs, ZeroBranch, faulty, randomized, same, shell
from netsmith.compression.channels import ChannelGroup, GroupReport, Member


def find_groups(model: nn.Module, example_input: torch.Tensor | Inputs) -> GroupReport:
    """Find the channel groups of ``model``, which is not changed; never raises for what it cannot handle.

    Args:
        model: any module.
        example_input: a tensor ``(N, ...)`` or a tuple of arguments.
    """
    probe, inputs = randomized(model, example_input)
    layers = {name: m for name, m in probe.named_modules() if isinstance(m, (_ConvNd, nn.Linear))}
    counts = {name: _sides(m) for name, m in layers.items()}
    through = frozenset(n for n, m in layers.items() if _is_depthwise(m))
    raw = list(_attention(probe))
    frozen = dict.fromkeys(layers, "it takes no part in the forward pass (in eval mode)")
    try:
        raw += _traced(probe, inputs, {m.layer for r in raw for m in r.outputs})
    except Exception as e:  # torch-pruning may fail anywhere on an unusual forward
        frozen = dict.fromkeys(layers, f"the dependency graph could not be built: {_line(e)}")
    groups, reasons = _merge(raw, probe)
    frozen |= reasons
    rng = np.random.default_rng(0)
    tried = [(g, _half(g, rng)) for g in groups]
    bad = _rejected(probe, inputs, tried)
    good = [g for i, g in enumerate(groups) if i not in bad]
    for i, reason in bad.items():
        ops = sorted({op for r in raw for op in r.ops if _overlap(r, groups[i])})
        hint = f" (the channels pass through {', '.join(ops)})" if ops else ""
        frozen |= {m.layer: reason + hint for m in groups[i].outputs}
    free = {m.layer for g in good for m in g.outputs}
    order = {name: i for i, name in enumerate(layers)}
    good.sort(key=lambda g: order.get(g.name, -1))
    return GroupReport(good, {k: v for k, v in frozen.items() if k in layers and k not in free}, counts, through)


@dataclass
class _Raw:
    """A proposal: members over its own channels ``range(channels)``, ``heads`` sets that are tied, or 0."""

    name: str
    channels: int
    outputs: list[Member]
    inputs: list[Member]
    heads: int = 0
    attributes: tuple[tuple[str, str, int], ...] = ()
    ops: tuple[str, ...] = ()
    reason: str | None = None


def _overlap(raw: _Raw, group: ChannelGroup) -> bool:
    return bool({m.layer for m in raw.outputs} & {m.layer for m in group.outputs})


# --- proposals ------------------------------------------------------------------------------------------------------

_FUSED = ("qkv", "to_qkv", "in_proj", "query_key_value")
_SPLIT = (("q", "k", "v"), ("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("to_q", "to_k", "to_v"))
_OUT = ("proj", "out_proj", "o_proj", "to_out", "out", "dense")
_HEADS = ("num_heads", "n_heads", "heads", "num_attention_heads", "n_head", "nhead")
_WIDTHS = ("attn_dim", "inner_dim", "all_head_size")


def _attention(model: nn.Module) -> Iterator[_Raw]:
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
                yield _Raw(dot + names[0], width, outputs, inputs, heads=n, attributes=tuple(scaled))
                break


def _traced(probe: nn.Module, inputs: Inputs, skip: set[str]) -> list[_Raw]:
    """What torch-pruning proposes, a proposal for each layer whose outputs no earlier proposal covers."""
    from torch_pruning.dependency import DependencyGraph

    model = _with_stubs(copy.deepcopy(probe), inputs)
    names = {m: n for n, m in model.named_modules()}
    parameters = {id(p): n for n, p in model.named_parameters()}
    with warnings.catch_warnings(), torch.enable_grad(), _tolerant_reshapes():
        warnings.simplefilter("ignore")
        level = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            graph = DependencyGraph().build_dependency(model, inputs, verbose=False)
        finally:
            logging.disable(level)
        result: list[_Raw] = []
        covered: dict[str, set[int]] = {}
        again: set[str] = set()
        through = {n for n, m in model.named_modules() if _is_depthwise(m)}
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
                    reason = f"its channels could not be followed: {_line(e)}"
                    raw = _Raw(name, len(start), [member], [], reason=reason)
                for m in raw.outputs:
                    covered.setdefault(m.layer, set()).update(m.index.tolist())
                if {"concatenation", "split", "unbind"} & set(raw.ops):
                    parts = {m.layer for m in raw.outputs if m.size < raw.channels and m.layer != name}
                    again |= parts - through
                result.append(raw)
    return result


@contextlib.contextmanager
def _tolerant_reshapes() -> Iterator[None]:
    """A reshape that torch-pruning cannot read (a channel shuffle: ZeroDivisionError) is left as if it moved nothing.

    Groups through it are wrong then, and fail their trial; the others are saved.
    """
    from torch_pruning.dependency import index_mapping

    original = index_mapping.update_reshape_index_mapping

    def tolerant(graph: Any, node: Any) -> None:
        with contextlib.suppress(ArithmeticError):
            original(graph, node)

    index_mapping.update_reshape_index_mapping = tolerant
    try:
        yield
    finally:
        index_mapping.update_reshape_index_mapping = original


def _from_torch_pruning(
    name: str, start: list[int], group: Any, names: dict[nn.Module, str], parameters: dict[int, str], graph: Any
) -> _Raw:
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
            out = one_sided or _is_depthwise(module) or not is_in
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
    return _Raw(name, len(start), outputs, inputs, ops=telling, reason=reason)


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


# --- layer facts ----------------------------------------------------------------------------------------------------


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, _ConvNd) and 1 < module.groups == module.in_channels == module.out_channels


def _sides(module: nn.Module) -> tuple[int, int]:
    if isinstance(module, _ConvNd):
        return module.in_channels, module.out_channels
    assert isinstance(module, nn.Linear)
    return module.in_features, module.out_features


def _out_size(module: nn.Module) -> int:
    return module.embedding_dim if isinstance(module, nn.Embedding) else _sides(module)[1]


def _side_size(module: nn.Module, out: bool) -> int | None:
    """Channels on one side; 0 if the layer does not care how many; ``None`` if it cannot be sliced."""
    if isinstance(module, (_ConvNd, nn.Linear)):
        return _sides(module)[out]
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


# --- ties: from proposals to groups ---------------------------------------------------------------------------------


class _Union:
    def __init__(self, n: int) -> None:
        self.parent = list(range(n))

    def find(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        self.parent[self.find(i)] = self.find(j)


def _merge(raw: list[_Raw], model: nn.Module) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Tie what must go together: heads, convolution groups (on both sides), norm groups, channels claimed twice."""
    offsets = np.concatenate([[0], np.cumsum([r.channels for r in raw])]).astype(int)
    union = _Union(int(offsets[-1]))
    owner = np.repeat(np.arange(len(raw)), [r.channels for r in raw]) if raw else np.zeros(0, dtype=int)
    where: dict[tuple[str, bool], dict[int, int]] = {}  # (layer, out side) -> channel -> element of the union
    for k, r in enumerate(raw):
        if r.heads:
            for c in range(r.channels):
                union.join(offsets[k] + c, offsets[k] + c - c % (r.channels // r.heads))
        for out, members in ((True, r.outputs), (False, r.inputs)):
            for m in members:
                slots = where.setdefault((m.layer, out), {})
                for i, c in zip(m.index.tolist(), m.root.tolist(), strict=True):
                    union.join(slots.setdefault(i, offsets[k] + c), offsets[k] + c)
    stuck: dict[int, str] = {k: r.reason for k, r in enumerate(raw) if r.reason}
    for layer, module in model.named_modules():
        for sides, size in _tied_sides(module):
            for g in range(size[0][1]):
                elements, missing = [], False
                for out, (per, _) in zip(sides, size, strict=True):
                    slots = where.get((layer, out), {})
                    found = [slots.get(i) for i in range(g * per, (g + 1) * per)]
                    missing |= None in found
                    elements += [e for e in found if e is not None]
                for e in elements:
                    union.join(e, elements[0])
                    if missing:
                        stuck.setdefault(
                            int(owner[e]), f"{layer!r} works on channel groups that cannot be pruned whole"
                        )
    return _assemble(raw, union, offsets, stuck)


def _tied_sides(module: nn.Module) -> Iterator[tuple[tuple[bool, ...], tuple[tuple[int, int], ...]]]:
    """Sides (True: output) of a layer whose channels are tied in sets: per side the set's size, and their number."""
    if isinstance(module, _ConvNd) and module.groups > 1 and not _is_depthwise(module):
        n = module.groups
        yield (False, True), ((module.in_channels // n, n), (module.out_channels // n, n))
    elif isinstance(module, nn.GroupNorm) and module.num_groups > 1:
        yield (True,), ((module.num_channels // module.num_groups, module.num_groups),)


def _assemble(
    raw: list[_Raw], union: _Union, offsets: NDArray[Any], stuck: dict[int, str]
) -> tuple[list[ChannelGroup], dict[str, str]]:
    proposals = _Union(len(raw))
    sets: dict[int, list[tuple[int, int]]] = {}  # tied set -> (proposal, channel)
    for k, r in enumerate(raw):
        for c in range(r.channels):
            tied = sets.setdefault(union.find(int(offsets[k]) + c), [])
            if tied:
                proposals.join(k, tied[0][0])
            tied.append((k, c))
    families: dict[int, list[list[tuple[int, int]]]] = {}
    for tied in sets.values():
        families.setdefault(proposals.find(tied[0][0]), []).append(tied)
    groups: list[ChannelGroup] = []
    frozen: dict[str, str] = {}
    for blocks in families.values():
        members = sorted({k for tied in blocks for k, _ in tied})
        reason = next((stuck[k] for k in members if k in stuck), None)
        first = members[0]
        sizes = {sum(k == first for k, _ in tied) for tied in blocks}
        if len(sizes) > 1:
            reason = reason or "its channels are tied in sets of unequal size"
        elif len(blocks) < 2:
            reason = reason or "all of its channels are tied together"
        if reason:
            frozen |= {m.layer: reason for k in members for m in raw[k].outputs}
            continue
        unit = sizes.pop()
        groups.append(_group(raw, members, blocks, unit))
    return groups, frozen


def _group(raw: list[_Raw], members: list[int], blocks: list[list[tuple[int, int]]], unit: int) -> ChannelGroup:
    """Number the channels of a family block by block, in the order of its first proposal."""
    blocks.sort(key=lambda tied: min(c for k, c in tied if k == members[0]))
    number = {k: np.zeros(raw[k].channels, dtype=np.int64) for k in members}
    for b, tied in enumerate(blocks):
        for k in members:
            own = sorted(c for p, c in tied if p == k)
            for j, c in enumerate(own):
                number[k][c] = b * unit + j * unit // len(own)
    sides: list[dict[str, Member]] = [{}, {}]
    for k in members:
        for side, some in zip(sides, (raw[k].outputs, raw[k].inputs), strict=True):
            for m in some:
                index, root = m.index, number[k][m.root]
                if m.layer in side:  # claimed by several proposals of the family
                    old = side[m.layer]
                    index, root = np.concatenate([old.index, index]), np.concatenate([old.root, root])
                index, order = np.unique(index, return_index=True)
                side[m.layer] = Member(m.layer, m.size, index, root[order], m.dim)
    attributes = tuple(a for k in members for a in raw[k].attributes)
    name = raw[members[0]].name
    return ChannelGroup(name, len(blocks) * unit, unit, tuple(sides[0].values()), tuple(sides[1].values()), attributes)


# --- the trial ------------------------------------------------------------------------------------------------------


def _half(group: ChannelGroup, rng: np.random.Generator) -> list[int]:
    """About half of a group's units, at random; two or more where it has them, as one channel could broadcast."""
    n = group.channels // group.unit
    units = np.sort(rng.permutation(n)[: max(n // 2, min(2, n - 1))])
    return [int(u) * group.unit + i for u in units for i in range(group.unit)]


Tried = tuple[ChannelGroup, list[int]]


def _rejected(probe: nn.Module, inputs: Inputs, tried: list[Tried]) -> dict[int, str]:
    """Index of each group that fails its trial -> the reason; the others pass together.

    Most failures are shapes that do not fit, which shows without arithmetic, on torch's meta device. If the rest does
    not pass, the search goes on with one sample where the network allows it, and what it accepts is tried on all.
    """
    bad: dict[int, str] = {}

    def search(trial: Callable[[list[Tried]], str | None]) -> None:
        left = [i for i in range(len(tried)) if i not in bad]
        found = faulty([tried[i] for i in left], trial)
        bad.update({left[k]: reason for k, reason in found.items()})

    meta = _on_meta(probe, inputs)
    if meta is not None:
        search(lambda some: _fits(*meta, some))
    left = [t for i, t in enumerate(tried) if i not in bad]
    if not left or _trial(probe, inputs, left) is None:
        return bad
    one = tuple(x[:1] if isinstance(x, torch.Tensor) and x.dim() > 1 and len(inputs) == 1 else x for x in inputs)
    try:
        with torch.no_grad():
            probe(*one)
    except Exception:  # this forward insists on its batch
        one = inputs
    search(lambda some: _trial(probe, one, some))
    if one is not inputs:
        search(lambda some: _trial(probe, inputs, some))
    return bad


def _on_meta(probe: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs] | None:
    """The network and its inputs without values, or None if its forward needs values."""
    try:
        with torch.no_grad():
            model = copy.deepcopy(probe).to("meta")
            args = tuple(x.to("meta") if isinstance(x, torch.Tensor) else x for x in inputs)
            model(*args)
        return model, args
    except Exception:
        return None


def _fits(probe: nn.Module, inputs: Inputs, tried: list[Tried]) -> str | None:
    from netsmith.compression.prune import prune

    small = shell(probe)
    with torch.no_grad():
        try:
            prune(small, GroupReport([g for g, _ in tried], {}, {}), {g.name: kept for g, kept in tried})
            small(*inputs)
        except Exception as e:
            return f"removing its channels breaks the forward: {_line(e)}"
    return None


def _trial(probe: nn.Module, inputs: Inputs, tried: list[Tried]) -> str | None:
    from netsmith.compression.prune import masked, prune

    report = GroupReport([g for g, _ in tried], {}, {})
    keep = {g.name: kept for g, kept in tried}
    with torch.no_grad():
        try:
            small = shell(probe)
            prune(small, report, keep)
            got = small(*inputs)
        except Exception as e:
            return f"removing its channels breaks the forward: {_line(e)}"
        if same(masked(probe, report, keep)(*inputs), got):
            return None
    return "removing its channels changes what other channels compute"


def _line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:160]}" if text else type(error).__name__

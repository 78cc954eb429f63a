"""Channel groups: which channels of which layers must leave together.

torch-pruning's dependency graph proposes the groups, attention heads are proposed by the names of their layers, and
every proposal is tried: half of its channels are removed from a copy with random weights, whose output must be that
of the masked parent. What fails is frozen with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.conv import _ConvNd

from netsmith.compression.channels import ChannelGroup, GroupReport, Member
from netsmith.compression.proposals import Proposal, attention_heads, is_depthwise, sides_of, traced
from netsmith.compression.training_mode import breaks_in_training, has_training_layers
from netsmith.compression.trial import Inputs, Limit, faulty, first_line, randomized, same, shell
from netsmith.network.copying import copy_network

PATIENCE_S = 60.0  #: networks in use take a few seconds for either step


def find_groups(model: nn.Module, example_input: torch.Tensor | Inputs, *, seconds: float = PATIENCE_S) -> GroupReport:
    """Find the channel groups of ``model``, which is not changed; never raises for what it cannot handle.

    Args:
        model: any module.
        example_input: a tensor ``(N, ...)`` or a tuple of arguments.
        seconds: how long it may take to follow the channels, and again to try the groups. What is open then is frozen
            as too entangled. Time of the processor, not of the clock, so that the result does not depend on other work;
            and the default is far above what networks need whose concatenations are not sliced again and again.
    """
    probe, inputs = randomized(model, example_input)
    layers = {name: m for name, m in probe.named_modules() if isinstance(m, (_ConvNd, nn.Linear))}
    counts = {name: sides_of(m) for name, m in layers.items()}
    through = frozenset(n for n, m in layers.items() if is_depthwise(m))
    raw = list(attention_heads(probe))
    frozen = dict.fromkeys(layers, "it takes no part in the forward pass (in eval mode)")
    try:
        skip = {m.layer for r in raw for m in r.outputs}
        raw += traced(probe, inputs, skip, Limit(seconds), training=has_training_layers(probe, inputs))
    except Exception as e:  # torch-pruning may fail anywhere on an unusual forward
        frozen = dict.fromkeys(layers, f"the dependency graph could not be built: {first_line(e)}")
    groups, reasons = _merge(raw, probe)
    frozen |= reasons
    rng = np.random.default_rng(0)
    tried = [(g, _half(g, rng)) for g in groups]
    bad = _rejected(probe, inputs, tried, Limit(seconds))
    bad |= _rejected_in_training(probe, inputs, {i: t for i, t in enumerate(tried) if i not in bad}, Limit(seconds))
    good = [g for i, g in enumerate(groups) if i not in bad]
    for i, reason in bad.items():
        ops = sorted({op for r in raw for op in r.ops if _overlap(r, groups[i])})
        hint = f" (the channels pass through {', '.join(ops)})" if ops else ""
        frozen |= {m.layer: reason + hint for m in groups[i].outputs}
    free = {m.layer for g in good for m in g.outputs}
    order = {name: i for i, name in enumerate(layers)}
    good.sort(key=lambda g: order.get(g.name, -1))
    return GroupReport(good, {k: v for k, v in frozen.items() if k in layers and k not in free}, counts, through)


def _overlap(raw: Proposal, group: ChannelGroup) -> bool:
    return bool({m.layer for m in raw.outputs} & {m.layer for m in group.outputs})


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


def _merge(raw: list[Proposal], model: nn.Module) -> tuple[list[ChannelGroup], dict[str, str]]:
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
    if isinstance(module, _ConvNd) and module.groups > 1 and not is_depthwise(module):
        n = module.groups
        yield (False, True), ((module.in_channels // n, n), (module.out_channels // n, n))
    elif isinstance(module, nn.GroupNorm) and module.num_groups > 1:
        yield (True,), ((module.num_channels // module.num_groups, module.num_groups),)


def _assemble(
    raw: list[Proposal], union: _Union, offsets: NDArray[Any], stuck: dict[int, str]
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


def _group(raw: list[Proposal], members: list[int], blocks: list[list[tuple[int, int]]], unit: int) -> ChannelGroup:
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


def _rejected(probe: nn.Module, inputs: Inputs, tried: list[Tried], limit: Limit) -> dict[int, str]:
    """Index of each group that fails its trial -> the reason; the others pass together.

    Most failures are shapes that do not fit, which shows without arithmetic, on torch's meta device. If the rest does
    not pass, the search goes on with one sample where the network allows it, and what it accepts is tried on all.
    Nothing passes that was not tried with all that passes, whatever the limit.
    """
    bad: dict[int, str] = {}

    def search(trial: Callable[[list[Tried]], str | None]) -> None:
        left = [i for i in range(len(tried)) if i not in bad]
        found = faulty([tried[i] for i in left], trial, limit)
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


def _rejected_in_training(probe: nn.Module, inputs: Inputs, tried: dict[int, Tried], limit: Limit) -> dict[int, str]:
    """Index of each group without whose channels the network runs in evaluation but not in training -> the reason."""
    from netsmith.compression.prune import prune

    def trial(some: list[Tried]) -> str | None:
        small = shell(probe)
        with torch.no_grad():
            prune(small, GroupReport([g for g, _ in some], {}, {}), {g.name: kept for g, kept in some})
        return breaks_in_training(small, inputs)

    if not tried or breaks_in_training(probe, inputs):  # as given it does not train either
        return {}
    found = faulty(list(tried.values()), trial, limit)
    return {list(tried)[k]: reason for k, reason in found.items()}


def _on_meta(probe: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs] | None:
    """The network and its inputs without values, or None if its forward needs values."""
    try:
        with torch.no_grad():
            model = copy_network(probe).to("meta")
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
            return f"removing its channels breaks the forward: {first_line(e)}"
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
            return f"removing its channels breaks the forward: {first_line(e)}"
        if same(masked(probe, report, keep)(*inputs), got):
            return None
    return "removing its channels changes what other channels compute"

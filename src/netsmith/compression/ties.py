"""From what a run showed to channel groups: classes of labels that leave together, and classes that are alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.channels import ChannelGroup, Member, PaddedEnd
from netsmith.compression.following import Followed
from netsmith.compression.labels import Alike, Cut, IntArray, Padding, Product, Reason, along
from netsmith.compression.layers import is_depthwise

_HEADS = ("num_heads", "n_heads", "heads", "num_attention_heads", "n_head", "nhead")
_WIDTHS = ("attn_dim", "inner_dim", "all_head_size")
_CHOSEN = Reason("its channels are laid out as several axes, of which another one can shrink")
_LAST = Reason("the forward cuts its channels at fixed positions")


@dataclass
class Resolved:
    """Groups, and why the rest stays.

    Attributes:
        groups: see ``ChannelGroup``.
        open: for each group the indices of what was resolved for it in one of several ways.
        reasons: layer -> why its outputs stay, for each of its outputs that does.
    """

    groups: list[ChannelGroup] = field(default_factory=list)
    open: list[set[int]] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)


class _Classes:
    """Labels in classes that leave together, and what is known of each class."""

    def __init__(self, found: Followed) -> None:
        self.found = found
        self.edges = list(found.labels.edges)
        self.pins = list(found.labels.pins)
        self.join()

    def join(self) -> None:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        n = max(self.found.labels.count, 1)
        a, b = (np.concatenate([np.zeros(0, np.int64), *(e[i] for e in self.edges)]) for i in (0, 1))
        graph = coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(n, n))
        self.number, self.of = connected_components(graph, directed=False)
        self.pinned = np.full(self.number, -1)  # class -> which of the pins
        for i in range(len(self.pins) - 1, -1, -1):
            self.pinned[self.of[self.pins[i][0]]] = i

    def free(self, labels: IntArray) -> bool:
        """Whether any of these can leave."""
        some = labels[labels >= 0]
        return bool(len(some)) and bool((self.pinned[self.of[some]] < 0).any())

    def stays(self, labels: IntArray) -> list[bool]:
        """For each of these whether it is known to stay."""
        return [bool(x < 0 or self.pinned[self.of[x]] >= 0) for x in labels]

    def pin(self, labels: IntArray, reason: Reason) -> None:
        some = labels[labels >= 0]
        if len(some):
            classes = self.of[some]
            self.pinned[classes[self.pinned[classes] < 0]] = len(self.pins)
            self.pins.append((some, reason))

    def tie(self, a: IntArray, b: IntArray) -> None:
        both = (a >= 0) & (b >= 0)
        self.edges.append((a[both], b[both]))
        for one, other in ((a, b), (b, a)):
            self.pin(one[(one >= 0) & (other < 0)], _CHOSEN)

    def parts(self, item: Product, axis: IntArray) -> int:
        """Into how many sets the axes of ``item`` fall that can leave apart from each other, if ``axis`` shrinks."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        at = next(i for i, f in enumerate(item.factors) if f is axis)
        shrinks = along(axis, at, [len(f) for f in item.factors])
        ends = [np.where(x >= 0, self.of[x], 0) for x in (item.whole, shrinks)]
        names, both = np.unique(np.concatenate(ends), return_inverse=True)
        a, b = both.reshape(2, -1)
        graph = coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(len(names), len(names)))
        return int(connected_components(graph, directed=False)[0])

    def reason(self, labels: IntArray) -> Reason | None:
        some = labels[labels >= 0]
        numbers = self.pinned[self.of[some]]
        counted = Counter(numbers[numbers >= 0].tolist()).most_common(1)
        return self.pins[counted[0][0]][1] if counted else None


def resolve(found: Followed, model: nn.Module, options: Mapping[int, int]) -> Resolved:
    """Bring what ``found`` shows to groups.

    Args:
        options: for what can be resolved in several ways, by its index: which way to take, the first unless it says so.
    """
    classes = _Classes(found)
    attributes = _decide(classes, model, options)
    _one_side(classes)
    return _groups(classes, model, attributes, options)


def ways(found: Followed, index: int) -> int:
    """In how many ways an open item can be resolved."""
    item = found.labels.open[index]
    if isinstance(item, Product):
        return len(item.factors) + 1
    return 4 if isinstance(item, Cut) else 2


# --- what is open ----------------------------------------------------------------------------------------------------


def _decide(classes: _Classes, model: nn.Module, options: Mapping[int, int]) -> dict[int, list[tuple[str, str, int]]]:
    """Resolve products and cuts: first what is forced, then by preference; returns the counts that shrink with them."""
    items: dict[int, Product | Cut] = {}
    for i, x in enumerate(classes.found.labels.open):
        if isinstance(x, (Product, Cut)):
            items[i] = x
        elif isinstance(x, Alike) and options.get(i, 0):
            classes.tie(x.whole, x.others)
    classes.join()
    left = list(items)
    kept = np.zeros(classes.found.labels.count, dtype=bool)  # labels of axes that were chosen to shrink
    attributes: dict[int, list[tuple[str, str, int]]] = {}
    while left:
        forced = []
        for i in left:
            item = items[i]
            if isinstance(item, Cut):
                if not classes.free(item.whole) and not classes.free(item.out):
                    forced.append(i)
                    classes.tie(item.whole[item.start : item.start + len(item.out)], item.out)
                continue
            free = [f for f in item.factors if classes.free(f)]
            if len(free) <= 1 or not classes.free(item.whole):
                forced.append(i)
                _resolve(classes, item, free[0] if len(free) == 1 else None)
                if len(free) == 1:
                    attributes[i] = _counts(item, free[0], model)
        if not forced:
            for i in left:
                item = items[i]
                if isinstance(item, Cut):
                    pieces = [c for c in items.values() if isinstance(c, Cut) and c.whole is item.whole]
                    _cut(classes, item, pieces, options.get(i, 0))
                    forced.append(i)
                    continue
                free = [f for f in item.factors if classes.free(f)]
                if len(free) > 1:
                    best = _prefer(classes, item, free, kept, model, options.get(i, 0))
                    for f in free:
                        if f is best:
                            kept[f[f >= 0]] = True
                        else:
                            classes.pin(f, _CHOSEN)
        left = [i for i in left if i not in set(forced)]
        classes.join()
    return attributes


def _resolve(classes: _Classes, item: Product, free: IntArray | None) -> None:
    if free is None:
        fixed = next((f for f in (item.whole, *item.factors) if classes.reason(f) is not None), item.whole)
        reason = classes.reason(fixed) or _CHOSEN
        for labels in (item.whole, *item.factors):
            classes.pin(labels, reason)
        return
    at = next(i for i, f in enumerate(item.factors) if f is free)
    classes.tie(item.whole, along(free, at, [len(f) for f in item.factors]))


def _prefer(
    classes: _Classes, item: Product, free: Sequence[IntArray], kept: NDArray[np.bool_], model: nn.Module, option: int
) -> IntArray | None:
    """Which of the axes that could shrink does: one that was chosen elsewhere, heads that are counted, then the one
    that leaves most to choose from."""

    def rank(k: int) -> tuple[bool, bool, int, int]:
        axis = free[k]
        chosen = bool(kept[axis[axis >= 0]].any())
        last = k if item.owner is not None else -k  # heads are laid out before what is in them
        return not chosen, not _counts(item, axis, model), -classes.parts(item, axis), last

    order = sorted(range(len(free)), key=rank)
    return free[order[option]] if option < len(order) else None


def _counts(item: Product, axis: IntArray, model: nn.Module) -> list[tuple[str, str, int]]:
    """Attributes of the module that laid out the axes, which say how long the axis of heads is."""
    if item.owner is None:
        return []
    owner = model.get_submodule(item.owner)
    found = []
    for names, value in ((_HEADS, len(axis)), (_WIDTHS, len(item.whole))):
        for a in names:
            if isinstance(getattr(owner, a, None), int) and getattr(owner, a) == value:
                found.append((item.owner, a, value))
    return found if any(a in _HEADS for _, a, _ in found) else []


def _cut(classes: _Classes, item: Cut, pieces: Sequence[Cut], option: int) -> None:
    """Resolve a cut: into equal parts that shrink alike, at a place that moves with the channels before it, at a fixed
    place (what lies behind the last one can shrink), or not at all."""
    n, size, start = len(item.whole), len(item.out), item.start
    stay = {tuple(classes.stays(c.out)) for c in pieces}
    if n % size or start % size or len(stay) > 1:  # what stays in one part would keep its like in the others
        option = max(option, 1)
    if option == 0:
        for k in range(n // size):
            classes.tie(item.whole[k * size : (k + 1) * size], item.out)
        return
    classes.tie(item.whole[start : start + size], item.out)
    if option > 1:
        classes.pin(item.whole[: start if start + size == n else start + size], _LAST)
    if option > 2:
        classes.pin(item.whole, _LAST)


def _one_side(classes: _Classes) -> None:
    """A bare parameter can shrink along one of its dimensions."""
    by_path: dict[str, list[IntArray]] = {}
    for (path, _, dim), labels in classes.found.sides.items():
        if dim is not None and classes.free(labels):
            by_path.setdefault(path, []).append(labels)
    for path, dims in by_path.items():
        for labels in dims[1:]:
            classes.pin(labels, Reason(f"the parameter {path!r} would have to shrink along two of its dimensions"))
    classes.join()


# --- groups ----------------------------------------------------------------------------------------------------------


def _groups(
    classes: _Classes, model: nn.Module, attributes: Mapping[int, list[tuple[str, str, int]]],
    options: Mapping[int, int],
) -> Resolved:  # fmt: skip
    order = {name: i for i, (name, _) in enumerate(model.named_modules())}
    layers = dict(model.named_modules())
    sides = [
        s for s in classes.found.sides.items()
        if not (s[0][2] is None and not s[0][1] and is_depthwise(layers[s[0][0]]))
        and not (s[0][1] and _weighted(layers.get(s[0][0])) and s[0][0] not in classes.found.used)
    ]  # fmt: skip
    sides.sort(key=lambda s: (order.get(s[0][0], order.get(s[0][0].rpartition(".")[0], len(order))), s[0][2] or -1))
    members: dict[int, dict[int, list[int]]] = {}  # class -> side -> indices
    for k, (_, labels) in enumerate(sides):
        real = np.flatnonzero(labels >= 0)
        of = classes.of[labels[real]]
        for c, i in zip(of.tolist(), real.tolist(), strict=True):
            if classes.pinned[c] < 0:
                members.setdefault(c, {}).setdefault(k, []).append(i)
    families: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for c, sides_of_c in members.items():
        families.setdefault(tuple((k, len(v)) for k, v in sorted(sides_of_c.items())), []).append(c)
    out = Resolved()
    tied: set[int] = set()  # sides whose channels can leave only all at once
    names: set[str] = set()
    for signature, alike in families.items():
        produced = [k for k, _ in signature if sides[k][0][1] and _weighted(layers.get(sides[k][0][0]))]
        if not produced:
            continue
        if len(alike) < 2:
            tied |= set(produced)
            continue
        first = produced[0]
        alike.sort(key=lambda c: members[c][first][0])
        numbers = np.array(alike)
        touching = _touching(classes, numbers)
        heads = tuple(dict.fromkeys(a for i in sorted(touching) for a in attributes.get(i, [])))
        # of heads those channels are counted that the layer behind them reads, not queries, keys and values apart
        read = [n for k, n in signature if not sides[k][0][1]] if heads else []
        unit = min([dict(signature)[first], *read])
        own = _group(signature, first, unit, [members[c] for c in alike], sides, names)
        names.add(own.name)
        padded = _padded(classes, {c: b * unit for b, c in enumerate(alike)}, options)
        out.groups.append(replace(own, attributes=heads, meeting=_meeting(classes, numbers), padded=padded))
        out.open.append(touching)
    _explain(classes, sides, tied, layers, out)
    return out


def _group(
    signature: Sequence[tuple[int, int]], first: int, unit: int, blocks: Sequence[Mapping[int, Sequence[int]]],
    sides: Sequence[tuple[tuple[str, bool, int | None], IntArray]], taken: set[str],
) -> ChannelGroup:  # fmt: skip
    outputs: list[Member] = []
    inputs: list[Member] = []
    for k, n in signature:
        (layer, out, dim), labels = sides[k]
        index = np.array([i for b in blocks for i in b[k]])
        root = np.concatenate([b * unit + np.arange(n) * unit // n for b in range(len(blocks))])
        at = np.argsort(index)
        (outputs if out else inputs).append(Member(layer, len(labels), index[at], root[at], dim))
    name = sides[first][0][0]
    if name in taken:  # other channels of the same layer, which other layers read
        others = [sides[k][0][0] for k, _ in signature if sides[k][0][1] and sides[k][0][2] is None]
        index = next(m for m in outputs if m.layer == name).index
        name = next((o for o in others if o not in taken), f"{name}[{index[0]}..{index[-1]}]")
    return ChannelGroup(name, len(blocks) * unit, unit, tuple(outputs), tuple(inputs))


def _touching(classes: _Classes, own: IntArray) -> set[int]:
    return {
        i for i, item in enumerate(classes.found.labels.open)
        if np.isin(classes.of[item.whole[item.whole >= 0]], own).any()
    }  # fmt: skip


def _padded(classes: _Classes, root: Mapping[int, int], options: Mapping[int, int]) -> tuple[PaddedEnd, ...]:
    """Padded channels that leave with a group, given the first channel of the group for each of its classes."""
    found = []
    for i, item in enumerate(classes.found.labels.open):
        if isinstance(item, Padding) and options.get(i, 0) == 0:
            for behind, labels in enumerate((item.front, item.behind)):
                roots = [root[c] for c in classes.of[labels].tolist() if c in root]
                if roots:
                    found.append(PaddedEnd(item.owner, item.dim, bool(behind), np.array(roots)))
    return tuple(found)


def _meeting(classes: _Classes, own: IntArray) -> bool:
    return any(np.isin(classes.of[m[m >= 0]], own).any() for m in classes.found.labels.meet)


def _weighted(module: nn.Module | None) -> bool:
    return isinstance(module, (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding))


def _explain(
    classes: _Classes, sides: Sequence[tuple[tuple[str, bool, int | None], IntArray]], tied: set[int],
    layers: Mapping[str, nn.Module], out: Resolved,
) -> None:  # fmt: skip
    for k, ((layer, is_out, dim), labels) in enumerate(sides):
        if not is_out or dim is not None or not _weighted(layers.get(layer)):
            continue
        reason = classes.reason(labels)
        if len(labels) == 1:
            out.reasons[layer] = "it has one output channel only"
        elif reason is not None:
            out.reasons[layer] = reason.said_of(layer)
        elif k in tied:
            out.reasons[layer] = "all of its channels are tied together and could only leave at once"
    out.reasons |= classes.found.computed
    for layer, module in layers.items():
        if _weighted(module) and layer not in classes.found.used:
            out.reasons[layer] = "it takes no part in the forward pass (in eval mode)"

"""Residual branches: which ones can go, and how a module forgets one without a change to the user's classes.

A branch is what lies between a tensor ``t`` and one operand of an addition whose other operand also comes from ``t``
(itself, or through a shorter shortcut). Removing it makes that operand zero: the last module of the branch becomes a
``ZeroBranch`` and the modules before it become ``PassThrough``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch
from torch import nn

from netsmith.compression.training_mode import breaks_in_training
from netsmith.compression.trial import Inputs, faulty, randomized, same, shell
from netsmith.errors import InputError

_WEIGHTY = (nn.modules.conv._ConvNd, nn.Linear, nn.MultiheadAttention)


class ZeroBranch(nn.Module):
    """Yields zeros of the shape that the removed branch would yield: ``channels`` on dimension ``channel_dim``,
    the other dimensions of the input divided by ``stride`` (rounded up)."""

    def __init__(self, channels: int, channel_dim: int = 1, stride: Sequence[int] = ()) -> None:
        super().__init__()
        self.channels, self.channel_dim, self.stride = channels, channel_dim, tuple(stride)

    def forward(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Map ``(N, ...)`` to zeros."""
        shape = list(x.shape)
        for dim, s in enumerate(self.stride, start=1):
            shape[dim] = (shape[dim] + s - 1) // s
        shape[self.channel_dim] = self.channels
        # not x.new_zeros: an exported graph then has nothing that keeps the modules before alive
        return torch.zeros(shape, dtype=x.dtype, device=x.device)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, channel_dim={self.channel_dim}, stride={self.stride}"


class PassThrough(nn.Module):
    """Yields a copy of its first input; as a tuple ``(x, None, ...)`` of ``items`` where the replaced module did so.

    It is a copy because what follows may write in place (a ReLU) to what the shortcut still reads.
    """

    def __init__(self, items: int = 0) -> None:
        super().__init__()
        self.items = items

    def forward(self, x: Any, *_: Any, **__: Any) -> Any:
        x = x.clone() if isinstance(x, torch.Tensor) else x
        return (x, *[None] * (self.items - 1)) if self.items else x


@dataclass(frozen=True)
class Branch:
    """A removable residual branch.

    Attributes:
        name: path of the module that the branch is, or of the block that holds it.
        zero: path of the module that becomes a ``ZeroBranch``.
        passes: paths of the modules before it, with the length of the tuple that they yield (0: a tensor).
        channels, channel_dim, stride: what the ``ZeroBranch`` needs.
        layers: paths of the layers with weights (convolution, linear, multi-head attention) that go.
    """

    name: str
    zero: str
    passes: tuple[tuple[str, int], ...] = ()
    channels: int = 1
    channel_dim: int = 1
    stride: tuple[int, ...] = ()
    layers: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """Paths of all modules that are replaced."""
        return (*(p for p, _ in self.passes), self.zero)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "zero": self.zero, "passes": [list(p) for p in self.passes], "channels": self.channels,
            "channel_dim": self.channel_dim, "stride": list(self.stride), "layers": list(self.layers),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Branch:
        passes = tuple((str(p), int(n)) for p, n in d["passes"])
        stride, layers = tuple(int(s) for s in d["stride"]), tuple(d["layers"])
        return cls(d["name"], d["zero"], passes, int(d["channels"]), int(d["channel_dim"]), stride, layers)


def drop_branches(model: nn.Module, branches: Iterable[Branch]) -> nn.Module:
    """Remove ``branches`` from ``model`` in place and return it.

    Raises:
        InputError: the model has no such modules.
    """
    for branch in branches:
        for path in branch.modules:
            try:
                old = model.get_submodule(path)
            except AttributeError as e:
                raise InputError(
                    f"branch {branch.name!r}: this model has no module {path!r}; use the same MODEL"
                ) from e
            new: nn.Module = PassThrough(dict(branch.passes).get(path, 0))
            if path == branch.zero:
                new = ZeroBranch(branch.channels, branch.channel_dim, branch.stride)
            new.train(old.training)
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, new)
    return model


def find_branches(model: nn.Module, example_input: torch.Tensor | Inputs) -> list[Branch]:
    """List the residual branches of ``model`` whose removal works, in execution order; ``model`` is not changed.

    Each listed branch was removed from a copy with random weights, whose output was that of the whole network with
    the branch's operand set to zero.

    Args:
        model: any module that ``torch.export`` can trace; for others the list is empty.
        example_input: a tensor ``(N, ...)`` or a tuple of arguments.
    """
    probe, inputs = randomized(model, example_input)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            exported = torch.export.export(probe, inputs, strict=False)
            graph = exported.module(check_guards=False)
    except Exception:  # whatever a user's forward does that cannot be exported: there is then nothing to list
        return []
    assert isinstance(graph, torch.fx.GraphModule)
    found = [f for f in _candidates(graph, probe) if f[0].layers]
    found = _with_shapes(probe, inputs, found)
    trains = bool(found) and breaks_in_training(probe, inputs) is None

    def trial(some: list[tuple[Branch, torch.fx.Node]]) -> str | None:
        with torch.no_grad():
            want = _ZeroAt(graph, {node for _, node in some}).run(*inputs)
            try:
                small = drop_branches(shell(probe), [b for b, _ in some])
                got = small(*inputs)
            except Exception as e:
                return str(e)
        if not same(want, got):
            return "the output differs"
        return breaks_in_training(small, inputs) if trains else None

    bad = faulty(found, trial)
    return _named([b for i, (b, _) in enumerate(found) if i not in bad])


class _ZeroAt(torch.fx.Interpreter):
    """Runs a graph with the results of some nodes replaced by zeros."""

    def __init__(self, graph: torch.fx.GraphModule, nodes: set[torch.fx.Node]) -> None:
        super().__init__(graph)
        self.zeroed = nodes

    def run_node(self, n: torch.fx.Node) -> Any:
        value = super().run_node(n)
        return torch.zeros_like(value) if n in self.zeroed else value


def _candidates(gm: torch.fx.GraphModule, model: nn.Module) -> list[tuple[Branch, torch.fx.Node]]:
    """Branches by structure alone, with the operand node of the addition that each feeds."""
    nodes = list(gm.graph.nodes)
    order = {n: i for i, n in enumerate(nodes)}
    ancestors: dict[torch.fx.Node, int] = {}  # bit sets over ``order``, computing nodes only
    for n in nodes:
        bits = 1 << order[n] if n.op == "call_function" or (n.op == "placeholder" and n.users) else 0
        for i in n.all_input_nodes:
            bits |= ancestors[i]
        ancestors[n] = bits
    executed: dict[str, int] = {}  # module path -> bit set of the nodes that it runs
    for n in nodes:
        if n.op == "call_function":
            for path in _module_paths(n):
                executed[path] = executed.get(path, 0) | 1 << order[n]
    layers = {p for p, m in model.named_modules() if isinstance(m, _WEIGHTY)}

    result: list[tuple[Branch, torch.fx.Node]] = []
    taken: set[str] = set()
    for add in nodes:
        if add.op != "call_function" or add.target not in (torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor):
            continue
        a, b = add.args[0], add.args[1]
        if not (isinstance(a, torch.fx.Node) and isinstance(b, torch.fx.Node)) or a is b:
            continue
        sides = [(ancestors[a] & ~ancestors[b], a), (ancestors[b] & ~ancestors[a], b)]
        common = ancestors[a] & ancestors[b]
        # the heavier side is the branch, the other one the shortcut
        sides.sort(key=lambda s: (_weights(s[0], executed, layers), s[0].bit_count()), reverse=True)
        members, operand = sides[0]
        if not members or not common or not _is_branch(members, common, add, nodes, order):
            continue
        inside = {p for p, bits in executed.items() if p and bits & ~members == 0}
        whole = sorted(
            (p for p in inside if p.rpartition(".")[0] not in inside), key=lambda p: executed[p].bit_length()
        )
        if not whole or taken & set(whole):
            continue
        taken |= set(whole)
        gone = tuple(p for p in executed if p in layers and p in inside)
        branch = Branch("", whole[-1], tuple((p, 0) for p in whole[:-1]), layers=gone)
        result.append((branch, operand))
    return result


def _is_branch(
    members: int, common: int, add: torch.fx.Node, nodes: list[torch.fx.Node], order: dict[torch.fx.Node, int]
) -> bool:
    """True if ``members`` are fed by one outside tensor and feed the addition alone."""
    entries = set()
    for i, n in enumerate(nodes):
        if not members >> i & 1:
            continue
        if any(user is not add and not members >> order[user] & 1 for user in n.users):
            return False
        entries |= {m for m in n.all_input_nodes if common >> order[m] & 1}
    return len(entries) == 1


def _module_paths(node: torch.fx.Node) -> list[str]:
    stack = node.meta.get("nn_module_stack") or {}
    paths = []
    for path, *_ in stack.values():
        path = path.removeprefix("L['self']").removeprefix(".")
        paths.append(path.split("@")[0])  # ``@1``: a second call of the same module
    return paths


def _weights(members: int, executed: Mapping[str, int], layers: set[str]) -> int:
    return sum(1 for p in layers if executed.get(p, 0) & members)


class _Watch(nn.Module):
    """Stands where a zero module will: notes the shape that arrives and yields zeros of the shape that must leave."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.seen: tuple[int, ...] = ()

    def forward(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        self.seen = tuple(x.shape)
        return x.new_zeros(self.shape)


def _with_shapes(
    probe: nn.Module, inputs: Inputs, found: list[tuple[Branch, torch.fx.Node]]
) -> list[tuple[Branch, torch.fx.Node]]:
    """Fill in what the replacements need to know, by watching shapes with and without the branches."""
    outs: dict[str, Any] = {}
    hooks = []
    for path in {p for b, _ in found for p in b.modules}:

        def note(_: nn.Module, args: Inputs, out: Any, path: str = path) -> None:
            outs[path] = out

        hooks.append(probe.get_submodule(path).register_forward_hook(note))
    with torch.no_grad():
        probe(*inputs)
    for h in hooks:
        h.remove()
    usable = []
    for b, node in found:
        if isinstance(outs.get(b.zero), torch.Tensor):
            passes = tuple((p, len(outs[p]) if isinstance(outs.get(p), tuple) else 0) for p, _ in b.passes)
            usable.append((replace(b, passes=passes), node))

    def arrive(some: list[tuple[Branch, torch.fx.Node]]) -> dict[str, tuple[int, ...]] | None:
        model = drop_branches(shell(probe), [b for b, _ in some])
        watches = {b.zero: _Watch(outs[b.zero].shape) for b, _ in some}
        for path, watch in watches.items():
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, watch)
        try:
            with torch.no_grad():
                model(*inputs)
        except Exception:  # some forward does not survive the pass-throughs
            return None
        return {path: w.seen for path, w in watches.items()}

    seen = arrive(usable)
    if seen is None:
        seen = {path: shape for one in usable for path, shape in (arrive([one]) or {}).items()}
    result = []
    for b, node in usable:
        start, end = seen.get(b.zero, ()), outs[b.zero].shape
        if len(start) == len(end):
            dim = _channel_dim(probe, b, end)
            stride = tuple(1 if d == dim else -(-start[d] // end[d]) for d in range(1, len(end)))
            result.append((replace(b, channels=end[dim], channel_dim=dim, stride=stride), node))
    return result


def _channel_dim(probe: nn.Module, branch: Branch, shape: Sequence[int]) -> int:
    """Channels are last behind a linear layer, second behind a convolution."""
    last: Any = probe.get_submodule(branch.layers[-1])
    if isinstance(last, nn.modules.conv._ConvNd):
        width, order = last.out_channels, [1, len(shape) - 1]
    else:
        width = last.embed_dim if isinstance(last, nn.MultiheadAttention) else last.out_features
        order = [len(shape) - 1, 1]
    return next((d for d in order if shape[d] == width), order[0])


def _named(branches: list[Branch]) -> list[Branch]:
    """Name a branch after its block, or after its largest part where a block holds several."""
    prefixes = [_shared_path((*b.modules, *b.layers)) for b in branches]
    named = []
    for b, prefix in zip(branches, prefixes, strict=True):
        alone = prefixes.count(prefix) == 1 and prefix != ""
        main = max(b.modules, key=lambda p: sum(x == p or x.startswith(p + ".") for x in b.layers))
        named.append(replace(b, name=prefix if alone else main))
    return named


def _shared_path(paths: Sequence[str]) -> str:
    columns = zip(*(p.split(".") for p in paths), strict=False)
    return ".".join(names[0] for names in takewhile(lambda names: len(set(names)) == 1, columns))

"""Live activations of a traced graph, against networks that run for real while every tensor's memory is watched."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from netsmith.compression.activations import Activations
from netsmith.compression.placement import place, quantizable
from netsmith.compression.timeline import held_at, peak_steps
from netsmith.network.graph import Graph, trace


class Watch(TorchDispatchMode):
    """Bytes of all tensors that are alive when an operator has run, at most; parameters are none of them."""

    def __init__(self, parameters: list[torch.Tensor]) -> None:
        super().__init__()
        self.known = {p.untyped_storage().data_ptr() for p in parameters}
        self.alive: dict[int, list[Any]] = {}
        self.most = 0

    def hold(self, tensor: torch.Tensor) -> None:
        place_ = tensor.untyped_storage().data_ptr()
        if place_ in self.known:
            return
        holders = self.alive.setdefault(place_, [tensor.untyped_storage().nbytes(), []])[1]
        if not any(ref() is tensor for ref in holders):
            holders.append(weakref.ref(tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.alive = {p: held for p, held in self.alive.items() if any(ref() is not None for ref in held[1])}
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, list | tuple) else (out,):
            self.hold(tensor)
        self.most = max(self.most, sum(size for size, _ in self.alive.values()))
        return out


class Drawn(nn.Module):
    """A drawn network: each line makes a map from earlier ones and drops those that nothing reads later.

    Rectifiers are executed in place, and sums in the place of an operand that nothing reads later.
    """

    def __init__(self, seed: int, lines: int = 8) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.lines: list[tuple[str, tuple[int, ...]]] = []
        channels, unread = [3], {0}
        self.convs = nn.ModuleDict()
        for i in range(1, lines):
            kind, reads = str(rng.choice(["conv", "relu conv", "add", "cat"])), (int(rng.integers(i)),)
            same = [j for j in range(1, i) if channels[j] == channels[reads[0]] and j != reads[0]]
            if kind == "add":
                kind, reads = ("add", (reads[0], int(rng.choice(same)))) if same and reads[0] else ("conv", reads)
            elif kind == "cat":
                reads = (reads[0], int(rng.integers(i)))
            if i == lines - 1:
                kind, reads = "cat", tuple(sorted(unread))
            if "conv" in kind:
                channels.append(int(rng.choice([4, 8, 12])))
                self.convs[str(i)] = nn.Conv2d(channels[reads[0]], channels[i], 3, padding=1, bias=False)
            else:
                channels.append(channels[reads[0]] if kind == "add" else sum(channels[j] for j in reads))
            self.lines.append((kind, reads))
            unread = (unread - set(reads)) | {i}
        self.last = {j: max(i for i, (_, reads) in enumerate(self.lines) if j in reads) for j in range(lines - 1)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = {0: x}
        del x
        for i, (kind, reads) in enumerate(self.lines):
            dies = [j for j in dict.fromkeys(reads) if self.last[j] == i]
            if "conv" in kind:
                y = self.convs[str(i + 1)](maps[reads[0]])
                y = F.relu_(y) if "relu" in kind else y
            elif kind == "cat":
                y = torch.cat([maps[j] for j in reads], 1)
            elif dies:
                other = reads[1] if dies[0] == reads[0] else reads[0]
                y = maps.pop(dies[0]).add_(maps[other])
            else:
                y = maps[reads[0]] + maps[reads[1]]
            for j in reads:
                if self.last[j] == i:
                    maps.pop(j, None)
            maps[i + 1] = y
            del y
        return maps[len(self.lines)]


def peak_of(graph: Graph, **options: Any) -> float:
    timeline = Activations(graph, **options).timeline()
    return float(peak_steps(timeline, timeline.bytes(one(graph)))[0].max())


def one(graph: Graph) -> Any:
    return graph.layers.replace(calls=graph.layers.calls[None])


@pytest.mark.parametrize("seed", range(10))
def test_a_drawn_network_holds_what_is_counted_while_it_runs(seed: int):
    net = Drawn(seed).eval()
    with torch.no_grad(), Watch(list(net.parameters())) as watch:
        net.forward(torch.zeros(1, 3, 6, 6))  # called so, nobody but itself holds its input
    assert peak_of(trace(net, (3, 6, 6))) == watch.most


class Net(nn.Module):
    """A forward of one's own over a few layers."""

    def __init__(self, forward: Any, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.run = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self, x)


def conv(a: int, b: int, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(a, b, 3, padding=1, **options)


MAP = 8 * 8 * 4  # bytes of a channel in floating point


@pytest.mark.parametrize(
    ("forward", "channels"),
    [
        (lambda m, x: m.b(F.relu(m.a(x))), 4 + 4),  # the rectifier never stands apart
        (lambda m, x: m.b(torch.sigmoid(m.a(x))), 4 + 4),  # in place
        (lambda m, x: m.b(F.silu(m.a(x))), 4 + 4),  # two operators in the file, and a convolution needs as much
        (lambda m, x: m.b(m.a(x)).transpose(2, 3), 4 + 4),
        (lambda m, x: torch.cat([y := m.a(x), m.b(y)], 1), 4 + 4 + 8),
        (lambda m, x: (y := m.a(x)) + m.b(y), 4 + 4),  # in the place of one of them
        (lambda m, x: m.b(m.a(x)).flatten(1), 4 + 4),  # a view
        (lambda m, x: m.b(torch.cat(m.a(x).chunk(2, 1)[::-1], 1)), 4 + 4),  # pieces are tensors of their own
    ],
)
def test_peaks_by_hand(forward: Any, channels: int):
    graph = trace(Net(forward, a=conv(3, 4), b=conv(4, 4)).eval(), (3, 8, 8))
    assert peak_of(graph) == channels * MAP


def test_a_skip_lives_while_everything_below_runs():
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        skip = m.a(x)
        y = m.c(m.b(F.max_pool2d(skip, 2)))
        return m.d(torch.cat([skip, F.interpolate(y, scale_factor=2)], 1))

    net = Net(forward, a=conv(3, 16), b=conv(16, 32), c=conv(32, 4), d=conv(20, 2)).eval()
    graph = trace(net, (3, 8, 8))
    timeline = Activations(graph).timeline()
    steps = peak_steps(timeline, timeline.bytes(one(graph)))[0]
    by_name = dict(zip(timeline.steps, steps / MAP, strict=True))
    assert by_name["conv2d_1"] == 16 + 16 / 4 + 32 / 4  # the skip, its pool, what the convolution writes
    assert by_name["cat"] == 16 + 4 + 20
    at = int(steps.argmax())
    assert set(held_at(timeline, timeline.bytes(one(graph))[0], at)) == {"conv2d", "upsample_nearest2d", "cat"}


def test_attention_has_its_scores():
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        q, k, v = m.qkv(x.flatten(2).transpose(1, 2)).chunk(3, 2)
        return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0].flatten(1)

    graph = trace(Net(forward, qkv=nn.Linear(4, 12)).eval(), (4, 8, 8))
    timeline = Activations(graph).timeline()
    by_name = dict(zip(timeline.steps, peak_steps(timeline, timeline.bytes(one(graph)))[0], strict=True))
    tokens = 64
    scores = "scaled_dot_product_attention (scores)"
    assert by_name[scores] == max(by_name.values()) == 4 * (3 * 4 * tokens + tokens * tokens)  # beside q, k and v
    assert by_name["scaled_dot_product_attention"] == 4 * (2 * 4 * tokens + tokens * tokens)


def test_integers_lie_in_a_byte_and_conversions_are_steps():
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(m.b(F.relu(m.a(x))))

    graph = trace(Net(forward, a=conv(3, 4), b=conv(4, 4)).eval(), (3, 8, 8))
    layers = list(quantizable(graph))
    timeline = Activations(graph).timeline(layers, place(graph, layers))
    steps = dict(zip(timeline.steps, peak_steps(timeline, timeline.bytes(one(graph)))[0], strict=True))
    channel = MAP // 4
    assert steps == {
        "x (to integers)": 3 * 4 * channel + 3 * channel, "conv2d": 7 * channel, "conv2d_1": 8 * channel,
        "conv2d_1 (to floating point)": (4 + 16) * channel, "sigmoid": 16 * channel,
    }  # fmt: skip
    handed = Activations(graph).timeline(layers, place(graph, layers), integer_input=True)
    assert handed.steps == timeline.steps[1:]


def test_few_bits_are_stored_once_in_the_most_that_readers_take():
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        y = m.a(x)
        return m.b(y) + m.c(y)

    graph = trace(Net(forward, a=conv(3, 4), b=conv(4, 4), c=conv(4, 4)).eval(), (3, 8, 8))
    bits = np.array([[8, 2, 4, 32]])  # of what a, b, c and the sum read
    table = one(graph).replace(a_bits=bits, w_bits=bits)
    timeline = Activations(graph).timeline()
    steps = dict(zip(timeline.steps, peak_steps(timeline, timeline.bytes_read(table))[0], strict=True))
    pixels = 64
    assert steps["conv2d"] == pixels * (3 * 8 + 4 * 4) / 8  # b and c read the same map
    assert steps["conv2d_1"] == pixels * (4 * 4 + 4 * 32) / 8
    assert steps["conv2d_2"] == pixels * (4 * 4 + 2 * 4 * 32) / 8  # the sum reads floats

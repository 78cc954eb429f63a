"""The order of least peak memory, against all orders of small programs."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netsmith.compression.activations import Activations
from netsmith.compression.reorder import best_order, reordered
from netsmith.compression.timeline import peak_steps
from netsmith.export.onnx import to_onnx
from netsmith.network.graph import Graph, trace
from netsmith.network.liveness import Step
from netsmith.network.ordering import least_peak_order, peak_of


def drawn(seed: int, count: int = 7) -> tuple[list[Step], list[float], list[int]]:
    """Steps that read earlier tensors; some write in place."""
    rng = np.random.default_rng(seed)
    steps, sizes = list[Step](), [float(rng.integers(1, 9))]
    for t in range(count):
        reads = tuple({int(v) for v in rng.integers(0, t + 1, rng.integers(1, 3))})
        sizes.append(float(rng.integers(1, 20)))
        over = (reads[0],) if reads[0] and rng.random() < 0.3 else ()
        if over:
            sizes[-1] = sizes[reads[0]]
        steps.append(Step(f"s{t}", reads, (t + 1,), over))
    unread = set(range(1, count + 1)) - {v for step in steps for v in step.reads}
    return steps, sizes, sorted(unread)


@pytest.mark.parametrize("seed", range(12))
def test_no_order_has_a_lower_peak(seed: int):
    steps, sizes, outputs = drawn(seed)
    order, proven = least_peak_order(steps, sizes, outputs)
    found = peak_of([steps[t] for t in order], sizes, outputs)
    every = []
    for some in permutations(range(len(steps))):
        place = {t: i for i, t in enumerate(some)}
        if all(v == 0 or place[v - 1] < place[t] for t in some for v in steps[t].reads):
            every.append(peak_of([steps[t] for t in some], sizes, outputs))
    assert proven and sorted(order) == list(range(len(steps)))
    assert found == min(every) <= peak_of(steps, sizes, outputs)
    few, proven = least_peak_order(steps, sizes, outputs, states=2)
    assert not proven or few == order
    assert peak_of([steps[t] for t in few], sizes, outputs) <= peak_of(steps, sizes, outputs)


class Ways(nn.Module):
    """Three ways side by side: one after the other to their narrow ends needs less than all at once."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.ModuleList(nn.Conv2d(3, 16, 3, padding=1) for _ in range(3))
        self.narrow = nn.ModuleList(nn.Conv2d(16, 2, 3, padding=1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = [F.relu(conv(x)) for conv in self.wide]
        return torch.cat([F.relu(conv(y)) for conv, y in zip(self.narrow, maps, strict=True)], 1)


def peak(graph: Graph) -> float:
    timeline = Activations(graph).timeline()
    return float(peak_steps(timeline, timeline.bytes(graph.layers.replace(calls=graph.layers.calls[None]))).max())


def test_a_file_has_its_operators_in_the_order_that_was_found():
    graph = trace(Ways().eval(), (3, 8, 8))
    better = reordered(graph)
    assert best_order(graph)[1] and peak(better) < 0.6 * peak(graph)
    assert best_order(better)[0] == tuple(better.nodes) and reordered(better) is better
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(better.module(x), graph.module(x))

    def wide_first(model: Graph) -> list[bool]:
        nodes = [n for n in to_onnx(model).graph.node if n.op_type == "Conv"]
        return [n.input[0] == "input" for n in nodes]

    assert wide_first(graph) == [True] * 3 + [False] * 3
    assert wide_first(better) == [True, False] * 3

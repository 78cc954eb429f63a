"""Second moments of what layers read, gathered once from the network as given.

A layer is linear: with rows ``X`` of its inputs and weight ``W`` it gives ``Y = X W^T + b``. So the products ``X^T Y``
that a least-squares fit needs follow from ``G = X^T X`` and the sums of ``X``, exactly, and ``Y`` is not gathered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from netsmith.compression.calibrate import Watcher
from netsmith.compression.channels import ChannelGroup
from netsmith.compression.reconstruct.consumers import Consumer, find_consumers
from netsmith.compression.reconstruct.windows import output_positions, rows
from netsmith.data.batch import Batch, Some, some
from netsmith.errors import InputError
from netsmith.network.graph import Graph
from netsmith.network.passes import CONVS

POINTS = 10  #: output positions of an image, at least (AMC)
ROWS_A_COLUMN = 10.0
MEMORY = 2e9  #: bytes of all Gram matrices and what is made of them
_COPIES = 3  #: of each matrix: the moments, what is solved, its factor


@dataclass(frozen=True, eq=False)
class Gram:
    """Moments of the ``p`` inputs of a layer.

    Attributes:
        products: ``(p, p)`` mean of ``x x^T``, in double.
        means: ``(p,)`` mean of ``x``.
        rows: how many samples.
    """

    products: torch.Tensor
    means: torch.Tensor
    rows: int

    @property
    def covariance(self) -> torch.Tensor:
        """``(p, p)``."""
        return self.products - torch.outer(self.means, self.means)

    def error(self, change: torch.Tensor, bias_change: torch.Tensor | None = None) -> float:
        """Mean over samples of the squared change of the outputs, summed over outputs.

        Args:
            change: of the weight, ``(C_out, p)``.
            bias_change: ``(C_out,)``.
        """
        total = ((change @ self.products) * change).sum()
        if bias_change is not None:
            total = total + (bias_change * (2 * change @ self.means + bias_change)).sum()
        return max(float(total), 0.0)


@dataclass(frozen=True, eq=False)
class Moments:
    """What repair and selection know of a network.

    Attributes:
        graph: the network as given.
        groups: by name, those that were asked about.
        consumers: layers that can be repaired.
        grams: moments of each.
        skipped: layers that read prunable channels and keep their weights -> why.
    """

    graph: Graph
    groups: Mapping[str, ChannelGroup]
    consumers: Mapping[str, Consumer]
    grams: Mapping[str, Gram]
    skipped: Mapping[str, str]


def gather(
    graph: Graph, model: nn.Module, groups: Sequence[ChannelGroup], examples: torch.Tensor | Some, seed: int = 0,
    rows_a_column: float = ROWS_A_COLUMN, batch: int = 64, memory: float = MEMORY,
) -> Moments:  # fmt: skip
    """Run the network once and collect the moments of every layer that reads channels of ``groups``.

    Every batch has random output positions of its own, the same for all layers with maps of one size. A layer takes
    ``POINTS`` of them, or as many as give it ``rows_a_column`` samples for each of its columns.

    Args:
        graph: the trace of ``model``.
        examples: inputs; what is padding among them does not count.
        seed: of the positions.
        memory: bytes; the largest layers go without repair until the others fit.

    Raises:
        InputError: fewer examples than the network takes at a time, or NaN or infinite values.
    """
    batches = graph.batches(examples, batch)
    if not batches:
        count, size = len(some(examples)), batch if graph.dynamic_batch else graph.example_batch
        raise InputError(f"least-squares repair got {count} examples; the network takes {size} at a time, give more")
    consumers, skipped = find_consumers(graph, model, groups)
    widths = {n: int(c.weight(graph).shape[1]) for n, c in consumers.items()}
    for name in _too_large(widths, memory):
        skipped[name] = f"its {widths[name]} x {widths[name]} Gram matrix does not fit in {memory / 1e9:g} GB"
        del consumers[name]
    products = {n: torch.zeros(p, p, dtype=torch.float64) for n, p in widths.items() if n in consumers}
    sums = {n: torch.zeros(len(g), dtype=torch.float64) for n, g in products.items()}
    samples = dict.fromkeys(consumers, 0)

    def take(name: str, x: torch.Tensor) -> None:
        wide = x.double()
        products[name].addmm_(wide.T, wide)
        sums[name] += wide.sum(dim=0)
        samples[name] += len(wide)

    sample_rows(graph, consumers, batches, take, seed, rows_a_column)
    for name in consumers:
        if not bool(torch.isfinite(sums[name]).all()):
            raise InputError(
                f"what layer {name!r} reads has NaN or infinite values; check the weights and normalisation"
            )
    grams = {n: Gram(products[n] / samples[n], sums[n] / samples[n], samples[n]) for n in consumers}
    return Moments(graph, {g.name: g for g in groups}, consumers, grams, skipped)


def sample_rows(
    graph: Graph, consumers: Mapping[str, Consumer], batches: Sequence[Batch],
    take: Callable[[str, torch.Tensor], None], seed: int = 0, rows_a_column: float = ROWS_A_COLUMN,
) -> None:  # fmt: skip
    """Run the network once and hand rows of what layers read, ``(n, p)`` a layer and batch, to ``take(layer, rows)``.

    See ``gather``, which makes moments of them.
    """
    count = sum(b.size for b in batches)
    nodes = {n: graph.node(n) for n in consumers}
    readers: dict[str, list[str]] = {}
    points: dict[str, int] = {}
    for name, node in nodes.items():
        readers.setdefault(node.all_input_nodes[0].name, []).append(name)
        columns = int(consumers[name].weight(graph).shape[1])
        points[name] = max(POINTS, math.ceil(rows_a_column * columns / count))
    rng = np.random.default_rng(seed)
    drawn: dict[int, torch.Tensor] = {}

    def visit(source: str, value: torch.Tensor) -> None:
        for name in readers[source]:
            node = nodes[name]
            own = watcher.unpadded(value) if node.target not in CONVS else value
            if own is not value:  # rows of all examples together, of which as many are drawn as of each otherwise
                many = min(len(own), points[name] * len(value))
                take(name, own[torch.from_numpy(rng.permutation(len(own))[:many])])
                continue
            total = output_positions(node, value)
            if total not in drawn:
                drawn[total] = torch.from_numpy(rng.permutation(total))
            take(name, rows(node, value, drawn[total][: points[name]]))

    watcher = Watcher(graph, set(readers), visit, padded=True)
    with torch.inference_mode():
        for batch in batches:
            drawn.clear()
            watcher.watch(batch)


def _too_large(widths: Mapping[str, int], memory: float) -> list[str]:
    """The largest layers, until the matrices of the others and what is made of them fit."""
    total, out = sum(8.0 * _COPIES * p * p for p in widths.values()), []
    for name in sorted(widths, key=lambda n: -widths[n]):
        if total <= memory:
            break
        total -= 8.0 * _COPIES * widths[name] ** 2
        out.append(name)
    return out

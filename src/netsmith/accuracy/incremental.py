"""Many small changes of one network, each evaluated by recomputing only what it changes.

The sensitivity sweep asks hundreds of questions of the form "what if only this layer were narrower, or int8?". Every
question leaves the nodes before the change as they were. For each batch the network runs once and keeps all its
intermediate values; a candidate then runs only the nodes downstream of its change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import fx

from netsmith.accuracy.norms import Settled, Statistics, statistics_of
from netsmith.network.edit import GraphEdit, QuantParams
from netsmith.network.fake_quantize import round_to_grid
from netsmith.network.graph import Graph
from netsmith.network.passes import get_parameter

FloatArray = NDArray[np.float64]
_MEMORY = 600e6  #: bytes of kept intermediate values per batch
_CACHE = 4e6  #: bytes of the largest of them: what lies in the cache is rounded several times as fast


@dataclass(frozen=True)
class Scores:
    """Per candidate, ``(N,)``: mean KL divergence from the unchanged network's outputs, cross-entropy, accuracy.

    ``output_error`` is the mean over images of the squared distance between the candidate's logits and the unchanged
    network's.
    """

    divergence: FloatArray
    cross_entropy: FloatArray
    accuracy: FloatArray
    output_error: FloatArray
    recomputed: float  #: share of node evaluations that candidates needed, against running each from the start


def fitting_batch(graph: Graph, most: int, copies: float = 1.0) -> int:
    """Images per pass, at most ``most``, whose intermediate values fit in memory ``copies`` times over."""
    if not graph.dynamic_batch:
        return graph.example_batch
    sizes = [
        float(np.prod([int(s) for s in n.meta["val"].shape[1:]])) * 4
        for n in graph.module.graph.nodes
        if n.op == "call_function" and isinstance(n.meta.get("val"), torch.Tensor)
    ]
    in_memory = int(_MEMORY / max(copies * sum(sizes), 1.0))
    in_cache = max(int(_CACHE / max(sizes, default=1.0)), 16)
    return max(1, min(most, in_memory, in_cache))


def divergence(reference: torch.Tensor, log_p: torch.Tensor) -> torch.Tensor:
    """KL divergence of each image's class probabilities from those given, ``(N,)`` in nats; both are logarithms."""
    return (reference.exp() * (reference - log_p)).sum(dim=1).double()


class IncrementalEvaluator:
    """Evaluates candidates on a fixed set of images.

    Args:
        graph: the unchanged network.
        images: normalised ``(N, C, H, W)`` of the search split.
        labels: ``(N,)``.
        batch_size: images per pass; chosen from the memory of the intermediate values if None.
    """

    def __init__(self, graph: Graph, images: torch.Tensor, labels: torch.Tensor, batch_size: int | None = None) -> None:
        self._graph = graph
        self.images, self.labels = fast_layout(images), labels
        self._nodes = list(graph.module.graph.nodes)
        self._parameters = {
            n.name: fast_layout(get_parameter(graph.module, str(n.target)).detach())
            for n in self._nodes
            if n.op == "get_attr"
        }
        self._input = next(n.name for n in self._nodes if n.op == "placeholder")
        self._references: dict[int, torch.Tensor] = {}  # logits of the unchanged network, by first image
        self._statistics: dict[int, Statistics] = {}  # of its normed values, by first image
        self.batch_size = batch_size or fitting_batch(graph, 128)

    def evaluate(self, candidates: Sequence[GraphEdit], progress: Callable[[int, int], None] | None = None) -> Scores:
        """Score every candidate on all images."""
        plans = [self._plan(c) for c in candidates]
        shared = any(self._reads_base(plan) for plan in plans)
        total, seen = len(self.labels), 0
        sums = np.zeros((4, len(candidates)))
        with torch.inference_mode():
            for start in range(0, total, self.batch_size):
                x, y = self.images[start : start + self.batch_size], self.labels[start : start + self.batch_size]
                if len(y) < self.batch_size and not self._graph.dynamic_batch:
                    break
                base = self._run(x) if shared or start not in self._references else {self._input: x}
                if start not in self._references:
                    self._references[start] = base["output"]
                    self._statistics[start] = statistics_of(self._nodes, base)
                given = self._references[start]
                reference = F.log_softmax(given.float(), dim=1)
                for i, plan in enumerate(plans):
                    norms = self._settled(base, candidates[i], plan, self._statistics[start])
                    logits = self._rerun(base, candidates[i], plan, norms)
                    log_p = F.log_softmax(logits.float(), dim=1)
                    sums[0, i] += float(divergence(reference, log_p).sum())
                    sums[1, i] += float(F.nll_loss(log_p, y, reduction="sum"))
                    sums[2, i] += float((logits.argmax(1) == y).sum())
                    sums[3, i] += float((logits - given).double().square().sum())
                    if progress is not None:
                        progress(start * len(candidates) + (i + 1) * len(y), total * len(candidates))
                seen += len(y)
        mean = sums / max(seen, 1)
        compute = sum(n.op == "call_function" for n in self._nodes)
        share = float(np.mean([len(p) for p in plans])) / compute if plans else 0.0
        return Scores(mean[0], mean[1], mean[2], mean[3], share)

    def outputs(self, edit: GraphEdit) -> torch.Tensor:
        """The logits of the network under an edit on all images, ``(N, classes)``, its batch norms as they are."""
        found = []
        with torch.inference_mode():
            for x in self.images.split(self.batch_size):
                found.append(self._rerun(self._run(x), edit, self._plan(edit), None))
        return torch.cat(found)

    def _plan(self, candidate: GraphEdit) -> list[fx.Node]:
        """Nodes to recompute, in order: those the candidate touches and all that follow from them."""
        touched = set(candidate.outputs) | candidate.zeros | {consumer for _, consumer in candidate.inputs}
        dirty: set[fx.Node] = set()
        for node in self._nodes:
            if node.op == "placeholder":
                if node.name in touched:
                    dirty.add(node)
            elif (
                node.name in touched
                or (node.op == "get_attr" and str(node.target) in candidate.weights)
                or any(i in dirty for i in node.all_input_nodes)
            ):
                dirty.add(node)
        return [n for n in self._nodes if n in dirty and n.op in ("call_function", "output", "placeholder")]

    def _reads_base(self, plan: list[fx.Node]) -> bool:
        """Whether a plan takes values from before the change; a design that changes the first layer takes none."""
        own = set(plan)
        return not plan or any(i.op == "call_function" and i not in own for n in plan for i in n.all_input_nodes)

    def _run(self, x: torch.Tensor) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for node in self._nodes:
            if node.op == "placeholder":
                values[node.name] = x
            elif node.op == "get_attr":
                values[node.name] = self._parameters[node.name]
            elif node.op == "call_function":
                values[node.name] = call_node(node, values.__getitem__)
            elif node.op == "output":
                values["output"] = _logits(node, values.__getitem__)
        return values

    def _settled(
        self, base: dict[str, Any], candidate: GraphEdit, plan: Iterable[fx.Node], wanted: Statistics
    ) -> Settled | None:
        """The norms of a candidate, estimated before anything is rounded, as they are when a network is built."""
        if candidate.norms is None:
            return None
        norms, is_rounded = Settled(wanted), bool(candidate.weights) and candidate.norms is not candidate.weights
        if is_rounded or candidate.inputs or candidate.outputs:
            self._rerun(base, GraphEdit(candidate.norms, zeros=candidate.zeros), plan, norms)
        return norms

    def _rerun(
        self, base: dict[str, Any], candidate: GraphEdit, plan: Iterable[fx.Node], norms: Settled | None
    ) -> torch.Tensor:
        new: dict[str, Any] = {}
        weights = {
            n.name: fast_layout(candidate.weights[str(n.target)])
            for n in self._nodes
            if n.op == "get_attr" and str(n.target) in candidate.weights
        }

        def plain(name: str) -> Any:
            for values in (new, weights, base):
                if name in values:
                    return values[name]
            return self._parameters[name]

        for node in plan:
            if node.op == "output":
                return _logits(node, plain)  # type: ignore[no-any-return]
            if node.name in candidate.zeros:
                value = torch.zeros_like(base[node.name]) if node.name in base else call_node(node, plain) * 0.0
            elif node.op == "placeholder":
                value = base[node.name]
            else:

                def read(name: str, consumer: str = node.name) -> Any:
                    grid = candidate.inputs.get((name, consumer))
                    return plain(name) if grid is None else _round(plain(name), grid)

                value = call_node(node, read)
                if norms is not None:
                    value = norms(node.name, value)
            if node.name in candidate.outputs:
                value = _round(value, candidate.outputs[node.name])
            new[node.name] = value
        return base["output"]  # type: ignore[no-any-return]


def call_node(node: fx.Node, read: Callable[[str], Any]) -> Any:
    """Run one node on the values that ``read`` gives for its inputs."""
    args = fx.node.map_arg(node.args, lambda n: read(n.name))
    kwargs = fx.node.map_arg(node.kwargs, lambda n: read(n.name))
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _logits(node: fx.Node, read: Callable[[str], Any]) -> Any:
    return first_output(fx.node.map_arg(node.args[0], lambda n: read(n.name)))


def _round(value: torch.Tensor, grid: QuantParams) -> torch.Tensor:
    return round_to_grid(value, grid.scale, grid.zero_point, grid.qmin, grid.qmax)


def first_output(value: Any) -> Any:
    """The logits of a network that may return several tensors."""
    while isinstance(value, (tuple, list)):
        value = value[0]
    return value


def fast_layout(value: torch.Tensor) -> torch.Tensor:
    """Images and convolution weights with their channels last, anything else as it is."""
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value

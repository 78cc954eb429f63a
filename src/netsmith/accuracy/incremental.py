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
from numpy.typing import NDArray
from torch import fx

from netsmith.accuracy.norms import Settled, Statistics, statistics_of
from netsmith.data.batch import Batch, Some
from netsmith.network.edit import GraphEdit, QuantParams
from netsmith.network.fake_quantize import round_to_grid
from netsmith.network.graph import Graph
from netsmith.network.layout import fast_layout
from netsmith.network.passes import get_parameter
from netsmith.network.signature import placeholders
from netsmith.tasks.task import Task

FloatArray = NDArray[np.float64]
_MEMORY = 600e6  #: bytes of kept intermediate values per batch
_CACHE = 4e6  #: bytes of the largest of them: what lies in the cache is rounded several times as fast


@dataclass(frozen=True)
class Scores:
    """Per candidate, ``(N,)``: mean divergence from the unchanged network's outputs, and the task's loss and score.

    ``output_error`` is the mean over examples of the squared distance between the candidate's outputs and the unchanged
    network's.
    """

    divergence: FloatArray
    loss: FloatArray
    score: FloatArray
    output_error: FloatArray
    recomputed: float  #: share of node evaluations that candidates needed, against running each from the start


def fitting_batch(graph: Graph, most: int, copies: float = 1.0) -> int:
    """Examples per pass, at most ``most``, whose intermediate values fit in memory ``copies`` times over."""
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


class IncrementalEvaluator:
    """Evaluates candidates on a fixed set of examples.

    Args:
        graph: the unchanged network.
        task: what its outputs are judged by.
        examples: of the search split.
        batch_size: examples per pass; chosen from the memory of the intermediate values if None.
    """

    def __init__(self, graph: Graph, task: Task, examples: Some, batch_size: int | None = None) -> None:
        self._graph, self.task = graph, task
        self._nodes = list(graph.module.graph.nodes)
        self._parameters = {
            n.name: fast_layout(get_parameter(graph.module, str(n.target)).detach())
            for n in self._nodes
            if n.op == "get_attr"
        }
        self._inputs = [n.name for n in placeholders(graph.module)]
        self._references: dict[int, Any] = {}  # outputs of the unchanged network, by number of the batch
        self._statistics: dict[int, Statistics] = {}  # of its normed values, by number of the batch
        self._scales: Any = None  # what divergences are measured in
        self.batch_size = batch_size or fitting_batch(graph, 128)
        batches = graph.batches(examples, self.batch_size)
        self.batches, self.seen = [batch.map(fast_layout, inputs_only=True) for batch in batches], examples

    @property
    def examples(self) -> int:
        """How many examples candidates are evaluated on."""
        return sum(batch.size for batch in self.batches)

    @property
    def scales(self) -> Any:
        """What divergences are measured in, of the network as given on all examples; None where nothing is needed."""
        if self._scales is None and self.task.needs_scales:
            with torch.inference_mode():
                given = [self.task.read(batch(self._graph.module), batch) for batch in self.batches]
                self._scales = self.task.scales(given)
        return self._scales

    def evaluate(self, candidates: Sequence[GraphEdit], progress: Callable[[int, int], None] | None = None) -> Scores:
        """Score every candidate on all examples."""
        plans = [self._plan(c) for c in candidates]
        shared = any(self._reads_base(plan) for plan in plans)
        task, scales = self.task, self.scales
        total, seen = self.examples, 0
        sums, weights = np.zeros((3, len(candidates))), np.zeros((2, len(candidates)))
        rows: list[list[FloatArray]] = [[] for _ in candidates]
        with torch.inference_mode():
            for number, batch in enumerate(self.batches):
                base = self._run(batch) if shared or number not in self._references else self._start(batch)
                if number not in self._references:
                    self._references[number] = base["output"]
                    self._statistics[number] = statistics_of(self._nodes, base, batch)
                given = self._references[number]
                for i, plan in enumerate(plans):
                    norms = self._settled(base, candidates[i], plan, self._statistics[number], batch)
                    outputs = self._rerun(base, candidates[i], plan, norms)
                    values, counts = task.divergence(outputs, given, batch, scales)
                    lost, counted = task.total(outputs, batch)
                    sums[:, i] += float((values * counts).sum()), lost, self._far(outputs, given, batch)
                    weights[:, i] += float(counts.sum()), counted
                    rows[i].append(task.partial(outputs, batch))
                    if progress is not None:
                        progress(seen * len(candidates) + (i + 1) * batch.size, total * len(candidates))
                seen += batch.size
        mean = sums / np.maximum([*weights, np.full(len(candidates), max(seen, 1))], 1e-12)
        score = np.array([task.metric.of(np.concatenate(noted)) if noted else 0.0 for noted in rows])
        compute = sum(n.op == "call_function" for n in self._nodes)
        share = float(np.mean([len(p) for p in plans])) / compute if plans else 0.0
        return Scores(mean[0], mean[1], score, mean[2], share)

    def _far(self, outputs: Any, given: Any, batch: Batch) -> float:
        """Squared distance of outputs from those of the unchanged network, summed over examples."""
        task = self.task
        pairs = zip(task.compared(task.read(outputs, batch)), task.compared(task.read(given, batch)), strict=True)
        return sum(float((now - before).double().square().sum()) for now, before in pairs)

    def outputs(self, edit: GraphEdit) -> list[Any]:
        """The outputs of the network under an edit for every batch, its batch norms as they are."""
        with torch.inference_mode():
            return [self._rerun(self._run(batch), edit, self._plan(edit), None) for batch in self.batches]

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

    def _start(self, batch: Batch) -> dict[str, Any]:
        return dict(zip(self._inputs, self._graph.flat(batch), strict=True))

    def _run(self, batch: Batch) -> dict[str, Any]:
        values = self._start(batch)
        for node in self._nodes:
            if node.op == "get_attr":
                values[node.name] = self._parameters[node.name]
            elif node.op == "call_function":
                values[node.name] = call_node(node, values.__getitem__)
            elif node.op == "output":
                values["output"] = self._outputs(node, values.__getitem__)
        return values

    def _settled(
        self, base: dict[str, Any], candidate: GraphEdit, plan: Iterable[fx.Node], wanted: Statistics, batch: Batch
    ) -> Settled | None:
        """The norms of a candidate, estimated before anything is rounded, as they are when a network is built."""
        if candidate.norms is None:
            return None
        norms, is_rounded = Settled(wanted, batch), bool(candidate.weights) and candidate.norms is not candidate.weights
        if is_rounded or candidate.inputs or candidate.outputs:
            self._rerun(base, GraphEdit(candidate.norms, zeros=candidate.zeros), plan, norms)
        return norms

    def _rerun(self, base: dict[str, Any], candidate: GraphEdit, plan: Iterable[fx.Node], norms: Settled | None) -> Any:
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
                return self._outputs(node, plain)
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
        return base["output"]

    def _outputs(self, node: fx.Node, read: Callable[[str], Any]) -> Any:
        flat: Any = fx.node.map_arg(node.args[0], lambda n: read(n.name))
        return self._graph.outputs(flat)


def call_node(node: fx.Node, read: Callable[[str], Any]) -> Any:
    """Run one node on the values that ``read`` gives for its inputs."""
    args = fx.node.map_arg(node.args, lambda n: read(n.name))
    kwargs = fx.node.map_arg(node.kwargs, lambda n: read(n.name))
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _round(value: torch.Tensor, grid: QuantParams) -> torch.Tensor:
    return round_to_grid(value, grid.scale, grid.zero_point, grid.qmin, grid.qmax)

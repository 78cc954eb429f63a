"""How much each choice hurts when it is taken alone, measured on the search split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netsmith.accuracy.incremental import Candidate, IncrementalEvaluator
from netsmith.compression.branches import Branch
from netsmith.compression.channels import ChannelGroup
from netsmith.compression.choices import DEPTH, WIDTH, Choices
from netsmith.compression.importance import keep_indices
from netsmith.compression.placement import place
from netsmith.compression.quantize import Calibration, input_grid, layer_scale, quantize_weight
from netsmith.network.passes import get_parameter
from netsmith.network.rows import fused_activation

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Sensitivity:
    """Loss of every choice taken alone.

    Attributes:
        loss: ``(D, K)`` mean KL divergence of the outputs, in nats; 0 for the original choice, ``inf`` for padding.
        accuracy: ``(D, K)`` share of images right.
        baseline_accuracy: of the unchanged network on the same images.
        candidates, seconds, recomputed: how many were evaluated, how long it took, and the share of the network that a
            candidate had to recompute.
    """

    loss: FloatArray
    accuracy: FloatArray
    baseline_accuracy: float
    candidates: int
    seconds: float
    recomputed: float

    def to_dict(self) -> dict[str, Any]:
        finite = np.where(np.isfinite(self.loss), self.loss, -1.0)
        return {
            "loss": finite.tolist(), "accuracy": self.accuracy.tolist(), "baseline_accuracy": self.baseline_accuracy,
            "candidates": self.candidates, "seconds": self.seconds, "recomputed": self.recomputed,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Sensitivity:
        loss = np.array(d["loss"], dtype=float).reshape(len(d["loss"]), -1)
        accuracy = np.array(d["accuracy"], dtype=float).reshape(loss.shape)
        rest = (float(d["baseline_accuracy"]), int(d["candidates"]), float(d["seconds"]), float(d["recomputed"]))
        return cls(np.where(loss < 0, np.inf, loss), accuracy, *rest)


def width_candidate(choices: Choices, group: ChannelGroup, keep: list[int]) -> Candidate:
    """The masked parent of a pruned group: its consumers' weights for the channels that go are zero."""
    gone = np.ones(group.channels, dtype=bool)
    gone[keep] = False
    weights: dict[str, torch.Tensor] = {}
    for m in group.inputs:
        if m.dim is not None:
            continue
        name = f"{m.layer}.weight"
        try:
            weight = weights.get(name, get_parameter(choices.graph.module, name)).detach().clone()
        except AttributeError:
            continue
        columns = m.index[gone[m.root]]
        if weight.dim() > 1 and weight.shape[1] > int(columns.max(initial=-1)):
            weight[:, torch.from_numpy(columns)] = 0.0
            weights[name] = weight
    return Candidate(weights=weights)


def branch_candidate(choices: Choices, branch: Branch) -> Candidate:
    """The network without a branch: what it adds is zero."""
    nodes = list(choices.graph.module.graph.nodes)

    def inside(path: str) -> list[str]:
        return [
            n.name
            for n in nodes
            if n.op == "call_function"
            and any(str(v[0]) == path for v in (n.meta.get("nn_module_stack") or {}).values())
        ]

    found = inside(branch.zero) or [n for layer in branch.layers for n in inside(layer)]  # a folded norm has no node
    return Candidate(zeros=frozenset(found[-1:]))


def bits_candidate(choices: Choices, layer: str, calibration: Calibration) -> Candidate:
    """One layer in int8: its weight, its input and, for a convolution, its output rounded."""
    graph = choices.graph
    node = graph.node(layer)
    placement = place(graph, [layer])
    grid = input_grid(node, placement, calibration)
    name, weight, scale = layer_scale(graph, node, grid)
    source = node.all_input_nodes[0].name
    sink = (fused_activation(node) or node).name
    return Candidate(
        weights={name: quantize_weight(weight, scale)},
        inputs={(source, node.name): grid},
        outputs={sink: calibration[sink]} if sink in placement.anchors else {},
    )


def measure_sensitivity(
    choices: Choices, evaluator: IncrementalEvaluator, calibration: Calibration,
    importance: Mapping[str, NDArray[np.float64]], progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:  # fmt: skip
    """Evaluate every choice of every decision alone.

    Args:
        choices: the decisions.
        evaluator: on images of the search split.
        calibration: grids of all tensors that an int8 layer reads or writes.
        importance: group name -> score of each channel; the best stay.
    """
    from time import perf_counter

    start = perf_counter()
    candidates: list[Candidate] = [Candidate()]
    cell: list[tuple[int, int]] = []
    n_groups = len(choices.groups)
    for d, decision in enumerate(choices.space.decisions):
        for k, choice in enumerate(decision.choices[:-1]):
            if decision.kind == WIDTH:
                group = choices.groups[d]
                keep = keep_indices(importance[group.name], int(choice), group.unit)
                candidates.append(width_candidate(choices, group, keep))
            elif decision.kind == DEPTH:
                candidates.append(branch_candidate(choices, choices.branches[d - n_groups]))
            else:
                layer = choices.layers[d - n_groups - len(choices.branches)]
                candidates.append(bits_candidate(choices, layer, calibration))
            cell.append((d, k))
    scores = evaluator.evaluate(candidates, progress)
    loss = np.where(np.arange(choices.values.shape[1]) < choices.space.sizes[:, None], 0.0, np.inf)
    accuracy = np.full(loss.shape, scores.accuracy[0])
    for (d, k), value, right in zip(cell, scores.divergence[1:], scores.accuracy[1:], strict=True):
        # NaN from an overflow is the worst that a choice can do
        loss[d, k] = max(float(value), 0.0) if np.isfinite(value) else 1e6
        accuracy[d, k] = right
    for d, decision in enumerate(choices.space.decisions):
        if decision.kind == WIDTH:  # fewer channels cannot truly be better: what says so is noise of few images
            n = len(decision.choices)
            loss[d, :n] = np.maximum.accumulate(loss[d, :n][::-1])[::-1]
    seconds = perf_counter() - start
    return Sensitivity(loss, accuracy, float(scores.accuracy[0]), len(cell), seconds, scores.recomputed)

"""From a design to a network: branches gone, channels gone, integers placed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.calibrate import collect
from netsmith.compression.channels import GroupReport
from netsmith.compression.choices import Choices, Designs
from netsmith.compression.importance import keep_indices
from netsmith.compression.placement import place
from netsmith.compression.prune import plan
from netsmith.compression.quantize import Calibration, QuantizedGraph, quantize
from netsmith.compression.recipe import DropStep, Recipe, apply_recipe
from netsmith.network.graph import Graph, trace

Importance = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Slimmed:
    """A network after branches and channels are gone, before quantization.

    Attributes:
        model: the user's module, physically smaller.
        recipe: how to make it again from a fresh one.
        int8_layers: rows of its graph that the design wants in int8.
    """

    model: nn.Module
    recipe: Recipe
    int8_layers: tuple[str, ...]

    @property
    def is_smaller(self) -> bool:
        return bool(self.recipe.steps)


def slim(model: nn.Module, choices: Choices, report: GroupReport, design: Designs, importance: Importance) -> Slimmed:
    """Apply the width and branch choices of a design to a copy of ``model``."""
    branches = choices.dropped(design)
    removed = {path for b in branches for path, _ in b.passes}
    gone = {layer for b in branches for layer in b.layers}
    keep = {
        name: keep_indices(importance[name], n, report[name].unit)
        for name, n in choices.kept(design).items()
        if not all(m.layer in gone for m in report[name].outputs)
    }
    step = plan(report, keep)
    zeros = {b.zero for b in branches}
    layers = {
        name: k
        for name, k in step.layers.items()
        if not (name in zeros and k.outputs is None) and not any(name == p or name.startswith(f"{p}.") for p in removed)
    }
    recipe = Recipe().then(DropStep(tuple(branches)), replace(step, layers=layers))
    int8 = tuple(choices.int8_layers(design))
    return Slimmed(apply_recipe(copy.deepcopy(model), recipe), replace(recipe, quantize={"int8": list(int8)}), int8)


def integerise(
    model: nn.Module, input_shape: tuple[int, ...], int8_layers: tuple[str, ...], images: torch.Tensor, method: str,
    batch: int = 64,
) -> tuple[Graph, QuantizedGraph | None]:  # fmt: skip
    """Trace a network and quantize the given layers with ranges from normalised ``images``.

    Returns:
        The traced network with batch norm folded, and its quantized form (None if no layer is to be quantized).
    """
    graph = trace(model, input_shape)
    layers = [n for n in int8_layers if n in graph.node_of]
    if not layers:
        return graph, None
    size = batch if graph.dynamic_batch else graph.example_batch
    batches = [b for b in torch.split(images, size) if graph.dynamic_batch or len(b) == size]
    histograms = collect(graph, batches, place(graph, layers).scaled)
    return graph, quantize(graph, layers, Calibration(histograms, method))

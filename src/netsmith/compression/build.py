"""From a design to a network: branches gone, channels gone, integers placed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.calibrate import Histogram, collect
from netsmith.compression.channels import GroupReport
from netsmith.compression.choices import Choices, Designs
from netsmith.compression.kept import keep_indices
from netsmith.compression.mixed import Bits, LayerQuantizer, quantize_mixed
from netsmith.compression.placement import layer_inputs, place
from netsmith.compression.prune import plan
from netsmith.compression.quantize import Calibration, QuantizedGraph, quantize
from netsmith.compression.recipe import DropStep, LayerKeep, Recipe, apply_recipe
from netsmith.compression.reconstruct import Repair
from netsmith.compression.share import CodebookQuantizer
from netsmith.network.copying import copy_network
from netsmith.network.graph import Graph, trace
from netsmith.network.layers import FLOAT

Importance = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Slimmed:
    """A network after branches and channels are gone, before quantization.

    Attributes:
        model: the user's module, physically smaller.
        recipe: how to make it again from a fresh one.
        bits: (weight, activation) widths of the rows of its graph that the design wants as integers.
    """

    model: nn.Module
    recipe: Recipe
    bits: Bits

    @property
    def is_smaller(self) -> bool:
        return bool(self.recipe.steps)


def slim(
    model: nn.Module, choices: Choices, report: GroupReport, design: Designs, importance: Importance,
    repair: Repair | None = None,
) -> Slimmed:  # fmt: skip
    """Apply the width and branch choices of a design to a copy of ``model``.

    With ``repair``, layers that read pruned channels get the weights that make up for them.
    """
    branches = choices.dropped(design)
    removed = {path for b in branches for path, _ in b.passes}
    gone = {layer for b in branches for layer in b.layers}
    keep = {
        name: keep_indices(importance[name], n, report[name].unit)
        for name, n in choices.kept(design).items()
        if not all(m.layer in gone for m in report[name].outputs)
    }
    step = plan(report, keep)
    zeros = {b.zero: b.layers[-1] for b in branches}  # a zero may be a container: it is as wide as its last layer
    layers = {
        name: k
        for name, k in step.layers.items()
        if not any(name == p or name.startswith(f"{p}.") for p in (*removed, *zeros))
    }
    for zero, last in zeros.items():
        own = step.layers.get(zero) or step.layers.get(last)
        if own is not None and own.outputs is not None:
            layers[zero] = LayerKeep(outputs=own.outputs)
    recipe = Recipe().then(DropStep(tuple(branches)), replace(step, layers=layers))
    bits = choices.bits(design)
    quantize = {"int8": list(bits)} if is_int8(bits) else {"bits": {n: list(pair) for n, pair in bits.items()}}
    smaller = copy_network(model)
    if repair is not None:
        repair.write(smaller, keep)
    return Slimmed(apply_recipe(smaller, recipe), replace(recipe, quantize=quantize), bits)


def is_int8(bits: Bits) -> bool:
    """Whether runtimes have kernels for these widths: 8-bit weights and activations everywhere."""
    return all(pair == (8, 8) for pair in bits.values())


def integerise(
    model: nn.Module, input_shape: tuple[int, ...], bits: Bits, images: torch.Tensor, method: str, batch: int = 64
) -> tuple[Graph, QuantizedGraph | None]:
    """Trace a network and quantize layers with ranges from normalised ``images``.

    8-bit layers are placed as integer runtimes run them; where a layer has other widths, every layer reads its input
    through a grid of its own. Layers that read floats stay as they are.

    Returns:
        The traced network with batch norm folded, and its quantized form (None if no layer is to be quantized).
    """
    graph = trace(model, input_shape)
    bits = {n: pair for n, pair in bits.items() if n in graph.node_of and pair[1] < FLOAT}
    if not bits:
        return graph, None
    if is_int8(bits):
        histograms = histograms_of(graph, images, place(graph, bits).scaled, batch)
        return graph, quantize(graph, bits, Calibration(histograms, method))
    return graph, quantize_mixed(graph, bits, quantizer_for(graph, bits, images, method, batch))


def quantizer_for(graph: Graph, bits: Bits, images: torch.Tensor, method: str, batch: int = 64) -> LayerQuantizer:
    """Calibrated grids for the layers ``bits`` of a network, or codebooks where they read floats."""
    if all(a_bits == FLOAT for _, a_bits in bits.values()):
        return CodebookQuantizer(graph)
    return LayerQuantizer(graph, histograms_of(graph, images, layer_inputs(graph, bits).values(), batch), method)


def histograms_of(graph: Graph, images: torch.Tensor, names: Iterable[str], batch: int = 64) -> dict[str, Histogram]:
    """Histograms of nodes over ``images``, in batches that the network takes."""
    size = batch if graph.dynamic_batch else graph.example_batch
    batches = [b for b in torch.split(images, size) if graph.dynamic_batch or len(b) == size]
    return collect(graph, batches, set(names))

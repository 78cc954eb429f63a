"""Weights and input of each layer at bit-widths of their own, as accelerators that take any width run them.

Every layer reads its input through a grid of its own and writes wide sums; nothing between layers is rounded (HAQ, Wang
et al., CVPR 2019, section 3.3). ``quantize.py`` is the other scheme, of runtimes whose tensors are 8-bit integers
between layers as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from netsmith.compression.calibrate import Histogram
from netsmith.compression.placement import Placement
from netsmith.compression.quantize import Calibration, QuantizedGraph, insert
from netsmith.compression.quantizers import linear
from netsmith.compression.quantizers.kmeans import Codebook
from netsmith.compression.quantizers.learned import LsqWeight
from netsmith.compression.sparsify import Sparse
from netsmith.network.edit import QuantParams
from netsmith.network.graph import Graph
from netsmith.network.layers import FLOAT
from netsmith.network.passes import get_parameter, set_parameter, weight_name

Bits = Mapping[str, tuple[int, int]]


class LayerQuantizer:
    """The grids of every layer at every width, fitted when first asked for.

    Args:
        graph: the network.
        histograms: of what layers read, by node.
        method: clipping rule of activations, see ``calibrate.fit_range``.
        clip: clipping rule of weights, see ``quantizers.fit_scale``; one scale a channel.
        sparse: parameters most of whose numbers are zero, with how many are not.
    """

    def __init__(
        self, graph: Graph, histograms: Mapping[str, Histogram], method: str = "mse", clip: str = "mse",
        sparse: Sparse | None = None,
    ) -> None:  # fmt: skip
        self.graph, self.clip, self.sparse = graph, clip, dict(sparse or {})
        self._calibrations = {b: Calibration(histograms, method, b) for b in range(1, 17)}
        self._nodes = graph.nodes
        self._fitted: dict[tuple[str, int], tuple[torch.Tensor, torch.Tensor]] = {}
        self._repaired: Any = WeakTensorKeyDictionary()  # weight -> bits -> the same rounded

    def parameter(self, layer: str) -> str:
        """Name of a layer's weight."""
        return weight_name(self._nodes[self.graph.node_of[layer]])

    def source(self, layer: str) -> str:
        """The node that a layer reads."""
        return self._nodes[self.graph.node_of[layer]].all_input_nodes[0].name

    def grid(self, layer: str, bits: int) -> QuantParams:
        """The grid of a layer's input."""
        return self._calibrations[bits][self.source(layer)]

    def scale(self, layer: str, bits: int) -> torch.Tensor:
        """Step of each output channel ``(C_out,)``."""
        return self._fit(layer, bits)[0]

    def weight(self, layer: str, bits: int, repaired: torch.Tensor | None = None) -> torch.Tensor:
        """The weight on its grid; ``repaired`` takes its place, with a grid of its own and zeros left zero."""
        if repaired is None:
            return self._fit(layer, bits)[1]
        known: dict[int, torch.Tensor] = self._repaired.setdefault(repaired, {})
        if bits not in known:
            known[bits] = self._rounded(repaired, bits)
        return known[bits]

    def _rounded(self, weight: torch.Tensor, bits: int) -> torch.Tensor:
        rounded = linear.quantize(weight, linear.fit_scale(weight, bits, clip=self.clip), bits)
        return rounded * (weight != 0)  # grids of one bit have no zero

    def codebook(self, layer: str, bits: int) -> Codebook | None:
        """The values that a weight shares; None where it lies on a grid."""
        return None

    def trainable(self, layer: str, weight: torch.Tensor, bits: int) -> nn.Module:
        """What makes the rounded weight while it is trained, from ``weight`` as the user's module has it."""
        return LsqWeight.from_scale(linear.fit_scale(weight, bits, clip=self.clip), bits)

    def _fit(self, layer: str, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
        if (layer, bits) not in self._fitted:
            weight = get_parameter(self.graph.module, self.parameter(layer)).detach()
            scale = linear.fit_scale(weight, bits, clip=self.clip)
            self._fitted[layer, bits] = scale, linear.quantize(weight, scale, bits)
        return self._fitted[layer, bits]


def quantize_mixed(graph: Graph, bits: Bits, quantizer: LayerQuantizer) -> QuantizedGraph:
    """Round the weights of the layers ``bits`` and put fake quantizers before them, in a copy of ``graph``.

    A layer whose activations have 32 bits reads floats, as they are.

    Args:
        bits: layer (row name) to its (weight, activation) widths.
        quantizer: grids that fit ``graph``.
    """
    out = graph.copy()
    nodes = out.nodes
    scales: dict[str, torch.Tensor] = {}
    widths: dict[str, int] = {}
    codebooks: dict[str, Codebook] = {}
    readers: dict[tuple[str, QuantParams], set[str]] = {}
    for layer, (w_bits, a_bits) in bits.items():
        name = quantizer.parameter(layer)
        set_parameter(out.module, name, quantizer.weight(layer, w_bits))
        codebook = quantizer.codebook(layer, w_bits)
        if codebook is None:
            scales[name], widths[name] = quantizer.scale(layer, w_bits), w_bits
        else:
            codebooks[name] = codebook
        if a_bits < FLOAT:
            edge = quantizer.source(layer), quantizer.grid(layer, a_bits)
            readers.setdefault(edge, set()).add(graph.node_of[layer])
    inputs: dict[str, tuple[str, ...]] = {}
    for (source, grid), consumers in readers.items():
        insert(out.module, nodes[source], grid, {nodes[c] for c in consumers})
        inputs[source] = (*inputs.get(source, ()), *sorted(consumers))
    out.module.recompile()
    return QuantizedGraph(out, Placement({}, inputs, frozenset()), scales, widths, {}, codebooks)

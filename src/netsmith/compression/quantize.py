"""Int8 post-training quantization of a traced network: per-channel weights, static activations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import fx

from netsmith.compression.calibrate import Histogram, fit_range
from netsmith.compression.placement import Placement, place
from netsmith.compression.quantizers import linear
from netsmith.compression.quantizers.kmeans import Codebook
from netsmith.export.packed import CodebookTensor, LinearTensor, Tensor
from netsmith.export.packed.model import network_tensors
from netsmith.network.edit import QuantParams
from netsmith.network.fake_quantize import FAKE_QUANTIZE
from netsmith.network.graph import Graph
from netsmith.network.passes import get_parameter, set_parameter, weight_name

WEIGHT_BITS = 8


@dataclass(frozen=True)
class QuantizedGraph:
    """A network with quantizers in place.

    Attributes:
        graph: the network; weights of int8 layers already lie on their grid, activations pass fake quantizers.
        placement: where they stand.
        weight_scales: parameter name -> scale of each output channel ``(C_out,)``.
        weight_bits: parameter name -> bits of the weight.
        activations: node name (of the graph before quantization) -> grid of its output.
        codebooks: parameter name -> what the weight is made of, where it shares values.
    """

    graph: Graph
    placement: Placement
    weight_scales: dict[str, torch.Tensor]
    weight_bits: dict[str, int]
    activations: dict[str, QuantParams]
    codebooks: dict[str, Codebook] = field(default_factory=dict)


class Calibration:
    """Grids of every tensor under one clipping rule, fitted on demand."""

    def __init__(self, histograms: Mapping[str, Histogram], method: str = "mse", bits: int = 8) -> None:
        self._histograms, self._method, self._bits = histograms, method, bits
        self._fitted: dict[str, QuantParams] = {}

    def __getitem__(self, node: str) -> QuantParams:
        if node not in self._fitted:
            self._fitted[node] = fit_range(self._histograms[node], self._method, self._bits)
        return self._fitted[node]


def weight_scale(weight: torch.Tensor, bias: torch.Tensor | None = None, x_scale: float = 1.0) -> torch.Tensor:
    """Symmetric per-output-channel scale ``(C_out,)``.

    A channel of zeros takes the layer's mean scale. Scales are kept large enough that the 32-bit integer bias
    ``bias / (x_scale * scale)`` cannot overflow.
    """
    top = linear.fit_scale(weight, WEIGHT_BITS, clip="max")
    if bias is not None:
        top = torch.maximum(top, (bias.detach().abs().double() / (x_scale * 2.0**30)).float())
    return top


def quantize_weight(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Round ``(C_out, ...)`` weights to their per-channel grid."""
    return linear.quantize(weight, scale, WEIGHT_BITS)


def layer_scale(
    graph: Graph, node: fx.Node, x: QuantParams, changed: Mapping[str, torch.Tensor] | None = None
) -> tuple[str, torch.Tensor, torch.Tensor]:
    """Name, value and scale of a layer's weight, given the grid of its input and parameters that have ``changed``."""

    def value(name: str) -> torch.Tensor:
        return changed[name] if changed and name in changed else get_parameter(graph.module, name).detach()

    name = weight_name(node)
    weight = value(name)
    bias_node = node.args[2] if len(node.args) > 2 else None
    bias = value(str(bias_node.target)) if isinstance(bias_node, fx.Node) else None
    return name, weight, weight_scale(weight, bias, x.scale)


def input_grid(node: fx.Node, placement: Placement, calibration: Calibration) -> QuantParams:
    """The grid on which an int8 layer reads its input."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    return calibration[placement.anchors.get(source.name, source.name)]


def quantize(graph: Graph, int8_layers: Collection[str], calibration: Calibration) -> QuantizedGraph:
    """Put fake quantizers into a copy of ``graph`` for the given layers (row names)."""
    placement = place(graph, int8_layers)
    out = graph.copy()
    nodes = out.nodes
    scales: dict[str, torch.Tensor] = {}
    for layer in int8_layers:
        node = nodes[graph.node_of[layer]]
        name, weight, scale = layer_scale(out, node, input_grid(node, placement, calibration))
        set_parameter(out.module, name, quantize_weight(weight, scale))
        scales[name] = scale
    grids: dict[str, QuantParams] = {}
    for name in placement.anchors:
        grids[name] = calibration[placement.anchors[name]]
        insert(out.module, nodes[name], grids[name], None)
    for name, consumers in placement.inputs.items():
        grids[name] = calibration[name]
        insert(out.module, nodes[name], grids[name], {nodes[c] for c in consumers})
    out.module.recompile()
    return QuantizedGraph(out, placement, scales, dict.fromkeys(scales, 8), grids)


def packed_tensors(quantized: QuantizedGraph) -> dict[str, Tensor]:
    """What the packed file of a quantized network stores.

    Integers and scales, or indices and shared values, of quantized layers, and everything else as it is.
    """
    weights: dict[str, LinearTensor | CodebookTensor] = {
        name: LinearTensor.on_grid(
            get_parameter(quantized.graph.module, name).detach().numpy(), scale.numpy(), quantized.weight_bits[name]
        )
        for name, scale in quantized.weight_scales.items()
    }
    for name, codebook in quantized.codebooks.items():
        index, values = np.ascontiguousarray(codebook.index.numpy()), codebook.values.numpy()
        weights[name] = CodebookTensor(index, values, codebook.bits)
    return network_tensors(quantized.graph, weights)


def insert(module: fx.GraphModule, node: fx.Node, grid: QuantParams, only: set[fx.Node] | None) -> None:
    """Round what ``node`` yields, for all its users or ``only`` some; the caller recompiles."""
    with module.graph.inserting_after(node):
        fq = module.graph.call_function(FAKE_QUANTIZE, (node, grid.scale, grid.zero_point, grid.qmin, grid.qmax))
    fq.meta = {k: v for k, v in node.meta.items() if k in ("val", "nn_module_stack")}
    node.replace_all_uses_with(fq, delete_user_cb=lambda user: user is not fq and (only is None or user in only))

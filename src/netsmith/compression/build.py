"""From the bits of layers to a quantized network: ranges from images, integers placed as runtimes run them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from netsmith.compression.calibrate import Histogram, collect
from netsmith.compression.mixed import Bits, LayerQuantizer, quantize_mixed
from netsmith.compression.placement import layer_inputs, place
from netsmith.compression.quantize import Calibration, QuantizedGraph, quantize
from netsmith.compression.reorder import reordered
from netsmith.compression.share import CodebookQuantizer
from netsmith.compression.sparsify import Sparse
from netsmith.network.graph import Graph, trace
from netsmith.network.layers import FLOAT


def is_int8(bits: Bits) -> bool:
    """Whether runtimes have kernels for these widths: 8-bit weights and activations everywhere."""
    return all(pair == (8, 8) for pair in bits.values())


def integerise(
    model: nn.Module, input_shape: tuple[int, ...], bits: Bits, images: torch.Tensor, method: str, batch: int = 64,
    reorder: bool = False,
) -> tuple[Graph, QuantizedGraph | None]:  # fmt: skip
    """Trace a network and quantize layers with ranges from normalised ``images``.

    8-bit layers are placed as integer runtimes run them; where a layer has other widths, every layer reads its input
    through a grid of its own. Layers that read floats stay as they are.

    Args:
        reorder: put its operators into the order of least peak memory.

    Returns:
        The traced network with batch norm folded, and its quantized form (None if no layer is to be quantized).
    """
    graph = trace(model, input_shape)
    graph = reordered(graph) if reorder else graph
    bits = {n: pair for n, pair in bits.items() if n in graph.node_of and pair[1] < FLOAT}
    if not bits:
        return graph, None
    if is_int8(bits):
        histograms = histograms_of(graph, images, place(graph, bits).scaled, batch)
        return graph, quantize(graph, bits, Calibration(histograms, method))
    return graph, quantize_mixed(graph, bits, quantizer_for(graph, bits, images, method, batch))


def quantizer_for(
    graph: Graph, bits: Bits, images: torch.Tensor, method: str, batch: int = 64, sparse: Sparse | None = None
) -> LayerQuantizer:
    """Calibrated grids for the layers ``bits`` of a network, or codebooks where they read floats.

    Args:
        sparse: parameters most of whose numbers are zero, with how many are not.
    """
    if all(a_bits == FLOAT for _, a_bits in bits.values()):
        return CodebookQuantizer(graph, sparse)
    histograms = histograms_of(graph, images, layer_inputs(graph, bits).values(), batch)
    return LayerQuantizer(graph, histograms, method, sparse=sparse)


def histograms_of(graph: Graph, images: torch.Tensor, names: Iterable[str], batch: int = 64) -> dict[str, Histogram]:
    """Histograms of nodes over ``images``, in batches that the network takes."""
    size = batch if graph.dynamic_batch else graph.example_batch
    batches = [b for b in torch.split(images, size) if graph.dynamic_batch or len(b) == size]
    return collect(graph, batches, set(names))

"""From the bits of layers to a quantized network: ranges from examples, integers placed as runtimes run them."""

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
from netsmith.data.batch import Batch, Some
from netsmith.network.graph import Graph, trace
from netsmith.network.layers import FLOAT
from netsmith.network.signature import Axes


def is_int8(bits: Bits) -> bool:
    """Whether runtimes have kernels for these widths: 8-bit weights and activations everywhere."""
    return all(pair == (8, 8) for pair in bits.values())


def integerise(
    model: nn.Module, example: tuple[int, ...] | Batch, bits: Bits, examples: torch.Tensor | Some, method: str,
    batch: int = 64, reorder: bool = False, axes: Axes | None = None,
) -> tuple[Graph, QuantizedGraph | None]:  # fmt: skip
    """Trace a network and quantize layers with ranges from ``examples``.

    8-bit layers are placed as integer runtimes run them; where a layer has other widths, every layer reads its input
    through a grid of its own. Layers that read floats stay as they are.

    Args:
        example, axes: what it is traced with, see ``netsmith.network.graph.trace``.
        reorder: put its operators into the order of least peak memory.

    Returns:
        The traced network with batch norm folded, and its quantized form (None if no layer is to be quantized).
    """
    graph = trace(model, example, axes=axes)
    graph = reordered(graph) if reorder else graph
    bits = {n: pair for n, pair in bits.items() if n in graph.node_of and pair[1] < FLOAT}
    if not bits:
        return graph, None
    if is_int8(bits):
        histograms = histograms_of(graph, examples, place(graph, bits).scaled, batch)
        return graph, quantize(graph, bits, Calibration(histograms, method))
    return graph, quantize_mixed(graph, bits, quantizer_for(graph, bits, examples, method, batch))


def quantizer_for(
    graph: Graph, bits: Bits, examples: torch.Tensor | Some, method: str, batch: int = 64,
    sparse: Sparse | None = None,
) -> LayerQuantizer:  # fmt: skip
    """Calibrated grids for the layers ``bits`` of a network, or codebooks where they read floats.

    Args:
        sparse: parameters most of whose numbers are zero, with how many are not.
    """
    if all(a_bits == FLOAT for _, a_bits in bits.values()):
        return CodebookQuantizer(graph, sparse)
    histograms = histograms_of(graph, examples, layer_inputs(graph, bits).values(), batch)
    return LayerQuantizer(graph, histograms, method, sparse=sparse)


def histograms_of(
    graph: Graph, examples: torch.Tensor | Some, names: Iterable[str], batch: int = 64
) -> dict[str, Histogram]:
    """Histograms of nodes over ``examples``, in batches that the network takes."""
    return collect(graph, graph.batches(examples, batch), set(names))

"""Networks with 8-bit layers as the runtime runs them: what it computes in floats is exported, priced and called so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from netsmith.compression.build import integerise
from netsmith.compression.mixed import Bits
from netsmith.compression.quantize import QuantizedGraph
from netsmith.data.batch import Some
from netsmith.decisions.bits import BITS
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.kind import Designs
from netsmith.export.fusion import Fusion, check_fusion
from netsmith.export.onnx import to_onnx
from netsmith.network.graph import Graph

if TYPE_CHECKING:
    import onnx

REASON = "not quantized: ONNX Runtime has no integer kernel for it where it stands, and computes it in floats"


@dataclass(frozen=True)
class Integers:
    """A network exported with 8-bit layers.

    Attributes:
        graph: traced, batch norm folded.
        quantized: with quantizers; None if no layer is left that runs in integers.
        model: the ONNX model.
        bits: (weight, activation) widths of the layers that run in integers.
        floats: layers that were asked for in integers and are not.
        fusion: what became of ``bits`` in the runtime.
    """

    graph: Graph
    quantized: QuantizedGraph | None
    model: onnx.ModelProto
    bits: Bits
    floats: tuple[str, ...]
    fusion: Fusion


def export_integers(
    model: nn.Module, given: Graph, bits: Bits, examples: torch.Tensor | Some, method: str,
    has_floats: bool = True, reorder: bool = False,
) -> Integers:  # fmt: skip
    """Quantize and export a network, without the layers that the runtime does not fuse.

    A layer left in floats changes what stands around it, so the rest is looked at again.

    Args:
        given: the trace of a network that takes and returns the same.
        bits: 8-bit (weight, activation) widths of layers.
        examples: for the ranges; ``method`` as for ``calibrate.fit_range``.
        has_floats: whether layers may be left in floats; else they are all exported in integers, fused or not.
        reorder: put the operators into the order of least peak memory.
    """
    kept = dict(bits)
    while True:
        graph, quantized = integerise(model, given.example, kept, examples, method, reorder=reorder, axes=given.axes)
        here = [n for n in kept if quantized is not None and n in graph.node_of]
        exported = to_onnx(quantized.graph, quantized.weight_scales) if quantized else to_onnx(graph)
        fusion = check_fusion(exported, here)
        kept = {n: kept[n] for n in here if n not in fusion.floats}
        if fusion.complete or not has_floats:
            floats = tuple(n for n in bits if n not in kept)
            return Integers(graph, quantized, exported, kept, floats, fusion)


def as_it_runs(space: GivenSpace, design: Designs, floats: tuple[str, ...]) -> Designs:
    """The design ``(D,)`` with the layers ``floats`` at their widest bits."""
    out = design.copy()
    for layer in floats:
        d = space.decisions.index(f"{layer}.{BITS}")
        out[d] = space.reference[d]
    return out

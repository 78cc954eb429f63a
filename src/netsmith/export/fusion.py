"""Did the runtime fuse the integer layers? One pattern left unfused turns a gain into a loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import onnx

from netsmith.export.integers import integer_weights

INTEGER_LAYERS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")


@dataclass(frozen=True)
class Fusion:
    """What became of a QDQ model on the runtime's optimised graph.

    Attributes:
        expected: layers that were exported in int8.
        floats: those of them that the runtime computes in floating point.
        operators: operator type -> count, of the optimised graph.
    """

    expected: int
    floats: tuple[str, ...]
    operators: dict[str, int]

    @property
    def fused(self) -> int:
        """Layers that run in integers."""
        return self.expected - len(self.floats)

    @property
    def complete(self) -> bool:
        return not self.floats


def check_fusion(model: onnx.ModelProto | str | Path | bytes, layers: Collection[str]) -> Fusion:
    """Look for the integer kernel of each layer in the graph that ONNX Runtime runs for ``model``.

    Args:
        layers: names of rows that were exported in int8.
    """
    from netsmith.hardware.measured.optimised import optimised_model

    if not isinstance(model, onnx.ModelProto):
        model = onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(model)
    weights = integer_weights(model)
    nodes = optimised_model(model.SerializeToString()).graph.node
    kernels = Counter(name for n in nodes if n.op_type in INTEGER_LAYERS for name in n.input)
    # layers that share one constant are all fused or none is known to be
    readers = Counter(weights.values())
    floats = [n for n in layers if n not in weights or kernels[weights[n]] < readers[weights[n]]]
    return Fusion(len(layers), tuple(floats), dict(Counter(n.op_type for n in nodes)))

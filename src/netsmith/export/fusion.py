"""Did the runtime fuse the integer layers? One pattern left unfused turns a gain into a loss."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx

INTEGER_LAYERS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")


@dataclass(frozen=True)
class Fusion:
    """What became of a QDQ model on the runtime's optimised graph.

    Attributes:
        expected: layers that were exported in int8.
        fused: integer layer kernels found.
        operators: operator type -> count, of the optimised graph.
    """

    expected: int
    fused: int
    operators: dict[str, int]

    @property
    def complete(self) -> bool:
        return self.fused >= self.expected


def check_fusion(model: onnx.ModelProto | str | Path | bytes, expected: int) -> Fusion:
    """Count integer kernels in the graph that ONNX Runtime runs for ``model``."""
    from netsmith.hardware.measured.profiling import optimised_model

    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    operators = Counter(node.op_type for node in optimised_model(source).graph.node)
    return Fusion(expected, sum(operators[k] for k in INTEGER_LAYERS), dict(operators))

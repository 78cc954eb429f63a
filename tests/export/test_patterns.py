"""Every export passes ONNX's own checker, computes what the network computes, and runs its int8 layers in int8."""

from __future__ import annotations

import onnx
import pytest
import torch
from small_networks import EVERY_RUN, NETWORKS

from netsmith.compression.calibrate import collect
from netsmith.compression.placement import place, quantizable
from netsmith.compression.quantize import Calibration, quantize
from netsmith.export.fusion import check_fusion
from netsmith.export.onnx import to_onnx
from netsmith.export.parity import check_parity
from netsmith.network.graph import trace


def _sound(model: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(model, full_check=True)
    names = [i.name for i in model.graph.initializer]
    assert set(names) <= {name for n in model.graph.node for name in n.input} and len(set(names)) == len(names)
    assert {o.domain for o in model.opset_import} == {""}
    return model.SerializeToString()


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in EVERY_RUN else pytest.mark.slow) for n in NETWORKS])
def test_a_network_is_exported_in_floats_and_in_integers(name: str) -> None:
    torch.manual_seed(0)
    model, x = NETWORKS[name]().eval(), torch.randn(8, 1, 4, 4)
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_var.uniform_(0.5, 1.5)
    graph = trace(model, (1, 4, 4))
    assert check_parity(model, _sound(to_onnx(graph)), x, tolerance=1e-4).ok
    layers = list(quantizable(graph))
    histograms = collect(graph, [x], place(graph, layers).scaled)
    quantized = quantize(graph, layers, Calibration(histograms, "minmax"))
    integer = to_onnx(quantized.graph, quantized.weight_scales)
    assert check_parity(quantized.graph.module, _sound(integer), x, tolerance=0.1).ok
    assert layers and check_fusion(integer, layers).floats == ()

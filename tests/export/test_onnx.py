"""ONNX models compute what the network computes, and the runtime fuses every integer layer."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from netsmith.compression.calibrate import collect
from netsmith.compression.mixed import LayerQuantizer, quantize_mixed
from netsmith.compression.placement import layer_inputs, place, quantizable
from netsmith.compression.quantize import Calibration, QuantizedGraph, quantize
from netsmith.errors import InputError
from netsmith.export.fusion import check_fusion
from netsmith.export.onnx import stored_bits, to_onnx
from netsmith.export.parity import check_parity
from netsmith.export.pt2 import save_pt2
from netsmith.network.graph import Graph, trace
from netsmith.network.load import load_model


def prepared(spec: str, shape: tuple[int, ...]) -> tuple[Graph, QuantizedGraph, torch.Tensor]:
    model = load_model(spec).model
    torch.manual_seed(0)
    x = torch.randn(16, *shape)
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(x)
    graph = trace(model.eval(), shape)
    layers = list(quantizable(graph))
    histograms = collect(graph, [x], place(graph, layers).scaled)
    return graph, quantize(graph, layers, Calibration(histograms, "minmax")), x


@pytest.mark.parametrize(
    ("spec", "shape"),
    [("zoo:digits", (1, 8, 8)), ("zoo:cifar_resnet20", (3, 32, 32)), ("zoo:mobilenet_v2?width=0.25", (3, 64, 64))],
)
def test_parity_and_fusion(spec: str, shape: tuple[int, ...]) -> None:
    graph, quantized, x = prepared(spec, shape)
    plain = to_onnx(graph).SerializeToString()
    assert check_parity(graph.module, plain, x, tolerance=1e-4).ok
    integer = to_onnx(quantized.graph, quantized.weight_scales)
    assert check_parity(quantized.graph.module, integer.SerializeToString(), x, tolerance=0.1).ok
    fusion = check_fusion(integer, quantizable(graph))
    assert fusion.complete, fusion
    assert "Conv" not in fusion.operators and fusion.operators.get("QuantizeLinear", 0) <= 4
    assert len(integer.SerializeToString()) < 0.5 * len(plain)


def test_narrow_grids_are_stored_in_the_bits_that_are_said() -> None:
    graph, _, x = prepared("zoo:digits", (1, 8, 8))
    bits = {layer: (2 + i % 5, 3 + i % 4) for i, layer in enumerate(quantizable(graph))}
    quantizer = LayerQuantizer(graph, collect(graph, [x], set(layer_inputs(graph, bits).values())))
    quantized = quantize_mixed(graph, bits, quantizer)
    model = to_onnx(quantized.graph, quantized.weight_scales, integer_bias=False)
    stored = {i.name: i for i in model.graph.initializer}
    kinds = {onnx.TensorProto.INT4: 4, onnx.TensorProto.INT8: 8, onnx.TensorProto.UINT8: 8}
    weights = [kinds[t.data_type] for name, t in stored.items() if name.endswith("_q")]
    inputs = [kinds[stored[n.input[2]].data_type] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert sorted(weights) == sorted(stored_bits(w, a)[0] for w, a in bits.values())
    assert set(weights) == {4, 8} and set(inputs) == {stored_bits(w, a)[1] for w, a in bits.values()}
    assert check_parity(quantized.graph.module, model.SerializeToString(), x, tolerance=0.05).ok


def test_unquantized_layers_show_as_unfused() -> None:
    graph, _, _ = prepared("zoo:digits", (1, 8, 8))
    assert check_fusion(to_onnx(graph), ["fc"]).floats == ("fc",)


def test_parity_notices_another_network() -> None:
    graph, _, x = prepared("zoo:digits", (1, 8, 8))
    other = trace(load_model("zoo:digits", seed=5).model, (1, 8, 8))
    assert not check_parity(other.module, to_onnx(graph).SerializeToString(), x, tolerance=0.1).ok


def test_tokens_use_integer_products() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Linear(12, 40), nn.Linear(40, 12), nn.Linear(12, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(2).transpose(1, 2)
            return self.head((x + self.second(nn.functional.gelu(self.first(x)))).mean(1))

    torch.manual_seed(0)
    graph = trace(Mixer().eval(), (12, 4, 4))
    layers = list(quantizable(graph))
    x = torch.randn(8, 12, 4, 4)
    quantized = quantize(graph, layers, Calibration(collect(graph, [x], place(graph, layers).scaled)))
    model = to_onnx(quantized.graph, quantized.weight_scales)
    assert check_fusion(model, layers).complete
    assert check_parity(quantized.graph.module, model.SerializeToString(), x, tolerance=0.1).ok


def test_pt2_loads_without_the_class(tmp_path: Path) -> None:
    _, quantized, x = prepared("zoo:digits", (1, 8, 8))
    save_pt2(quantized.graph, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2")
    assert "netsmith" not in str(program.graph)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), quantized.graph.module(x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("affine", [True, False])
def test_norms_that_stay_are_norms_in_the_file(affine: bool) -> None:
    """With weights, they are translated as they are, which spares a second trace; without, the exporter helps."""
    first, last = nn.BatchNorm2d(3, eps=0.1, affine=affine), nn.BatchNorm2d(4)
    model = nn.Sequential(nn.ReLU(), first, nn.Conv2d(3, 4, 3), nn.ReLU(), last)
    torch.manual_seed(0)
    for norm in (first, last):
        norm.running_mean.normal_()  # type: ignore[union-attr]
        norm.running_var.uniform_(0.1, 2)  # type: ignore[union-attr]
    graph, x = trace(model.eval(), (3, 8, 8), fold=False), torch.randn(4, 3, 8, 8)
    written = to_onnx(graph)
    assert [n.op_type for n in written.graph.node].count("BatchNormalization") == 2
    assert check_parity(model, written.SerializeToString(), x, tolerance=1e-5).ok


def test_an_export_that_does_not_run_names_its_operator() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(8, 6, proj_size=3, batch_first=True)  # ONNX has no projections

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(x.squeeze(1))[0][:, -1]

    graph = trace(Reader().eval(), (1, 8, 8))
    with pytest.raises(InputError, match="operator LSTM"):
        check_parity(graph.module, to_onnx(graph).SerializeToString(), torch.randn(2, 1, 8, 8), tolerance=0.1)

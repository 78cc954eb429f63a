"""Widths of their own: decisions, prices, evaluation, fake quantization, training and ONNX speak of one network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from given import candidates_of, space_of
from labelled import evaluator as evaluator_of
from netsmith.compression.build import histograms_of
from netsmith.compression.mixed import LayerQuantizer, quantize_mixed
from netsmith.compression.placement import layer_inputs
from netsmith.compression.qat import TrainedQuantizer, finish, prepare
from netsmith.compression.quantize import Calibration, packed_tensors
from netsmith.decisions.pricing import Pricing
from netsmith.export.onnx import to_onnx
from netsmith.export.packed import write_packed
from netsmith.export.parity import check_parity
from netsmith.hardware.target import get_target
from netsmith.network.graph import trace
from netsmith.network.load import load_model
from netsmith.study.evaluator import Logged
from netsmith.study.measured import Measured

WIDTHS = (2, 3, 4, 6, 8)
PAIRS = [(w, a) for w in WIDTHS for a in WIDTHS]


@pytest.fixture(scope="module")
def case():  # type: ignore[no-untyped-def]
    model = load_model("zoo:digits").model
    torch.manual_seed(0)
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.randn(32, 1, 8, 8))
    model.eval()
    graph = trace(model, (1, 8, 8))
    layers = [n for n in graph.node_of if graph.layers.weights[graph.layers.names.index(n)] > 0]
    pinned = (layers[0], layers[-1])
    space = space_of(graph, bits=PAIRS, pinned=pinned)
    images = torch.randn(64, 1, 8, 8)
    quantizer = LayerQuantizer(graph, histograms_of(graph, images, layer_inputs(graph, space.quantized).values()))
    return model, graph, space, images, quantizer, pinned


def test_a_layer_has_two_decisions_and_pinned_layers_have_no_choice(case) -> None:  # type: ignore[no-untyped-def]
    _, graph, space, _, _, pinned = case
    names = [d.name for d in space.decisions.decisions]
    assert names == [f"{n}.{kind}" for n in space.quantized for kind in ("w_bits", "a_bits")]
    for d, decision in enumerate(space.decisions.decisions):
        assert decision.choices == ((8,) if space.layer_of(d) in pinned else WIDTHS)
    design = space.decisions.sample(np.random.default_rng(0), 1)[0]
    table = space.rows(design)
    for layer, (w, a) in space.bits(design).items():
        row = graph.layers.names.index(layer)
        assert (table.w_bits[0, row], table.a_bits[0, row]) == (w, a)
        assert space.decisions.describe(design)[f"{layer}.a_bits"] == a


@pytest.mark.parametrize("target", ["bismo-edge", "bitfusion", "roofline-bitfusion"])
def test_prices_are_exact_at_every_design(case, target: str) -> None:  # type: ignore[no-untyped-def]
    space = case[2]
    if target == "roofline-bitfusion":
        pairs = [(w, a) for w in (2, 4, 8) for a in (2, 4, 8)]
        space = space_of(case[1], bits=pairs)
    pricing = Pricing(space, get_target(target))
    designs = space.decisions.sample(np.random.default_rng(1), 40)
    costs = ["latency", "size", "macs"] + (["energy"] if target != "roofline-bitfusion" else [])
    for cost in costs:
        assert pricing.is_exact(cost)
        table = pricing.table(cost, space.reference)
        np.testing.assert_allclose(table.price(designs), pricing.predict(designs, cost), rtol=1e-9)
    rows = space.rows(designs)
    computing = rows.take(rows.is_compute[0])
    latency = get_target(target).cost(computing).latency_s.sum(axis=1)
    assert (pricing.predict(designs) >= latency * (1 - 1e-9)).all()
    assert len(np.unique(np.round(pricing.predict(designs, "size")))) > 20


def test_evaluated_designs_are_the_networks_that_are_built(case) -> None:  # type: ignore[no-untyped-def]
    _, graph, space, images, quantizer, _ = case
    labels = torch.randint(0, 10, (64,), generator=torch.Generator().manual_seed(0))
    runner = evaluator_of(graph, images, labels, batch_size=24)
    evaluator = Logged(Measured(candidates_of(space, Calibration({}), quantizer, {}), runner))
    designs = space.decisions.sample(np.random.default_rng(2), 3)
    found = evaluator.outcomes(np.concatenate([designs, designs[:1]]))
    assert evaluator.evaluated == 3 and found[0] == found[3]
    with torch.no_grad():
        reference = F.log_softmax(graph.module(images), dim=1)
        for design, outcome in zip(designs, found, strict=False):
            got = quantize_mixed(graph, space.bits(design), quantizer).graph.module(images)
            kl = (reference.exp() * (reference - F.log_softmax(got, dim=1))).sum(dim=1).mean()
            assert outcome.loss == outcome.figures["divergence"] == pytest.approx(float(kl), rel=1e-3, abs=1e-7)
            assert outcome.figures["accuracy"] == pytest.approx(float((got.argmax(1) == labels).float().mean()))
            assert outcome.figures["cross_entropy"] == pytest.approx(float(F.cross_entropy(got, labels)), rel=1e-4)


def test_onnx_clips_to_the_grid_and_the_packed_file_has_the_predicted_size(case, tmp_path) -> None:  # type: ignore[no-untyped-def]
    _, graph, space, images, quantizer, _ = case
    design = space.decisions.sample(np.random.default_rng(3), 1)[0]
    quantized = quantize_mixed(graph, space.bits(design), quantizer)
    model = to_onnx(quantized.graph, quantized.weight_scales, integer_bias=False).SerializeToString()
    # images far outside the calibrated range show whether the file clips where the network does
    parity = check_parity(quantized.graph.module, model, torch.cat([images, images * 5]), tolerance=0.02)
    assert parity.ok, parity
    size = write_packed(tmp_path / "model.nsw", packed_tensors(quantized))
    assert size == (tmp_path / "model.nsw").stat().st_size
    assert size == Pricing(space, get_target("bismo-edge")).predict(design, "size")[0]


def test_training_starts_at_the_calibrated_network_and_ends_in_the_one_that_is_exported(case) -> None:  # type: ignore[no-untyped-def]
    model, graph, space, images, quantizer, _ = case
    design = space.decisions.sample(np.random.default_rng(4), 1)[0]
    bits = space.bits(design)
    student = prepare(model, bits, quantizer)
    with torch.no_grad():
        want = quantize_mixed(graph, bits, quantizer).graph.module(images)
        got = student.eval()(images)
    # folding multiplies in another order, so a value on the edge of two levels may fall to the other side
    assert float((got - want).square().mean().sqrt() / want.std()) < 0.05

    student.train()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05)
    before = {n: p.detach().clone() for n, p in student.named_parameters()}
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(student(images), torch.arange(64) % 10).backward()
        optimizer.step()
    moved = {n for n, p in student.named_parameters() if not torch.equal(p, before[n])}
    assert any(n.endswith("input_quantizer.step") for n in moved)
    assert any(n.endswith("parametrizations.weight.0.step") for n in moved)

    student.eval()
    with torch.no_grad():
        want = student(images)
    trained, grids = finish(student, bits, quantizer)
    assert not any("parametriz" in n or "quantizer" in n for n in trained.state_dict())
    after = trace(trained, (1, 8, 8))
    exported = quantize_mixed(after, bits, TrainedQuantizer(after, trained, grids, quantizer))
    with torch.no_grad():
        got = exported.graph.module(images)
    assert float((got - want).square().mean().sqrt() / want.std()) < 0.05
    for name, scale in exported.weight_scales.items():
        weight = exported.graph.module.get_parameter(name).detach()
        integers = weight / scale.reshape(-1, *[1] * (weight.dim() - 1))
        top = max(2 ** (exported.weight_bits[name] - 1) - 1, 1)
        assert float((integers - integers.round()).abs().max()) < 1e-3 and float(integers.abs().max()) < top + 0.5

"""Weights shared by codebooks: decisions, prices to the byte, files, training, and designs that also prune."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from given import branches_in, candidates_of, groups_in, space_of
from netsmith.compression.branches import find_branches
from netsmith.compression.groups import find_groups
from netsmith.compression.importance import channel_importance
from netsmith.compression.mixed import quantize_mixed
from netsmith.compression.qat import finish, prepare
from netsmith.compression.quantize import Calibration, packed_tensors
from netsmith.compression.share import CodebookQuantizer
from netsmith.decisions.bits import W_BITS
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.pricing import Pricing
from netsmith.decisions.slim import slim
from netsmith.decisions.tools import AtHand
from netsmith.export.packed import CodebookTensor, write_packed
from netsmith.export.packed.model import load_packed
from netsmith.hardware.target import Capabilities, Cost
from netsmith.network.graph import Graph, trace
from netsmith.network.layers import LayerTable

PAIRS = [(b, 32) for b in range(1, 9)]
SHAPE = (1, 8, 8)


class Toy:
    """Integers are three times as fast; a layer that reads floats must be priced as one."""

    name = "toy"

    def __init__(self, *bits: tuple[int, int]) -> None:
        self.capabilities = Capabilities(bits=bits)

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        assert {(int(w), int(a)) for w, a in zip(table.w_bits.ravel(), table.a_bits.ravel(), strict=True)} <= {
            *self.capabilities.bits
        }
        return Cost(table.macs * np.where(table.w_bits < 32, 1e-11, 3e-11) + 1e-7)


@pytest.fixture(scope="module")
def graph(digits_model: nn.Module) -> Graph:
    return trace(digits_model, SHAPE, fold=False)


@pytest.fixture(scope="module")
def space(graph: Graph) -> GivenSpace:
    return space_of(graph, bits=PAIRS, codebooks=True)


def shared(graph: Graph, space: GivenSpace, design: np.ndarray):  # type: ignore[no-untyped-def]
    return quantize_mixed(graph, space.bits(design), CodebookQuantizer(graph))


def test_norms_stay_and_the_layer_table_is_that_of_the_folded_network(digits_model: nn.Module, graph: Graph) -> None:
    folded = trace(digits_model, SHAPE)
    assert graph.layers.to_dict() == folded.layers.to_dict() and not graph.folded and folded.folded
    assert set(graph.node_of.values()) <= set(graph.nodes) and not graph.copy().folded
    norms = [n for n in graph.nodes.values() if "batch_norm" in str(n.target)]
    assert len(norms) == sum(isinstance(m, nn.BatchNorm2d) for m in digits_model.modules())
    x = torch.randn(4, *SHAPE)
    torch.testing.assert_close(graph.module(x), folded.module(x), rtol=1e-4, atol=1e-5)


def test_a_layer_has_one_decision_and_stays_in_floats(space: GivenSpace) -> None:
    assert [d.kind for d in space.decisions.decisions] == [W_BITS] * len(space.quantized)
    assert space.is_mixed and not space.has_floats
    design = np.arange(len(space.decisions)) % 8
    assert space.bits(design) == {n: (i % 8 + 1, 32) for i, n in enumerate(space.quantized)}
    assert [space.layer_of(d) for d in range(len(space.decisions))] == list(space.quantized)


@pytest.mark.parametrize("bits", [[(32, 32), (8, 8)], [(8, 8), (4, 4)]])
def test_sharing_changes_the_size_and_no_latency(space: GivenSpace, bits: list[tuple[int, int]]) -> None:
    pricing = Pricing(space, Toy(*bits))
    designs = space.decisions.sample(np.random.default_rng(0), 5)
    latency = pricing.predict(np.concatenate([designs, [space.reference]]))
    assert latency == pytest.approx(float(pricing.row_cost("latency")(space.table).sum()))
    assert len(set(pricing.predict(designs, "size"))) == 5
    table = pricing.table("size", space.reference)
    assert table.price(designs) == pytest.approx(pricing.predict(designs, "size"))
    assert pricing.is_exact("size")


def test_the_price_is_the_size_of_the_file(graph: Graph, space: GivenSpace) -> None:
    pricing = Pricing(space, Toy((32, 32)))
    quantizer = CodebookQuantizer(graph)
    for design in space.decisions.sample(np.random.default_rng(1), 4):
        quantized = quantize_mixed(graph, space.bits(design), quantizer)
        tensors = packed_tensors(quantized)
        assert write_packed(None, tensors) == pricing.predict(design, "size")[0]
        assert write_packed(None, tensors, huffman=True) <= pricing.predict(design, "size")[0]
        stored = [t for t in tensors.values() if isinstance(t, CodebookTensor)]
        assert len(stored) == len(space.quantized) and not quantized.weight_scales


def test_the_network_of_the_file_is_the_network(graph: Graph, space: GivenSpace, tmp_path: Path) -> None:
    quantized = shared(graph, space, np.full(len(space.decisions), 2))
    write_packed(tmp_path / "w.nsw", packed_tensors(quantized), huffman=True)
    loaded = graph.copy().module
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.zero_()
    load_packed(loaded, tmp_path / "w.nsw")
    x = torch.randn(8, *SHAPE)
    torch.testing.assert_close(loaded(x), quantized.graph.module(x), rtol=0, atol=0)
    assert not torch.allclose(loaded(x), graph.module(x), atol=1e-3)


def test_trained_weights_lie_on_codebooks_that_the_file_has(
    digits_model: nn.Module, graph: Graph, space: GivenSpace
) -> None:
    design = np.arange(len(space.decisions)) % 3
    bits, quantizer = space.bits(design), CodebookQuantizer(graph)
    student = prepare(digits_model, bits, quantizer)
    x = torch.randn(32, *SHAPE)
    torch.testing.assert_close(student.eval()(x), quantize_mixed(graph, bits, quantizer).graph.module(x))
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9)
    for _ in range(5):
        loss = nn.functional.cross_entropy(student.train()(x), torch.arange(32) % 10)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    want = student.eval()(x)
    trained, grids = finish(student, bits, quantizer)
    assert not grids.weights and not grids.inputs and type(trained) is type(digits_model)
    torch.testing.assert_close(trained(x), want, rtol=0, atol=0)
    after = trace(trained, SHAPE, fold=False)
    again = quantize_mixed(after, bits, CodebookQuantizer(after))
    torch.testing.assert_close(again.graph.module(x), after.module(x), rtol=0, atol=0)
    for layer, (b, _) in bits.items():
        values = again.codebooks[f"{layer}.weight"].values
        assert len(values) <= 2**b and not torch.allclose(values, quantizer.codebook(layer, b).values, rtol=1e-3)
    size = write_packed(None, packed_tensors(again))
    assert size == Pricing(space, Toy((32, 32))).predict(design, "size")[0]


def test_designs_may_prune_as_well(digits_model: nn.Module, graph: Graph) -> None:
    x = torch.randn(2, *SHAPE)
    report = find_groups(digits_model, x)
    space = space_of(graph, report, find_branches(digits_model, x), multiple=8, bits=PAIRS, codebooks=True)
    design = space.reference.copy()
    design[0], first = 0, len(groups_in(space)) + len(branches_in(space))
    design[first:] = 1
    scores = channel_importance(digits_model, report)
    quantizer = CodebookQuantizer(graph)
    candidate = candidates_of(space, Calibration({}), quantizer, scores).of_design(design)
    assert not candidate.inputs and not candidate.outputs
    consumer = next(m.layer for m in groups_in(space)[0].inputs if f"{m.layer}.weight" in candidate.weights)
    masked, plain = candidate.weights[f"{consumer}.weight"], quantizer.weight(consumer, 2)
    gone = (masked == 0).flatten(2).all(dim=2).all(dim=0)
    kept = int(space.values[0, 0])
    assert int((~gone).sum()) == kept
    assert torch.equal(masked[:, ~gone], plain[:, ~gone])
    slimmed = slim(copy.deepcopy(digits_model), space, design, AtHand(scores))
    small = trace(slimmed.model, SHAPE, fold=False)
    size = write_packed(None, packed_tensors(quantize_mixed(small, slimmed.bits, CodebookQuantizer(small))))
    predicted = Pricing(space, Toy((32, 32))).predict(design, "size")[0]
    assert 0.9 * predicted < size <= predicted  # norms are priced at all their channels

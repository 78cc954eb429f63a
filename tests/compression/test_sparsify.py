"""Sparse weights: how many numbers stay, training that keeps the zeros, files and their prices, shared values."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from netsmith.compression.mixed import quantize_mixed
from netsmith.compression.qat import finish, prepare
from netsmith.compression.quantize import packed_tensors
from netsmith.compression.share import CodebookQuantizer
from netsmith.compression.sparsify import entries_of, kept_numbers, zeros_kept
from netsmith.errors import InputError
from netsmith.export.packed import SparseTensor, Tensor, read_packed, table_bytes, write_packed
from netsmith.export.packed.model import load_packed, network_tensors, stored_tensors, with_positions
from netsmith.network.graph import Graph, trace

SHAPE = (1, 8, 8)
SHARE = 0.2


@pytest.fixture
def sparse_model(digits_model: nn.Module) -> tuple[nn.Module, dict[str, int]]:
    """The network with a fifth of the numbers of every convolution and linear layer."""
    model, sparse = copy.deepcopy(digits_model), dict[str, int]()
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            entries = int(entries_of(module.weight.numel(), SHARE))
            module.weight.data *= kept_numbers(module.weight, entries)
            sparse[f"{name}.weight"] = entries
    return model, sparse


def _steps(model: nn.Module, count: int = 4) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    x = torch.randn(32, *SHAPE, generator=torch.Generator().manual_seed(0))
    for _ in range(count):
        loss = nn.functional.cross_entropy(model.train()(x), torch.arange(32) % 10)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()


def _size(graph: Graph, bits: int) -> int:
    """What the table says, with the entries of a sparse network."""
    table = graph.layers
    entries = entries_of(table.weights, np.where(table.weights > 0, SHARE, 1.0))
    stored, others = stored_tensors(graph)
    scheme = "linear" if bits == 32 else "kmeans"
    fixed, layers = table_bytes(table.replace(entries=entries), [bits], scheme, others=others, stored=stored)
    return int(fixed + layers.sum())


def _positions(tensors: dict[str, Tensor]) -> dict[str, int]:
    return {name: len(t.positions) for name, t in tensors.items() if isinstance(t, SparseTensor)}


def test_how_many_numbers_stay() -> None:
    assert entries_of([1000, 10, 1, 0], 0.1).tolist() == [100, 1, 1, 0]
    assert entries_of([1000, 10], [[1.0], [0.05]]).tolist() == [[0, 0], [50, 1]]
    assert entries_of(3 * 7, 1 / 3) == 7  # no rounding error makes it 8
    weight = torch.tensor([[1.0, -3.0], [0.0, 2.0]])
    assert kept_numbers(weight, 2).tolist() == [[False, True], [False, True]]
    assert kept_numbers(torch.zeros(4), 2).tolist() == [True, True, False, False]


def test_training_leaves_zeros_zero_and_the_module_plain(sparse_model: tuple[nn.Module, dict[str, int]]) -> None:
    model, sparse = sparse_model
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with zeros_kept(model, sparse):
        _steps(model)
    assert sorted(n for n, _ in model.named_parameters()) == sorted(before)
    for name, entries in sparse.items():
        weight = model.get_parameter(name)
        assert torch.equal(weight != 0, before[name] != 0) and int((weight != 0).sum()) == entries
        assert not torch.equal(weight, before[name])
    _steps(model, 1)  # outside, nothing is held
    assert any(int((model.get_parameter(n) != 0).sum()) > e for n, e in sparse.items())


def test_zeros_are_let_go_where_training_fails(sparse_model: tuple[nn.Module, dict[str, int]]) -> None:
    model, sparse = sparse_model
    names = sorted(n for n, _ in model.named_parameters())
    with pytest.raises(ValueError, match="stop"), zeros_kept(model, sparse):
        assert sorted(n for n, _ in model.named_parameters()) != names
        raise ValueError("stop")
    assert sorted(n for n, _ in model.named_parameters()) == names


@pytest.mark.parametrize("fold", [False, True])
def test_the_file_of_a_sparse_network_is_as_large_as_said(
    sparse_model: tuple[nn.Module, dict[str, int]], fold: bool, tmp_path: Path
) -> None:
    model, sparse = sparse_model
    graph = trace(model, SHAPE, fold=fold)
    tensors = with_positions(graph, network_tensors(graph), sparse)
    assert (
        write_packed(tmp_path / "w.nsw", tensors) == _size(graph, 32) < write_packed(None, network_tensors(graph)) / 2
    )
    assert _positions(read_packed(tmp_path / "w.nsw")) == sparse
    loaded = graph.copy().module
    for parameter in loaded.parameters():
        parameter.data.zero_()
    load_packed(loaded, tmp_path / "w.nsw")
    x = torch.randn(4, *SHAPE)
    torch.testing.assert_close(loaded(x), graph.module(x), rtol=0, atol=0)


def test_a_network_that_is_not_sparse_is_not_stored_as_one(digits_model: nn.Module) -> None:
    graph = trace(digits_model, SHAPE)
    name = next(n for n in network_tensors(graph) if n.endswith("weight"))
    with pytest.raises(InputError, match=f"no weight {name} of 5 entries among zeros"):
        with_positions(graph, network_tensors(graph), {name: 5})


def test_zero_is_none_of_the_shared_values_and_stays_in_training(
    sparse_model: tuple[nn.Module, dict[str, int]], tmp_path: Path
) -> None:
    """Deep Compression: pruned, then shared, then both trained, then coded."""
    model, sparse = sparse_model
    graph = trace(model, SHAPE, fold=False)
    bits = {name.removesuffix(".weight"): (3, 32) for name in sparse}
    quantizer = CodebookQuantizer(graph, sparse)
    before = quantize_mixed(graph, bits, quantizer)
    student = prepare(model, bits, quantizer)
    x = torch.randn(8, *SHAPE)
    torch.testing.assert_close(student.eval()(x), before.graph.module(x))
    _steps(student)
    want = student.eval()(x)
    trained, _ = finish(student, bits, quantizer)
    torch.testing.assert_close(trained(x), want, rtol=0, atol=0)
    for name in sparse:
        weight = trained.get_parameter(name)
        assert torch.equal(weight != 0, model.get_parameter(name) != 0)
        assert not torch.equal(weight, before.codebooks[name].weight) and len(weight.unique()) <= 9
    after = trace(trained, SHAPE, fold=False)
    shared = quantize_mixed(after, bits, CodebookQuantizer(after, sparse))
    torch.testing.assert_close(shared.graph.module(x), want, rtol=1e-5, atol=1e-5)
    assert all(0.0 not in shared.codebooks[name].values for name in sparse)
    tensors = with_positions(shared.graph, packed_tensors(shared), sparse)
    size = write_packed(None, tensors)
    assert size == _size(after, 3)
    assert write_packed(tmp_path / "w.nsw", tensors, huffman=True) < size
    loaded = after.copy().module
    load_packed(loaded, tmp_path / "w.nsw")
    torch.testing.assert_close(loaded(x), shared.graph.module(x), rtol=0, atol=0)


def test_a_value_moves_by_the_mean_of_what_is_not_zero(sparse_model: tuple[nn.Module, dict[str, int]]) -> None:
    model, sparse = sparse_model
    name = next(iter(sparse))
    layer, kept = name.removesuffix(".weight"), model.get_parameter(name) != 0
    quantizer = CodebookQuantizer(trace(model, SHAPE, fold=False), sparse)
    shared = quantizer.trainable(layer, model.get_parameter(name).detach(), 1)
    (shared() * 3.0).sum().backward()
    assert shared.values.grad.tolist() == pytest.approx([3.0, 3.0])
    assert shared.codebook().kept is not None and torch.equal(shared.codebook().weight != 0, kept)

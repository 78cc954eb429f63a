"""A traced network, its packed file and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from netsmith.errors import InputError
from netsmith.export.packed import LinearTensor, Tensor, table_bytes, write_packed
from netsmith.export.packed.model import check_packed, load_packed, network_tensors, stored_tensors
from netsmith.network.graph import Graph, trace


class _Odd(nn.Module):
    """Kernels over one, two and three axes, a layer used twice, a computed weight, a norm, constants and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.two, self.norm2 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.one, self.three = nn.Conv1d(8, 8, 5, bias=False), nn.Conv3d(1, 2, (3, 2, 2))
        self.norm, self.twice = nn.LayerNorm(8), nn.Linear(8, 8)
        self.computed = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
        self.embedding = nn.Parameter(torch.randn(8))
        self.register_buffer("mask", torch.arange(8) % 2 == 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.one(self.norm2(self.two(x)).flatten(2)).mean(2)
        y = self.twice(self.twice(self.norm(y) + self.embedding) * self.mask)
        y = self.computed(y)
        return y + self.three(y.reshape(-1, 1, 2, 2, 2).repeat(1, 1, 2, 1, 1)).flatten(1).sum(1, keepdim=True)


@pytest.fixture(scope="module")
def graph() -> Graph:
    torch.manual_seed(0)
    return trace(_Odd().eval(), (3, 8, 8))


def _quantized(graph: Graph, bits: dict[str, int]) -> dict[str, LinearTensor]:
    out = {}
    for name, b in bits.items():
        weight = graph.module.state_dict()[name].numpy()
        top = 2 ** (b - 1) - 1
        scale = np.abs(weight.reshape(len(weight), -1)).max(axis=1) / top
        steps = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
        out[name] = LinearTensor(np.rint(steps).astype(np.int8), scale.astype(np.float32), b)
    return out


def test_the_size_of_a_network_is_known_in_advance(graph: Graph) -> None:
    stored, others = stored_tensors(graph)
    assert stored["twice#2"] is None and {"mask", "embedding", "norm.weight"} <= set(others)
    choices = [2, 5, 32]
    fixed, layers = table_bytes(graph.layers, choices, others=others, stored=stored)
    assert fixed + layers[:, 2].sum() == write_packed(None, network_tensors(graph))
    names = {row: s.weight for row, s in stored.items() if s is not None}
    assert set(names) == {"two", "one", "three", "twice"}
    bits = {names[row]: choices[i % 2] for i, row in enumerate(names)}
    column = {row: i % 2 for i, row in enumerate(names)}
    total = fixed + sum(int(layers[i, column.get(n, 2)]) for i, n in enumerate(graph.layers.names))
    assert total == write_packed(None, network_tensors(graph, _quantized(graph, bits)))


def test_a_loaded_network_computes_what_was_packed(graph: Graph, tmp_path: Path) -> None:
    tensors = network_tensors(graph, _quantized(graph, {"two.weight": 4, "twice.weight": 8}))
    write_packed(tmp_path / "w.nsw", tensors, huffman=True)
    loaded, expected = graph.copy().module, graph.copy().module
    with torch.no_grad():
        for name in ("two.weight", "twice.weight"):
            tensor = tensors[name]
            assert isinstance(tensor, LinearTensor)
            expected.state_dict()[name].copy_(torch.from_numpy(tensor.decode()))
        for parameter in loaded.parameters():
            parameter.zero_()
    load_packed(loaded, tmp_path / "w.nsw")
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(loaded(x), expected(x), rtol=0, atol=0)
    assert not torch.equal(loaded(x), graph.module(x))


def test_weights_of_another_network_are_refused(graph: Graph, tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = network_tensors(graph)
    del tensors["two.weight"]
    write_packed(tmp_path / "w.nsw", tensors)
    with pytest.raises(InputError, match=r"w\.nsw holds the weights of another network.*two\.weight"):
        load_packed(graph.copy().module, tmp_path / "w.nsw")
    wrong = LinearTensor(np.zeros((2, 2), dtype=np.int8), np.ones(2, dtype=np.float32), 4)
    with pytest.raises(InputError, match="the network has no weight nowhere"):
        network_tensors(graph, {"nowhere": wrong})
    with pytest.raises(InputError, match=r"no weight two\.weight of shape \(2, 2\)"):
        network_tensors(graph, {"two.weight": wrong})


def test_a_file_is_held_against_the_network_that_it_was_written_of(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "w.nsw"
    tensors: dict[str, Tensor] = network_tensors(graph, _quantized(graph, {"two.weight": 4}))
    write_packed(path, tensors)
    with pytest.raises(InputError, match=r"w\.nsw does not hold two\.weight as the network has it"):
        check_packed(graph, path)  # the network has not rounded it
    rounded = graph.copy()
    with torch.no_grad():
        rounded.module.state_dict()["two.weight"].copy_(torch.from_numpy(tensors["two.weight"].decode()))  # type: ignore[union-attr]
    check_packed(rounded, path)
    for wrong in ({k: t for k, t in tensors.items() if k != "mask"}, tensors | {"mask": ~np.arange(8).astype(bool)}):
        write_packed(path, wrong)
        with pytest.raises(InputError, match="does not hold mask"):
            check_packed(rounded, path)

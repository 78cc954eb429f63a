"""What networks cost, counted for one sample: against torch's own counter, and against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from counted import CASES, counted_macs, random_network
from torch import nn

from netsmith.data.batch import Batch
from netsmith.errors import InputError
from netsmith.hardware.target import get_target, need_known, price
from netsmith.network import operations as ops
from netsmith.network.graph import count_parameters, trace
from netsmith.network.layers import KIND

IMAGE = (1, 8, 8)


@pytest.mark.parametrize("name", CASES)
def test_multiply_accumulates_and_parameters_are_those_worked_out_by_hand(name: str) -> None:
    build, macs, parameters = CASES[name]
    torch.manual_seed(0)
    network = build().eval()
    table = trace(network, IMAGE).layers
    assert (int(table.macs.sum()), count_parameters(network), table.unknown) == (macs, parameters, ())
    assert int(table.params.sum()) <= parameters  # each row has its own once; norms have no row of theirs


@pytest.mark.parametrize("seed", range(10))
def test_random_networks_count_as_torch_counts_them_at_two_batch_sizes(seed: int) -> None:
    network, shape = random_network(seed)
    table = trace(network, shape).layers
    for batch in (1, 3):
        assert int(table.macs.sum()) * batch == counted_macs(network, shape, batch)
    assert not table.unknown


@pytest.mark.parametrize(
    "layer",
    [nn.LSTM(5, 6, 2, bidirectional=True), nn.LSTM(5, 6, proj_size=3, bias=False), nn.GRU(5, 6), nn.RNN(5, 6, 2)],
)
def test_formulas_of_recurrent_layers_are_what_their_steps_add_up_to(
    layer: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.permute(1, 0, 2))[0][-1]

    graph = trace(Reader(), (7, 5))
    by_formula = ops.operations(graph.module, Batch.of(torch.zeros(1, 7, 5)))
    monkeypatch.setattr(ops, "SEQUENCES", ())
    with torch.backends.mkldnn.flags(enabled=False):  # its fused kernels would hide the steps
        step_by_step = ops.operations(graph.module, Batch.of(torch.zeros(1, 7, 5)))
    node = next(n for n in by_formula if by_formula[n].work)
    assert by_formula[node].work == step_by_step[node].work
    shapes = [[tuple(t.shape) for t in found[node].value] for found in (by_formula, step_by_step)]
    assert shapes[0] == shapes[1]
    assert (graph.layers.calls == 7).any()


def test_what_nobody_knows_the_cost_of_is_named_and_a_budget_on_it_refused() -> None:
    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(torch.fft.fft2(x).real.flatten(1))

    table = trace(Spectrum(), IMAGE).layers
    assert table.unknown == ("fft_fft2",)
    edge = get_target("roofline-edge")
    for costs in (["macs"], ["latency"], ["size", "energy"]):
        with pytest.raises(InputError, match="fft_fft2"):
            need_known(costs, edge, table)
    need_known(["size"], edge, table)


def test_both_ways_of_a_branch_are_unknown_and_what_vmap_hides_is_counted() -> None:
    class Either(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c, self.fc = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(8, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.cond(x.sum() > 0, lambda a: self.c(a), lambda a: self.c(-a), (x,))
            return self.fc(y.mean((1, 2)))

    class Mapped(Either):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.vmap(lambda a: F.conv2d(a[None], self.c.weight, padding=1)[0])(x)
            return self.fc(y.mean((1, 2)))

    assert trace(Either(), IMAGE).layers.unknown == ("cond",)
    table = trace(Mapped(), IMAGE).layers
    assert int(table.macs.sum()) == 64 * 36 + 80 and not table.unknown


def test_a_network_with_its_batch_written_into_it_is_counted_a_sample() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(144, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.c(x).reshape(2, 144))

    assert int(trace(Fixed(), IMAGE).layers.macs.sum()) == 36 * 4 * 9 + 1440


def test_costs_of_a_row_are_those_of_all_its_runs() -> None:
    table = trace(nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)), IMAGE).layers
    table = table.replace(w_bits=8, a_bits=8)
    for name in ("roofline-edge", "bismo-edge", "bitfusion", "systolic-eyeriss"):
        once, often = (price(get_target(name), t) for t in (table, table.replace(calls=table.calls * 3)))
        assert once.energy_j is not None and often.energy_j is not None
        np.testing.assert_allclose(often.latency_s, 3 * once.latency_s)
        np.testing.assert_allclose(often.energy_j, 3 * once.energy_j)
        assert not price(get_target(name), table.replace(calls=0)).latency_s.any()


@pytest.mark.parametrize("kernel, stride", [(4, 2), (3, 2), (2, 2), (3, 1), (5, 3)])
def test_a_transposed_convolution_is_priced_as_the_convolution_that_it_is(kernel: int, stride: int) -> None:
    from netsmith.hardware.simulated.workload import as_convolutions, workload

    layer = nn.ConvTranspose2d(8, 12, kernel, stride)
    table = trace(nn.Sequential(layer), (8, 6, 6)).layers
    assert table.kind[0] == KIND["conv_transpose"]
    lowered, work = as_convolutions(table), workload(table, 1)
    assert lowered.macs.tolist() == table.macs.tolist() == work.macs.tolist() and int(table.macs[0]) > 0
    assert int(work.weights[0]) == layer.weight.numel()
    assert int((work.m * work.k * work.n * work.count)[0]) == int(table.macs[0])


def test_functional_use_of_a_weight_and_a_constant_operand_are_told_apart() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            fixed = torch.eye(64) @ self.fc.weight.t()  # known when the network is loaded
            return x.flatten(1) @ fixed + F.linear(x.flatten(1), self.fc.weight)

    table = trace(Both(), IMAGE).layers
    assert int(table.macs.sum()) == 2 * 640


def test_operators_that_work_in_place_inside_others_are_known() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.pool(x.permute(0, 3, 1, 2)).flatten(1))  # channels last: restrided in place

    assert trace(Last(), IMAGE).layers.unknown == ()

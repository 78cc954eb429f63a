"""Cost tables say what predicting each design says; prediction says what the surgery does."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from given import branches_in, groups_in, space_of
from netsmith.compression.branches import find_branches
from netsmith.compression.groups import find_groups
from netsmith.compression.importance import channel_importance
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.pricing import Pricing
from netsmith.decisions.slim import slim
from netsmith.decisions.tools import AtHand
from netsmith.hardware.target import Capabilities, Cost
from netsmith.network.graph import trace
from netsmith.network.layers import LayerTable
from netsmith.network.load import load_model
from netsmith.testing import check_space


class Toy:
    """Priced by arithmetic: integers are 3x faster a multiply, every operator has an overhead, conversions cost."""

    name = "toy"
    capabilities = Capabilities()

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        moved = table.c_out * table.h_out * table.w_out
        work = table.macs * np.where(table.a_bits < 32, 1e-11, 3e-11)
        return Cost(work + moved * 1e-10 + np.where(table.is_compute, 3e-6, 1e-6))


def case(spec: str, shape: tuple[int, ...]):  # type: ignore[no-untyped-def]
    model = load_model(spec).model
    x = torch.randn(2, *shape)
    report = find_groups(model, x)
    space = space_of(trace(model, shape), report, find_branches(model, x), multiple=8)
    return model, report, space, Pricing(space, Toy())


@pytest.fixture(scope="module", params=["zoo:digits", "zoo:cifar_resnet20", "zoo:mobilenet_v2?width=0.5"])
def subject(request):  # type: ignore[no-untyped-def]
    return case(request.param, (1, 8, 8) if request.param == "zoo:digits" else (3, 32, 32))


def random_designs(space: GivenSpace, n: int, rate: float, around: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = space.decisions.sample(rng, n)
    return np.array([space.canonical(d) for d in np.where(rng.random(x.shape) < rate, x, around)])


def test_of_no_designs_there_are_no_costs(subject) -> None:  # type: ignore[no-untyped-def]
    _, _, space, pricing = subject  # where a target has one width there is nothing to price but the one network
    assert pricing.predict(space.reference[None][1:]).shape == (0,)


@pytest.mark.parametrize("name", ["macs", "size"])
def test_additive_costs_are_exact_everywhere(subject, name: str) -> None:  # type: ignore[no-untyped-def]
    _, _, space, pricing = subject
    designs = random_designs(space, 50, 0.5, space.reference)
    table = pricing.table(name, space.reference)
    np.testing.assert_allclose(table.price(designs), pricing.predict(designs, name), rtol=1e-9)


def test_latency_is_exact_at_the_expansion_point_and_near_it(subject) -> None:  # type: ignore[no-untyped-def]
    _, _, space, pricing = subject
    start = space.reference.copy()
    start[len(groups_in(space)) + len(branches_in(space)) :] = 0
    table = pricing.table("latency", start)
    np.testing.assert_allclose(table.price(start), pricing.predict(start), rtol=1e-9)
    near = random_designs(space, 50, 0.05, start)
    np.testing.assert_allclose(table.price(near), pricing.predict(near), rtol=0.05)


def test_prediction_describes_the_network_that_surgery_makes(subject) -> None:  # type: ignore[no-untyped-def]
    model, report, space, pricing = subject
    scores = channel_importance(model, report)
    shape = space.graph.input_shape
    for design in random_designs(space, 3, 0.3, space.reference):
        slimmed = slim(copy.deepcopy(model), space, design, AtHand(scores))
        table = trace(slimmed.model, shape).layers
        assert int(table.macs.sum()) == int(pricing.predict(design, "macs")[0])
        assert int(table.params.sum()) == int(space.rows(design).params.sum())


class Grouped(torch.nn.Module):
    """Grouped convolutions between plain ones."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = torch.nn.Conv2d(3, 32, 1), torch.nn.Conv2d(32, 32, 3, padding=1, groups=4)
        self.c, self.d = torch.nn.Conv2d(32, 16, 1), torch.nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.d(self.c(self.b(self.a(x).relu()).relu()).relu().mean((2, 3)))


def test_grouped_convolutions_lose_whole_groups() -> None:
    torch.manual_seed(0)
    model = Grouped().eval()
    x = torch.randn(2, 3, 8, 8)
    report = find_groups(model, x)
    space = space_of(trace(model, (3, 8, 8)), report, [], multiple=8)
    pricing, scores = Pricing(space, Toy()), channel_importance(model, report)
    for design in random_designs(space, 4, 0.7, space.reference):
        table = trace(slim(model, space, design, AtHand(scores)).model, (3, 8, 8)).layers
        assert int(table.macs.sum()) == int(pricing.predict(design, "macs")[0])


class Attending(torch.nn.Module):
    """Branches of attention, of tokens to each other and to an image, each of which is many rows."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.fc = torch.nn.Linear(8, 16), torch.nn.Linear(16, 5)
        self.tokens = torch.nn.Parameter(torch.randn(1, 3, 16))
        self.layer = torch.nn.TransformerDecoderLayer(16, 4, 24, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer(self.tokens.expand(x.shape[0], -1, -1), self.image(x.squeeze(1))).mean(1))


def test_all_rows_of_an_attention_go_with_it() -> None:
    model, x = Attending().eval(), torch.randn(2, 1, 8, 8)
    report, branches = find_groups(model, x), find_branches(model, x)
    space = space_of(trace(model, (1, 8, 8)), report, branches)
    pricing, scores = Pricing(space, Toy()), channel_importance(model, report)
    assert "layer.multihead_attn" in {layer for b in branches for layer in b.layers}
    for i in range(len(branches)):
        design = space.reference.copy()
        design[len(groups_in(space)) + i] = 0
        slimmed = slim(model, space, space.canonical(design), AtHand(scores))
        graph = trace(slimmed.model, (1, 8, 8))
        assert int(pricing.predict(design, "macs")[0]) == int(graph.layers.macs.sum())
        assert set(slimmed.bits) <= set(graph.node_of)


def test_equal_networks_are_equal_designs(subject) -> None:  # type: ignore[no-untyped-def]
    _, _, space, _ = subject
    if not branches_in(space):
        pytest.skip("no branches")
    a = space.reference.copy()
    a[len(groups_in(space))] = 0
    b = a.copy()
    inner = [
        i for i, g in enumerate(groups_in(space)) if all(m.layer in branches_in(space)[0].layers for m in g.outputs[:1])
    ]
    b[inner] = 0
    np.testing.assert_array_equal(space.canonical(a), space.canonical(b))


def test_integers_are_cheaper_and_conversions_are_counted() -> None:
    _, _, space, pricing = case("zoo:digits", (1, 8, 8))
    all_int8 = space.reference.copy()
    all_int8[len(groups_in(space)) + len(branches_in(space)) :] = 0
    one = space.reference.copy()
    one[-2] = 0
    costs = pricing.predict(np.array([space.reference, all_int8, one]))
    assert costs[1] < costs[0]
    alone = pricing.per_row(one).sum() - pricing.per_row(space.reference).sum()
    assert costs[2] - costs[0] > alone  # the lone integer layer pays for its conversions


def test_a_given_network_keeps_the_contract_of_row_spaces(subject) -> None:  # type: ignore[no-untyped-def]
    _, _, space, _ = subject
    check_space(space, n=4)

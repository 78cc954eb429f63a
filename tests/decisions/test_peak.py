"""Peak memory of designs is that of the networks that they make; tables say the same, and limits on them are kept."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from given import space_of
from netsmith.compression.branches import find_branches
from netsmith.compression.groups import find_groups
from netsmith.compression.heads import find_heads
from netsmith.decisions.channels import Channels
from netsmith.decisions.given import GivenSpace
from netsmith.decisions.heads import Heads
from netsmith.decisions.peak import Peak
from netsmith.decisions.pricing import Pricing
from netsmith.decisions.slim import slim
from netsmith.decisions.tools import AtHand
from netsmith.errors import InfeasibleError, InputError
from netsmith.hardware.target import get_target
from netsmith.network.graph import trace
from netsmith.network.load import load_model
from netsmith.search.solver.exact import solve
from netsmith.search.strategy import Problem
from netsmith.space import MaxTable
from netsmith.study.approximation import SequentialApproximation
from netsmith.study.study import Found
from token_networks import IMAGES, Decoded

TARGET = get_target("roofline-edge")


class Skips(nn.Module):
    """A skip over everything below, a dense block whose layers read all before them, and two ways side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.dense = nn.ModuleList(nn.Conv2d(8 + 4 * i, 4, 3, padding=1) for i in range(3))
        self.left, self.right = nn.Conv2d(20, 12, 3, padding=1), nn.Conv2d(20, 8, 1)
        self.join = nn.Conv2d(20, 8, 1)
        self.head = nn.Conv2d(16, 4, 3, padding=1)
        self.last = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = F.relu(self.stem(x))
        maps = [F.max_pool2d(skip, 2)]
        for layer in self.dense:
            maps.append(F.relu(layer(torch.cat(maps, 1))))
        both = torch.cat(maps, 1)
        y = self.join(torch.cat([F.relu(self.left(both)), F.relu(self.right(both))], 1))
        up = F.interpolate(F.relu(y), scale_factor=2.0)
        return self.last(F.relu(self.head(torch.cat([skip, up], 1))).mean((2, 3)))


@cache
def subject(name: str, quantize: bool) -> tuple[nn.Module, GivenSpace, Pricing]:
    torch.manual_seed(0)
    model = Skips().eval() if name == "skips" else load_model(name).model
    x = torch.randn(2, *((3, 8, 8) if name == "skips" else (1, 8, 8)))
    space = space_of(
        trace(model, tuple(x.shape[1:])), find_groups(model, x), find_branches(model, x), multiple=2, widths=4,
        quantize=quantize,
    )  # fmt: skip
    return model, space, Pricing(space, TARGET)


SUBJECTS = ["skips", "zoo:digits?channels=8&blocks=1"]


def drawn(space: GivenSpace, n: int) -> np.ndarray:
    return space.canonical(space.decisions.sample(np.random.default_rng(1), n))


@pytest.mark.parametrize("quantize", [False, True])
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_design_has_the_peak_of_the_network_that_it_makes(name: str, quantize: bool):
    model, space, pricing = subject(name, quantize)
    channels = space.kind(Channels)
    tools = AtHand({g.name: np.arange(g.channels, dtype=float) for g in channels.scored}, calibration=None)
    for design in drawn(space, 3):
        made = slim(model, space, design, tools)
        graph = trace(made.model, space.graph.input_shape)
        w, a = (np.array([made.bits.get(n, (32, 32))[i] for n in graph.layers.names]) for i in (0, 1))
        built = Peak(graph, TARGET).record(graph.layers.replace(w_bits=w, a_bits=a))
        assert built["peak_bytes"] == pytest.approx(pricing.predict(design, "memory")[0])


def test_heads_that_go_take_what_their_tokens_take():
    model = Decoded().eval()
    graph, rng = trace(model, (3, 8, 8)), np.random.default_rng(0)
    space = GivenSpace(graph, (Heads(graph, find_heads(model, IMAGES)),))
    tools = AtHand({g.name: rng.random(g.channels) for kind in space.kinds for g in kind.scored})
    least = np.zeros_like(space.reference)
    said = Pricing(space, TARGET).predict(np.stack([least, space.reference]), "memory")
    built = trace(slim(model, space, least, tools).model, (3, 8, 8))
    assert Peak(built, TARGET).record(built.layers)["peak_bytes"] == pytest.approx(said[0])
    assert said[0] < said[1]


@pytest.mark.parametrize("name", SUBJECTS)
def test_without_bits_a_table_is_exact_at_every_design(name: str):
    _, space, pricing = subject(name, False)
    table, designs = pricing.table("memory"), drawn(space, 200)
    assert isinstance(table, MaxTable) and pricing.is_exact("memory")
    assert table.price(designs) == pytest.approx(pricing.predict(designs, "memory"))
    assert table.without_dominated().steps == table.steps
    one_by_one = [pricing.predict(design, "memory")[0] for design in designs[:20]]
    assert pricing.predict(designs[:20], "memory").tolist() == one_by_one


@pytest.mark.parametrize("name", SUBJECTS)
def test_with_bits_a_table_is_exact_around_its_design(name: str):
    _, space, pricing = subject(name, True)
    assert not pricing.is_exact("memory")
    for around in (space.reference, drawn(space, 3)[0]):
        table = pricing.table("memory", around)
        moves = np.array([around, *(np.where(np.arange(len(around)) == d, 0, around) for d in range(len(around)))])
        moves = moves[[m for m, x in enumerate(moves) if (space.canonical(x) == x).all()]]
        assert table.price(moves) == pytest.approx(pricing.predict(moves, "memory"))


@pytest.mark.parametrize("share", [0.2, 0.6])
@pytest.mark.parametrize("name", SUBJECTS)
def test_the_exact_search_finds_what_trying_everything_finds(name: str, share: float):
    _, space, pricing = subject(name, False)
    rng, sizes = np.random.default_rng(5), space.decisions.sizes
    loss = np.full((len(sizes), int(sizes.max())), np.inf)
    for d, n in enumerate(sizes):
        loss[d, :n] = np.sort(rng.random(n))[::-1] * (np.arange(n) < n - 1)
    every = np.stack(np.meshgrid(*(np.arange(n) for n in sizes), indexing="ij"), -1).reshape(-1, len(sizes))
    every = every[rng.permutation(len(every))[:20000]] if len(every) > 20000 else every
    peaks = pricing.predict(every, "memory")
    limit = peaks.min() + share * float(pricing.predict(space.reference, "memory")[0] - peaks.min())
    problem = Problem.over({"memory": pricing.table("memory")}, {"memory": limit}, loss)
    found = solve(problem)
    assert found.bound == pytest.approx(found.loss)
    assert pricing.predict(found.choice, "memory")[0] <= limit
    fits = peaks <= limit
    assert fits.any() and found.loss <= problem.estimate(every[fits]).min() + 1e-9


def test_a_search_with_bits_keeps_its_limit():
    _, space, pricing = subject("zoo:digits?channels=8&blocks=1", True)
    sizes = space.decisions.sizes
    loss = np.full((len(sizes), int(sizes.max())), np.inf)
    for d, n in enumerate(sizes):
        loss[d, :n] = (n - 1 - np.arange(n)) * (0.01 if n == 2 else 0.1 + 0.01 * d)
    limit = 0.2 * pricing.given("memory", space.graph.layers)

    def find(problem: Problem) -> Found:
        solution = solve(problem)
        return Found(solution.choice, solution.loss, solution.bound)

    found = SequentialApproximation(pricing, loss, {"memory": limit}, find).solve(1.0, pricing.start)
    assert pricing.predict(found.design, "memory")[0] <= limit
    with pytest.raises(InfeasibleError) as caught:
        SequentialApproximation(pricing, loss, {"memory": 100.0}, find).solve(1.0, pricing.start)
    assert "no design keeps peak memory within 100 B (the smallest reachable is" in str(caught.value)
    least = caught.value.reachable["memory"]
    found = SequentialApproximation(pricing, loss, {"memory": least}, find).solve(1.0, pricing.start)
    assert pricing.predict(found.design, "memory")[0] <= least * (1 + 1e-9)


def test_without_floating_point_everything_lies_in_the_widths_that_there_are():
    _, space, _ = subject("zoo:digits?channels=8&blocks=1", False)
    floats = Pricing(space, TARGET).predict(space.reference, "memory")
    integers = Pricing(space, get_target("systolic-eyeriss")).predict(space.reference, "memory")
    bits = get_target("systolic-eyeriss").capabilities.bits[0][1]
    assert integers == pytest.approx(floats * bits / 32)


def test_a_space_without_a_graph_has_no_peak():
    class Rows:
        between = None

    with pytest.raises(InputError, match="--memory is counted on the traced graph"):
        Pricing(Rows(), TARGET).predict(np.zeros((1, 1), dtype=int), "memory")  # type: ignore[arg-type]


def record(name: str) -> dict[str, Any]:
    _, space, _ = subject(name, False)
    return dict(Peak(space.graph, TARGET).record(space.graph.layers))


def test_a_record_names_the_step_and_what_lives_there():
    found = record("skips")
    assert found["peak_bytes"] == max(found["bytes"]) == found["bytes"][found["at"]]
    assert found["step"] == found["steps"][found["at"]]
    assert sum(found["held"].values()) == pytest.approx(found["peak_bytes"])
    assert "stem" in found["held"]

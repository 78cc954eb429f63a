"""Prices of a space's choices against the target's own cost of the traced network, on several targets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from block_paths import steep, tiny_space
from netsmith.decisions.demand import rows_asked
from netsmith.decisions.pricing import COSTS, Pricing
from netsmith.errors import InputError
from netsmith.export.packed import write_packed
from netsmith.export.packed.model import network_tensors
from netsmith.hardware import get_target
from netsmith.hardware.target import Cost, as_run
from netsmith.network.graph import Graph, trace
from netsmith.network.layers import LayerTable
from netsmith.network.zoo.blocks import block_network
from netsmith.supernets import load_space
from netsmith.supernets.family import BlockFamily
from netsmith.supernets.widths import WidthFamily
from netsmith.testing import check_space

SMALL = load_space("mobile-small")
SPACE = replace(SMALL, name="short", stages=(
    SMALL.stages[0], replace(SMALL.stages[1], blocks=2, kernels=(3, 7), expansions=(6,)),
    replace(SMALL.stages[2], blocks=2, kernels=(5,)),
))  # fmt: skip
DESIGNS = np.random.default_rng(0).permutation(np.unique(SPACE.decisions.sample(np.random.default_rng(0), 30), axis=0))
RANDOM = [np.zeros(len(SPACE.searched), dtype=int), SPACE.decisions.sizes - 1, *DESIGNS[:8]]


def traced(design) -> Graph:
    return trace(FAMILY.build(design), FAMILY.input_shape)


FAMILY = BlockFamily(SPACE, 100)


def prices(target, batch: int = 1) -> Pricing:
    return Pricing(FAMILY, target, batch)


def layers(number: int) -> LayerTable:
    return FAMILY.layers(RANDOM[number])


def true_cost(number: int, target, batch: int) -> Cost:
    return target.cost(as_run(layers(number), target.capabilities), batch)


def test_rows_are_those_of_the_traced_network_and_their_size_that_of_its_file():
    tables = prices(get_target("roofline-gpu")).tables(["size"])
    for number in range(3):
        rows, graph = layers(number), traced(RANDOM[number])
        assert rows.names == graph.layers.names
        assert all(np.array_equal(rows.columns[c], graph.layers.columns[c]) for c in rows.columns)
        size = write_packed(None, network_tensors(graph))
        assert size <= tables["size"].price(RANDOM[number])[0] <= 1.001 * size
        assert prices(get_target("roofline-gpu")).total(rows, "size") == size


@pytest.mark.parametrize(
    ("name", "batch"),
    [("roofline-gpu", 1), ("roofline-gpu", 8), ("bitfusion", 1), ("bitfusion", 8), ("systolic-eyeriss", 1)],
)
def test_tables_price_any_network_as_the_target_does(name, batch):
    target = get_target(name)
    cost = true_cost(0, target, batch)
    costs = ("latency", "energy") if cost.energy_j is not None else ("latency",)
    tables = prices(target, batch).tables(costs)
    assert set(tables) == set(costs)
    for number, design in enumerate(RANDOM):
        cost = true_cost(number, target, batch)
        assert tables["latency"].price(design)[0] == pytest.approx(cost.latency_s.sum() + cost.fixed_s, rel=1e-9)
        if cost.energy_j is not None:
            assert tables["energy"].price(design)[0] == pytest.approx(cost.energy_j.sum(), rel=1e-9)
    assert len({float(tables["latency"].price(d)[0]) for d in RANDOM}) == len(RANDOM)


class Late:
    """A target that takes a second before a run, and knows nothing of energy."""

    def __init__(self, target):
        self.name, self.capabilities, self.target = target.name, target.capabilities, target

    def cost(self, table, batch=1):
        return Cost(self.target.cost(table, batch).latency_s, fixed_s=1.0)


def test_a_cost_of_every_run_counts_once():
    target = get_target("roofline-gpu")
    plain, late = (prices(t).tables(["latency"])["latency"] for t in (target, Late(target)))
    assert late.price(RANDOM[2])[0] - plain.price(RANDOM[2])[0] == pytest.approx(1.0)
    assert np.array_equal(plain.unary, late.unary)


def test_macs_are_exact():
    tables = prices(get_target("roofline-gpu")).tables(["macs", "size"])
    for number, design in enumerate(RANDOM):
        assert tables["macs"].price(design)[0] == layers(number).macs.sum()
    # by hand: a block k3e6 of 24 channels at 16x16, its shortcut free of arithmetic
    d = [SPACE.slots[i].name for i in SPACE.searched].index("stage2.block2")
    k = SPACE.decisions.decisions[d].choices.index("k3e6")
    assert tables["macs"].unary[d, k] == 256 * (24 * 144 + 144 * 9 + 144 * 24) and tables["macs"].unary[d, 0] == 0
    assert tables["size"].unary[d, 0] == 0


def test_the_published_space_can_be_mobilenetv2s_size():
    """The reference of the published space is a deep MobileNetV2: its MACs and weights, by the table and by hand."""
    space = load_space("mobile")
    description = space.describe(space.reference, 1000)
    with torch.device("meta"):
        network = block_network(description)
    side, c_in, macs = 112, description.stem, 112 * 112 * 27 * 32
    weights = 27 * 32
    for b in description.blocks:
        hidden = c_in * b.expansion
        wide = side * side * c_in * hidden if b.expansion > 1 else 0
        side //= b.stride
        macs += wide + side * side * hidden * (b.kernel**2 + b.channels)
        weights += (c_in * hidden if b.expansion > 1 else 0) + hidden * (b.kernel**2 + b.channels)
        c_in = b.channels
    macs, weights = macs + 49 * 320 * 1280 + 1280 * 1000, weights + 320 * 1280 + 1280 * 1000
    assert sum(p.numel() for p in network.parameters() if p.ndim > 1) == weights
    assert 0.4e9 < macs < 0.6e9
    assert BlockFamily(space, 1000).layers(space.reference).macs.sum() == macs


def test_rows_that_a_target_has_to_know_are_all_there():
    known = rows_asked(prices(get_target("roofline-gpu")))
    columns = [c for c in known.columns if c != "name"]
    have = {tuple(int(known.columns[c][i]) for c in columns) for i in range(len(known))}
    assert len(have) == len(known)
    for number in range(len(RANDOM)):
        rows = as_run(layers(number), get_target("roofline-gpu").capabilities)
        assert {tuple(int(rows.columns[c][i]) for c in columns) for i in range(len(rows))} <= have


def test_a_target_without_a_model_of_energy_says_so():
    target = Late(get_target("roofline-gpu"))
    with pytest.raises(InputError, match="target 'roofline-gpu' has no energy model; drop --energy or choose"):
        prices(target).tables(["latency", "energy"])
    assert set(Pricing(BlockFamily(tiny_space(), 10, 1), target).tables(["latency", "size"])) == {"latency", "size"}
    assert set(COSTS) == {"latency", "energy", "size", "macs", "memory"}


def test_families_keep_the_contract_of_search_spaces():
    tiny = BlockFamily(tiny_space(), 10, 1)
    check_space(tiny, tiny.input_shape, steep(tiny.network()))
    check_space(FAMILY, n=6)
    check_space(WidthFamily(tiny_space(), 10, 1), (1, 8, 8))


def test_rows_of_all_networks_hold_those_of_each():
    """Blocks that are left out, and parts of blocks that others have, have no calls; what is left is the network."""
    for number, design in enumerate(RANDOM):
        union, own = FAMILY.rows(design[None]), layers(number)
        there = union.take(union.calls[0] > 0)
        for name, column in there.columns.items():
            assert sorted(column[0].tolist()) == sorted(own.columns[name].tolist()), name
    assert (FAMILY.rows(np.zeros_like(RANDOM[:1])).calls == 0).any()


def test_a_population_costs_what_its_designs_do():
    pricing, population = prices(get_target("roofline-gpu")), FAMILY.decisions.sample(np.random.default_rng(1), 200)
    for cost in ("latency", "macs", "size"):
        assert pricing.is_exact(cost)
        np.testing.assert_allclose(pricing.predict(population, cost), pricing.table(cost).price(population), rtol=1e-9)


def test_a_width_multiplier_is_a_family_with_one_decision():
    """Its table says what each network costs on its own, and more width is never fewer multiply-accumulates."""
    family, target = WidthFamily(tiny_space(), 10, 1), get_target("roofline-gpu")
    pricing, widths = Pricing(family, target), family.widths
    assert len(widths) == 513 and (np.diff(widths) > 0).all() and widths[0] == 0.1 and widths[-1] == 3.0
    table = pricing.table("macs")
    every = table.price(np.arange(len(widths))[:, None])
    assert (np.diff(every) >= 0).all() and every[0] < every[-1]
    for k in (0, 100, 512):
        for cost in ("macs", "latency", "size"):
            alone = pricing.total(family.layers(np.array([k])), cost)
            assert pricing.table(cost).price(np.array([k]))[0] == pytest.approx(alone, rel=1e-9)
    assert family.canonical(np.array([[0], [1]])).tolist() == [[0], [0]]
    with pytest.raises(ValueError, match="share no weights"):
        family.build(family.reference, family.build(family.reference))

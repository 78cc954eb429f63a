"""Bit Fusion against 120 rows of the authors' simulator (configuration bf_e), and against an exhaustive transcription.

The rows are per-layer results of the public simulator (hsharma35/bitfusion) for AlexNet and ResNet-18, the totals are
those of the whole networks, and the rows of the simulator's own sweep are published with it.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfusion_exhaustive import Layer, options
from netsmith.hardware.simulated.bitfusion import BitFusion, BitFusionConfig, published
from netsmith.hardware.simulated.bitfusion.orders import ORDER_NAMES
from netsmith.hardware.simulated.bitfusion.search import COUNTS, search
from netsmith.hardware.simulated.bitfusion.workload import Dense
from netsmith.network.layers import KIND, LayerTable
from work import calls

ROWS = list(csv.DictReader((Path(__file__).parent / "data/bitfusion_reference.csv").read_text().splitlines()))
#: Column of the file -> field of a mapping.
EXACT = {
    "cycles": "cycles", "mem_stall_cycles": "stall_cycles", "compute_cycles": "compute_cycles",
    "dram_rd_bits": "dram_read_bits", "dram_wr_bits": "dram_write_bits",
    "wbuf_rd_bits": "wbuf_read_bits", "wbuf_wr_bits": "wbuf_write_bits", "ibuf_rd_bits": "ibuf_read_bits",
    "ibuf_wr_bits": "ibuf_write_bits", "obuf_rd_bits": "obuf_read_bits", "obuf_wr_bits": "obuf_write_bits",
}  # fmt: skip
#: (network, activation bits, weight bits, batch) -> cycles, ms, mJ, stall share in percent; whole networks.
TOTALS = {
    ("alexnet", 2, 2, 1): (923_879, 1.848, 2.786, 77.8), ("alexnet", 4, 4, 1): (1_696_539, 3.393, 5.151, 74.6),
    ("alexnet", 4, 8, 1): (3_224_058, 6.448, 9.533, 76.0), ("alexnet", 8, 4, 1): (1_986_549, 3.973, 6.074, 61.0),
    ("alexnet", 8, 8, 1): (3_767_895, 7.536, 11.480, 62.9), ("alexnet", 8, 8, 16): (23_286_097, 46.572, 71.803, 4.0),
    ("resnet18", 2, 2, 1): (1_047_716, 2.095, 3.462, 53.4), ("resnet18", 4, 4, 1): (1_429_335, 2.859, 4.946, 33.2),
    ("resnet18", 4, 8, 1): (2_137_953, 4.276, 7.019, 16.7), ("resnet18", 8, 4, 1): (2_087_495, 4.175, 6.729, 14.6),
    ("resnet18", 8, 8, 1): (3_723_879, 7.448, 10.411, 4.3), ("resnet18", 8, 8, 16): (58_992_481, 117.985, 175.643, 3.3),
}  # fmt: skip


def table_of(rows):
    """Rows of the file as a layer table."""
    found = []
    for r in rows:
        k, o, s, ic, oc, a, w = (int(r[c]) for c in ("K", "O", "S", "IC", "OC", "a_bits", "w_bits"))
        side = k + (o - 1) * s
        row = {"name": f"{r['network']}.{r['layer']}", "c_in": ic, "c_out": oc, "a_bits": a, "w_bits": w}
        if r["layer"].startswith("fc"):
            row |= {"kind": KIND["linear"]}
        else:
            row |= {
                "kind": KIND["conv"], "kernel_h": k, "kernel_w": k, "stride": s,
                "h_in": side, "w_in": side, "h_out": o, "w_out": o,
            }  # fmt: skip
        found.append(row)
    return LayerTable.from_rows(found)


def column(name, rows, kind=int):
    return np.array([kind(r[name]) for r in rows])


@pytest.fixture(scope="module")
def bf_e():
    return BitFusion(published("bf_e"))


@pytest.mark.parametrize("batch", [1, 16])
def test_every_row_of_the_simulator_is_reproduced(bf_e, batch):
    rows = [r for r in ROWS if int(r["batch"]) == batch]
    assert len(rows) == {1: 100, 16: 20}[batch]
    table = table_of(rows)
    found, cost = bf_e.mapping(table, batch), bf_e.cost(table, batch)
    for name, ours in EXACT.items():
        np.testing.assert_array_equal(getattr(found, ours), column(name, rows), err_msg=name)
    np.testing.assert_array_equal(cost.cycles, column("cycles", rows))
    np.testing.assert_array_equal(cost.traffic_bytes * 8, column("dram_rd_bits", rows) + column("dram_wr_bits", rows))
    np.testing.assert_array_equal(table.macs * batch, column("macs", rows))
    np.testing.assert_array_equal(found.rule_name == "im2col", column("im2col", rows) == 1)
    assert not found.extension.any()
    parts = {"compute": "energy_core_nJ", "buffers": "energy_sram_nJ", "dram": "energy_dram_nJ"}
    for part, name in parts.items():
        np.testing.assert_allclose(cost.energy_parts[part] * 1e9, column(name, rows, float), rtol=2e-4)
    np.testing.assert_allclose(cost.energy_j * 1e9, column("energy_total_nJ", rows, float), rtol=2e-4)
    np.testing.assert_allclose(cost.latency_s, column("cycles", rows) / 500e6, rtol=1e-12)


@pytest.mark.parametrize("case", TOTALS, ids=lambda c: f"{c[0]}-a{c[1]}-w{c[2]}-batch{c[3]}")
def test_whole_networks_cost_what_the_simulator_says(bf_e, case):
    network, a, w, batch = case
    keys = ("network", "a_bits", "w_bits", "batch")
    rows = [r for r in ROWS if tuple(r[k] for k in keys) == tuple(map(str, (network, a, w, batch)))]
    repeat = column("repeat", rows)
    table = table_of(rows)
    cost, found = bf_e.cost(table, batch), bf_e.mapping(table, batch)
    cycles, milliseconds, millijoules, stalled = TOTALS[case]
    assert (cost.cycles * repeat).sum() == cycles
    assert (cost.latency_s * repeat).sum() * 1e3 == pytest.approx(milliseconds, abs=6e-4)
    assert (cost.energy_j * repeat).sum() * 1e3 == pytest.approx(millijoules, abs=6e-4)
    assert 100 * (found.stall_cycles * repeat).sum() / cycles == pytest.approx(stalled, abs=0.06)
    share = (cost.energy_parts["dram"] * repeat).sum() / (cost.energy_j * repeat).sum()
    assert 78 <= round(100 * share) <= 94


def test_the_worked_row(bf_e):
    """ResNet-18 layer1, 3 x 3, 8 bits: every intermediate that was written down for it."""
    rows = [r for r in ROWS if r["layer"] == "layer1.conv3x3" and r["a_bits"] == r["w_bits"] == "8"][:1]
    found, cost = bf_e.mapping(table_of(rows)), bf_e.cost(table_of(rows))
    tile = [int(getattr(found, f"tile_{n}")[0]) for n in ("b", "ow", "oh", "ic", "oc")]
    assert tile == [1, 2, 2, 64, 32]
    assert (int(found.compute_cycles[0]), int(found.stall_cycles[0]), int(cost.cycles[0])) == (225_792, 854, 226_646)
    assert int(found.ibuf_write_bits[0]) == 12_845_056
    assert int(found.wbuf_write_bits[0]) == 294_912
    assert int(found.dram_write_bits[0]) == 6_422_528
    assert cost.bound[0] == "compute"
    energy = {part: joules[0] * 1e9 for part, joules in cost.energy_parts.items()}
    assert energy["compute"] == pytest.approx(53_084.602, abs=1e-3)
    assert energy["dram"] == pytest.approx(389_775.36, abs=1e-6)
    assert energy["buffers"] == pytest.approx(77_598.134, rel=2e-4)


def test_rows_of_the_simulators_own_sweep(bf_e):
    """Three layers of the published sweep, 4 bits, batch 16: (cycles, stalls, DRAM read, DRAM write)."""
    conv = {"kernel_h": 3, "kernel_w": 3, "h_in": 15, "w_in": 15, "h_out": 13, "w_out": 13}
    table = LayerTable.from_rows([
        {"name": "conv", "kind": KIND["conv"], "c_in": 384, "c_out": 384, "w_bits": 4, "a_bits": 4} | conv,
        {"name": "fc", "kind": KIND["linear"], "c_in": 18432, "c_out": 8192, "w_bits": 4, "a_bits": 4},
        {"name": "rnn", "kind": KIND["linear"], "c_in": 4096, "c_out": 4096, "w_bits": 4, "a_bits": 4},
    ])  # fmt: skip
    found = bf_e.mapping(table, batch=16)
    assert found.cycles.tolist() == [2_436_097, 3_545_090, 394_583]
    assert found.stall_cycles.tolist() == [403_969, 2_365_442, 263_511]
    assert (found.dram_read_bits[0], found.dram_write_bits[0]) == (352_124_928, 115_605_504)


# ---- the exhaustive transcription -----------------------------------------------------------------------------------


def fast(layer: Layer, config: BitFusionConfig):
    return search(Dense(*(np.array([int(v)]) for v in vars(layer).values())), config)[0]


def assert_a_best_mapping(layer: Layer, config: BitFusionConfig):
    """The vectorised search finds one of the best mappings of the exhaustive one, with its counts."""
    best, found = options(layer, config), fast(layer, config)
    if not best:
        assert not found.any()
        return
    assert found[0] + found[1] == best[0].cycles
    counts, tile = tuple(found[: len(COUNTS)].tolist()), tuple(found[len(COUNTS) : -1].tolist())
    order = tuple(ORDER_NAMES[found[-1]].split(">"))
    same = [o for o in best if (o.counts, o.tile) == (counts, tile)]
    assert same, f"{counts} with tile {tile} is not among {best}"
    assert order in [o.order for o in same]


@pytest.mark.parametrize("index", [0, 7, 23, 44, 61, 80, 99, 119])
def test_the_transcription_reproduces_the_simulator(index):
    r = ROWS[index]
    k, o, s, ic, oc, batch, a, w = (int(r[c]) for c in ("K", "O", "S", "IC", "OC", "batch", "a_bits", "w_bits"))
    layer = Layer(k, k, s, ic, oc, o, o, batch, r["im2col"] == "1", a, w)
    best = options(layer, published("bf_e"))
    assert {o.counts for o in best} == {
        tuple(int(r[name]) for name in list(EXACT)[2:3] + list(EXACT)[1:2] + list(EXACT)[3:])
    }
    assert best[0].energy / 1e3 == pytest.approx(float(r["energy_total_nJ"]), rel=2e-4)
    assert_a_best_mapping(layer, published("bf_e"))


def number(low, high):
    return st.integers(low, high)


def memory(high):
    """Bytes, often such that a tile of powers of two fits to the bit."""
    return st.one_of(number(20, high), st.sampled_from([2**i for i in range(5, 11)]))


LAYERS = st.builds(
    Layer, kernel_h=number(1, 5), kernel_w=number(1, 5), stride=number(1, 3), c_in=number(1, 24), c_out=number(1, 24),
    h_out=number(1, 9), w_out=number(1, 9), batch=number(1, 5), im2col=st.booleans(),
    a_bits=st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 12, 16]), w_bits=st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 16]),
)  # fmt: skip
ENERGY = st.floats(0.01, 1.0)
CONFIGS = st.builds(
    BitFusionConfig, rows=number(1, 9), columns=number(1, 9), clock_hz=st.just(1e9), dram_bits_per_cycle=number(1, 300),
    wbuf_bytes=memory(3000), ibuf_bytes=memory(1500), obuf_bytes=memory(1500),
    core_pj_per_cycle=st.floats(0.1, 100.0), wbuf_read_pj_per_bit=ENERGY, wbuf_write_pj_per_bit=ENERGY,
    ibuf_read_pj_per_bit=ENERGY, ibuf_write_pj_per_bit=ENERGY, obuf_read_pj_per_bit=ENERGY,
    obuf_write_pj_per_bit=ENERGY, dram_pj_per_bit=st.floats(0.1, 20.0),
)  # fmt: skip


@settings(max_examples=60)
@given(LAYERS, CONFIGS)
def test_the_vectorised_search_agrees_with_the_exhaustive_one(layer, config):
    assert_a_best_mapping(layer, config)


@settings(max_examples=25)
@given(LAYERS, CONFIGS, number(1, 11))
def test_it_agrees_on_square_maps(layer, config, side):
    assert_a_best_mapping(replace(layer, h_out=side, w_out=side, kernel_w=layer.kernel_h), config)


@settings(max_examples=25)
@given(st.lists(st.tuples(LAYERS, LAYERS), min_size=1, max_size=4), CONFIGS)
def test_layers_are_mapped_independently_of_each_other(pairs, config):
    layers = [layer for pair in pairs for layer in pair]
    columns = zip(*(tuple(int(v) for v in vars(layer).values()) for layer in layers), strict=True)
    together = search(Dense(*(np.array(c) for c in columns)), config)
    np.testing.assert_array_equal(together, [fast(layer, config) for layer in layers])


def test_small_chunks_change_nothing(monkeypatch):
    config = published("bf_e")
    names = ("K", "K", "S", "IC", "OC", "O", "O", "batch", "im2col", "a_bits", "w_bits")
    dense = Dense(*(column(n, ROWS) for n in names))
    whole = search(dense, config)
    monkeypatch.setattr("netsmith.hardware.simulated.bitfusion.tiles.CHUNK", 300)
    np.testing.assert_array_equal(search(dense, config), whole)


def test_layers_at_many_widths_are_mapped_together():
    """20 layers at 49 pairs of widths, on a fresh target: one search a layer, not one a pair."""
    layers = table_of([r for r in ROWS if r["batch"] == "1" and r["a_bits"] == r["w_bits"] == "8"])
    bits = np.array([(w, a) for w in range(2, 9) for a in range(2, 9)])
    shape = (len(bits), len(layers))
    table = layers.replace(w_bits=np.broadcast_to(bits[:, :1], shape), a_bits=np.broadcast_to(bits[:, 1:], shape))
    assert calls(lambda: BitFusion(published("bf_e")).cost(table)) < 20 * table.kind.size  # 8 of each

"""Systolic arrays: SCALE-Sim's cycles for three data flows, energy in Timeloop's units, memory time."""

from __future__ import annotations

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware import get_target, load_config, roof_of
from netsmith.hardware.simulated.systolic import sram_units
from netsmith.network.layers import KIND, LayerTable

FLOWS = ("ws", "os", "is")


def array(rows=8, columns=4, dataflow="ws", **keys):
    base = {
        "family": "systolic", "rows": rows, "columns": columns, "dataflow": dataflow, "frequency_hz": 1e9,
        "input_sram_bytes": 1 << 20, "weight_sram_bytes": 1 << 20, "output_sram_bytes": 1 << 20,
        "bandwidth_words_per_cycle": 1e12, "energy_per_mac16_j": 1.0,
    }  # fmt: skip
    return load_config(base | keys)


def conv(c_in, c_out, out, kernel=1, stride=1, groups=1):
    size = kernel + (out - 1) * stride
    return {
        "name": "layer", "kind": KIND["conv"], "c_in": c_in, "c_out": c_out, "kernel_h": kernel, "kernel_w": kernel,
        "stride": stride, "groups": groups, "h_in": size, "w_in": size, "h_out": out, "w_out": out, "w_bits": 8,
        "a_bits": 8,
    }  # fmt: skip


def table(*rows):
    return LayerTable.from_rows(list(rows))


def by_hand(flow, row, rows, columns, batch=1):
    """The published formula, written out with plain integers."""
    positions, window = row["h_out"] * row["w_out"] * batch, row["kernel_h"] * row["kernel_w"] * row["c_in"]
    s_r, s_c, t = {
        "ws": (window, row["c_out"], positions), "os": (positions, row["c_out"], window),
        "is": (window, positions, row["c_out"]),
    }[flow]  # fmt: skip
    folds = -(-s_r // rows) * -(-s_c // columns)
    return folds * (2 * rows + columns + t - 2)


LAYERS = [
    conv(3, 64, 112, 7, 2),
    conv(64, 64, 56, 3),
    conv(64, 128, 28, 1, 2),
    conv(512, 512, 7, 3),
    conv(512, 1000, 1),
]


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("size", [(12, 14), (256, 256), (32, 32), (1, 1)])
def test_cycles_are_exactly_those_of_the_formula(flow, size):
    target = array(*size, dataflow=flow)
    t = table(*LAYERS)
    for batch in (1, 5):
        expected = [by_hand(flow, row, *size, batch) for row in LAYERS]
        assert target.compute_cycles(t, batch=batch).tolist() == expected
        cost = target.cost(t, batch=batch)
        assert cost.cycles.tolist() == expected and (cost.bound == "compute").all()
        assert cost.latency_s == pytest.approx(np.array(expected) / 1e9)


@pytest.mark.parametrize("flow", FLOWS)
def test_no_multiplier_works_more_than_once_a_cycle(flow):
    t = table(*LAYERS)
    for size in ((12, 14), (256, 256), (32, 32), (1, 1)):
        used = t.macs / (array(*size, dataflow=flow).compute_cycles(t) * size[0] * size[1])
        assert (used > 0).all() and (used <= 1).all()


@pytest.mark.parametrize(("flow", "inner"), [("ws", 49), ("os", 64), ("is", 96)])
def test_sizes_that_divide_the_array_give_the_analytic_utilisation(flow, inner):
    # 64 inputs, 96 outputs, 49 positions on arrays that divide the spatial sizes: folds lose nothing
    rows, columns = {"ws": (16, 32), "os": (7, 32), "is": (16, 7)}[flow]
    t = table(conv(64, 96, 7))
    used = t.macs[0] / (array(rows, columns, dataflow=flow).compute_cycles(t)[0] * rows * columns)
    assert used == inner / (2 * rows + columns + inner - 2)


def test_groups_take_their_turns_and_attention_counts_each_sample():
    target = array(8, 4)
    depthwise, one = table(conv(32, 32, 14, 3, groups=32)), table(conv(1, 1, 14, 3))
    assert target.compute_cycles(depthwise)[0] == 32 * target.compute_cycles(one)[0]
    assert target.compute_cycles(depthwise)[0] == 32 * 2 * (2 * 8 + 4 + 196 - 2)
    heads = {"name": "qk", "kind": KIND["matmul"], "groups": 4, "c_in": 64, "c_out": 128, "h_in": 10, "h_out": 10}
    t = table(heads | {"w_bits": 8, "a_bits": 8})
    assert target.compute_cycles(t, batch=3)[0] == 3 * target.compute_cycles(t)[0] == 3 * 4 * 2 * 8 * (18 + 10)


def test_published_presets():
    sizes = {"eyeriss": (12, 14, "ws", 108), "google": (256, 256, "os", 8192), "scale": (32, 32, "os", 64)}
    for name, (rows, columns, flow, kib) in sizes.items():
        c = get_target(f"systolic-{name}").config
        assert (c.rows, c.columns, c.dataflow, c.bandwidth_words_per_cycle) == (rows, columns, flow, 10)
        assert {c.input_sram_bytes, c.weight_sram_bytes, c.output_sram_bytes} == {kib * 1024}
    t = table(*LAYERS)
    cycles = get_target("systolic-scale").compute_cycles(t)
    assert cycles.tolist() == [by_hand("os", row, 32, 32) for row in LAYERS]


def test_memory_takes_over_when_bandwidth_is_short():
    t = table(conv(64, 128, 7))
    words = 64 * 128 + 64 * 49 + 128 * 49
    cost = array(bandwidth_words_per_cycle=0.01).cost(t)
    assert cost.bound[0] == "memory" and cost.cycles[0] == words * 100 and cost.traffic_bytes[0] == words
    wide = array(bandwidth_words_per_cycle=0.01, word_bits=16).cost(t)
    assert wide.cycles[0] == words * 100 and wide.traffic_bytes[0] == 2 * words


def test_an_operand_larger_than_its_memory_makes_the_other_come_again():
    t = table(conv(64, 128, 7))  # 8,192 words of weights, 3,136 of inputs, 6,272 of outputs
    small = {"weight_sram_bytes": 4096, "input_sram_bytes": 2048}
    # halves of the memories hold 4 tiles of weights and 4 of inputs
    assert array(**small).cost(t).traffic_bytes[0] == 8192 + 4 * 3136 + 6272
    assert (
        array(**small, double_buffered=False).cost(t).traffic_bytes[0] == min(8192 + 2 * 3136, 3136 + 2 * 8192) + 6272
    )
    assert array(weight_sram_bytes=16384, input_sram_bytes=16).cost(t).traffic_bytes[0] == 8192 + 3136 + 6272


def test_energy_of_the_default_technology_model():
    assert sram_units(512, 16) == 1 and sram_units(102400, 16) == pytest.approx(6) and sram_units(512, 8) == 0.5
    t = table(conv(16, 8, 4))  # one fold by two of 8 x 4: 128 weights, 256 inputs, 128 outputs, 2,048 MAC
    sram = {f"{k}_sram_bytes": 512 for k in ("input", "weight", "output")}
    parts = array(**sram, double_buffered=False, word_bits=16, dram_energy_units=200.0).cost(t).energy_parts
    assert parts["compute"][0] == 2048  # one unit each at 16 bits
    assert parts["dram"][0] == 200 * (128 + 256 + 128)
    # row folds 2, column folds 2: weights once, inputs once a column fold, sums written twice and read once at 32 bits;
    # and each word between main memory and a memory of 512 B, one unit an access
    assert parts["buffers"][0] == 128 + 2 * 256 + 2 * (2 * 2 - 1) * 128 + (128 + 256 + 128)
    at_8 = array(**sram, double_buffered=False, word_bits=8).cost(t)
    assert at_8.energy_parts["compute"][0] == 2048 / 4
    none = array(**sram, word_bits=8, dram_energy_units=0.0).cost(t)
    assert none.energy_parts["dram"][0] == 0 < at_8.energy_parts["dram"][0]
    assert at_8.energy_j[0] == pytest.approx(sum(v[0] for v in at_8.energy_parts.values()))


def test_standing_power_and_bank_size_are_parameters():
    t = table(*LAYERS)
    static = array(static_w=2.0).cost(t)
    assert static.energy_parts["static"] == pytest.approx(2.0 * static.latency_s)
    banked = array(sram_bank_bytes=512).cost(t)
    assert (banked.energy_parts["buffers"] < array().cost(t).energy_parts["buffers"]).all()


@pytest.mark.parametrize("flow", FLOWS)
def test_time_does_not_fall_with_less_bandwidth_or_a_larger_batch(flow):
    t = table(*LAYERS)
    times = [array(dataflow=flow, bandwidth_words_per_cycle=b).cost(t).latency_s for b in (1e3, 10.0, 1.0, 0.1)]
    assert (np.diff(np.stack(times), axis=0) >= 0).all() and (times[-1] > times[0]).any()
    by_batch = np.stack([array(dataflow=flow).cost(t, batch=b).latency_s for b in (1, 2, 7, 16)])
    # not strictly: samples that fill up a fold come for nothing
    assert (np.diff(by_batch, axis=0) >= 0).all() and (by_batch[-1] > by_batch[0]).all()


def test_narrow_widths_run_in_words_and_wide_ones_are_refused():
    target = array()
    t = table(conv(16, 8, 4))
    assert target.cost(t.replace(w_bits=4, a_bits=2)).latency_s == target.cost(t).latency_s
    with pytest.raises(InputError, match=r"'layer' has 32-bit weights .* words of 8 bits .*--bits 8"):
        target.cost(t.replace(w_bits=32, a_bits=32))
    assert roof_of(target, 8, 8).macs_per_s == 8 * 4 * 1e9 and roof_of(target, 9, 8) is None
    with pytest.raises(InputError, match="batch must be a whole number above 0"):
        target.cost(t, batch=0)

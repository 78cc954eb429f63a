"""BISMO: bit planes, cycles, peaks, stages, resources, and the distance to the totals of HAQ's released table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware import bit_planes, bit_serial_matmul, get_target, load_config, roof_of
from netsmith.hardware.simulated.bismo import BismoConfig, array_brams, array_luts, peak_binary_ops
from netsmith.network.layers import KIND, LayerTable

ENERGY = {"energy_per_binary_mac_j": 1e-12, "energy_per_buffer_bit_j": 0.0, "energy_per_dram_bit_j": 1e-11}
WIDE = {"port_bits_per_cycle": 1e15, "dram_bytes_per_s": 1e30}


def overlay(rows=8, lanes=256, columns=8, **keys):
    base = {"family": "bismo", "rows": rows, "lanes": lanes, "columns": columns, "frequency_hz": 200e6}
    return load_config(base | WIDE | ENERGY | keys)


def gemm(m, k, n, w, a):
    """A linear layer over n tokens: (m, k) weights times (k, n) activations."""
    row = {"name": "gemm", "kind": KIND["linear"], "c_in": k, "c_out": m, "h_in": n, "h_out": n}
    return LayerTable.from_rows([row | {"w_bits": w, "a_bits": a}])


def depthwise(channels, side, w=8, a=8):
    row = {"name": "dw", "kind": KIND["conv"], "c_in": channels, "c_out": channels, "groups": channels}
    image = {"kernel_h": 3, "kernel_w": 3, "h_in": side, "w_in": side, "h_out": side, "w_out": side}
    return LayerTable.from_rows([row | image | {"w_bits": w, "a_bits": a}])


# ---- bit planes -----------------------------------------------------------------------------------------------------


def test_binary_products_give_the_integer_product_for_every_pair_of_widths_and_signs():
    rng = np.random.default_rng(0)

    def operand(bits, signed, shape):
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
        values = rng.integers(low, high, shape)
        values.flat[0], values.flat[1] = low, high - 1  # both ends of the range
        return values

    for w in range(1, 9):
        for a in range(1, 9):
            for w_signed in (False, True):
                for a_signed in (False, True):
                    left, right = operand(w, w_signed, (5, 11)), operand(a, a_signed, (11, 7))
                    got = bit_serial_matmul(left, right, w, a, left_signed=w_signed, right_signed=a_signed)
                    assert (got == left @ right).all(), (w, a, w_signed, a_signed)


def test_planes_are_binary_and_the_top_one_of_a_signed_operand_is_negative():
    planes, weights = bit_planes(np.array([-4, -1, 0, 3]), 3, signed=True)
    assert planes.tolist() == [[0, 1, 0, 1], [0, 1, 0, 1], [1, 1, 0, 0]]
    assert weights.tolist() == [1, 2, -4]
    assert bit_planes(np.array([5]), 3, signed=False)[1].tolist() == [1, 2, 4]
    with pytest.raises(InputError, match="signed 3-bit values lie in -4 to 3, not 4 to 4"):
        bit_planes(np.array([4]), 3, signed=True)


# ---- cycles and peaks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "k", "n", "w", "a", "cycles"),
    [
        (256, 1024, 256, 2, 2, 16_384), (256, 1024, 256, 8, 8, 262_144), (256, 1024, 256, 3, 5, 61_440),
        (1, 9, 12544, 8, 8, 100_352),
    ],
)  # fmt: skip
def test_example_products(m, k, n, w, a, cycles):
    target = overlay()
    assert target.stages(gemm(m, k, n, w, a)).execute[0] == cycles
    assert target.cost(gemm(m, k, n, w, a)).cycles[0] == cycles
    assert target.cost(gemm(m, k, n, w, a)).bound[0] == "compute"


def test_cycles_follow_the_product_of_the_widths_exactly():
    target = overlay(max_bits=16)
    one = target.cost(gemm(100, 300, 50, 1, 1)).cycles[0]
    for w in range(1, 17):
        for a in range(1, 17):
            assert target.cost(gemm(100, 300, 50, w, a)).cycles[0] == w * a * one
    assert target.cost(gemm(100, 300, 50, 5, 3)).cycles[0] * 16 == target.cost(gemm(100, 300, 50, 4, 4)).cycles[0] * 15


def test_peaks():
    assert peak_binary_ops(overlay().config) / 1e12 == pytest.approx(6.55, abs=0.005)
    assert peak_binary_ops(get_target("bismo-edge").config) / 1e12 == pytest.approx(6.55, abs=0.005)
    larger = overlay(10, 256, 10, frequency_hz=300e6)
    assert peak_binary_ops(larger.config) / 1e12 == pytest.approx(15.36, abs=0.005)
    for w, a in ((8, 8), (3, 5), (1, 1)):
        assert roof_of(larger, w, a).macs_per_s == pytest.approx(15.36e12 / 2 / (w * a))
    assert roof_of(larger, 9, 1) is None
    # the peak is reached by a product that fills the array
    full = larger.cost(gemm(1000, 2560, 1000, 4, 4))
    assert 1000 * 2560 * 1000 / full.latency_s[0] == pytest.approx(roof_of(larger, 4, 4).macs_per_s)


def test_published_resources():
    config = overlay(2, 64, 2).config  # the defaults of the public code
    assert array_luts(config) == pytest.approx(4 * (1.17 * 64 + 44.1 + 120.1))
    assert array_brams(config) == 2 * (2 + 2)
    assert array_brams(overlay(8, 256, 8, left_entries=1025, right_entries=2048).config) == 8 * (16 + 16)


# ---- stages ---------------------------------------------------------------------------------------------------------


def test_time_is_execution_at_infinite_bandwidth_and_bytes_by_bandwidth_at_none():
    t = gemm(64, 512, 128, 4, 4)
    assert overlay().cost(t).latency_s[0] == overlay().stages(t).execute[0] / 200e6
    slow = overlay(dram_bytes_per_s=1e3)
    cost = slow.cost(t)
    moved = (64 * 512 * 4 + 512 * 128 * 4) / 8 + 64 * 128 * 4
    assert cost.traffic_bytes[0] == moved and cost.bound[0] == "memory"
    assert cost.latency_s[0] == pytest.approx(moved / 1e3, rel=1e-9)


def test_the_slowest_of_three_stages_counts():
    t = gemm(64, 512, 128, 4, 4)
    load, result, execute = 64 * 512 * 4 + 512 * 128 * 4, 64 * 128 * 32, 16 * 8 * 2 * 16
    for port in (1e6, 96.0, 1.0):
        target = overlay(port_bits_per_cycle=port)
        stages = target.stages(t)
        expected = [np.ceil(load / port), execute, np.ceil(result / port)]
        assert [stages.load[0], stages.execute[0], stages.result[0]] == expected
        assert target.cost(t).cycles[0] == max(expected)
    assert overlay(port_bits_per_cycle=96.0, result_bits=8).stages(t).result[0] == np.ceil(result / 4 / 96)
    assert overlay(port_bits_per_cycle=96.0, result_bits=0).stages(t).result[0] == np.ceil(result / 8 / 96)


def test_operands_beyond_their_buffers_come_again():
    t = gemm(64, 512, 128, 4, 4)
    # left: 4 bits * 8 row sets * 2 deep = 64 entries, right: 4 * 16 * 2 = 128 entries
    left, right = 64 * 512 * 4, 512 * 128 * 4
    for left_entries, right_entries, bits in (
        (128, 256, left + right),
        (64, 128, min(left + right * 2, right + left * 2)),  # halves: two tiles each
        (128, 2, left + right),  # the left operand is held, the right one streams past it once
        (32, 64, min(left + right * 4, right + left * 4)),
    ):
        target = overlay(left_entries=left_entries, right_entries=right_entries, result_bits=1)
        assert target.cost(t).traffic_bytes[0] * 8 == bits + 64 * 128, (left_entries, right_entries)
    whole = overlay(left_entries=64, right_entries=64, double_buffered=False, result_bits=1)
    assert whole.cost(t).traffic_bytes[0] * 8 == left + right + 64 * 128


def test_groups_one_after_the_other_or_packed_into_one_block_diagonal():
    one = overlay().stages(gemm(1, 9, 196, 8, 8)).execute[0]
    layer = depthwise(32, 14)
    assert overlay().stages(layer).execute[0] == 32 * one
    assert overlay(pack_groups=True).stages(layer).execute[0] == 4 * one  # eight at once
    assert overlay(lanes=64, pack_groups=True).stages(layer).execute[0] == 5 * one  # seven of nine lanes each


def test_what_is_loaded_is_the_gathered_matrix_or_with_a_feeder_the_map():
    layer = depthwise(32, 14)
    weights, inputs = 32 * 9 * 8, 32 * 14 * 14 * 8
    expected = {0: weights + 9 * inputs, 1: weights + inputs}
    for feed, bits in expected.items():
        cost = overlay(feed_positions=feed, result_bits=8).cost(layer)
        assert cost.traffic_bytes[0] * 8 == bits + inputs
    assert overlay(feed_positions=1).stages(layer).feed[0] == 8 * 14 * 14 * 4  # eight groups at once
    assert overlay(feed_positions=3).stages(layer).feed[0] == 8 * 66 * 4
    assert overlay().stages(layer).feed[0] == 0


def test_depthwise_on_the_edge_wants_fewer_activation_bits_and_hardly_fewer_weight_bits():
    target = get_target("bismo-edge")
    for channels, side in ((32, 112), (144, 56), (576, 14), (960, 7)):
        cost = {(w, a): target.cost(depthwise(channels, side, w, a)) for w, a in ((8, 8), (4, 8), (8, 4))}
        now = cost[8, 8].cycles[0]
        stages = target.stages(depthwise(channels, side))
        assert stages.feed[0] >= max(stages.load[0], stages.result[0], stages.memory[0])
        assert cost[4, 8].bound[0] == "memory"
        assert cost[8, 4].cycles[0] < 0.55 * now
        assert cost[4, 8].cycles[0] > 0.85 * now
        if side >= 14:
            assert cost[4, 8].cycles[0] > 0.95 * now
    point = gemm(96, 576, 196, 8, 8)  # a dense layer gains from both
    halves = [target.cost(point.replace(w_bits=w, a_bits=a)).cycles[0] for w, a in ((4, 8), (8, 4))]
    assert max(halves) < 0.55 * target.cost(point).cycles[0]


def test_energy_is_binary_work_buffers_memory_and_standing_power():
    t = gemm(64, 512, 128, 3, 5)
    keys = {"energy_per_buffer_bit_j": 1e-15, "static_w": 3.0, "result_bits": 32}
    cost = overlay(**keys).cost(t)
    bits, execute = 64 * 512 * 3 + 512 * 128 * 5 + 64 * 128 * 32, 15 * 8 * 2 * 16
    expected = {
        "compute": 64 * 512 * 128 * 15 * 1e-12, "buffers": (execute * 16 * 256 + bits) * 1e-15, "dram": bits * 1e-11,
        "static": 3.0 * cost.latency_s[0],
    }  # fmt: skip
    assert {k: v[0] for k, v in cost.energy_parts.items()} == pytest.approx(expected)
    assert cost.energy_j[0] == pytest.approx(sum(expected.values()))
    assert overlay(**keys, energy_per_dram_bit_j=2e-11).cost(t).energy_parts["dram"][0] == pytest.approx(bits * 2e-11)


def test_overhead_and_wide_rows():
    t = gemm(8, 256, 8, 1, 1)
    cost = overlay(overhead_cycles=50).cost(t)
    assert cost.cycles[0] == 51 and cost.bound[0] == "overhead"
    with pytest.raises(InputError, match=r"'gemm' has 9-bit weights and 8-bit .* whole numbers of 1 to 8 bits"):
        overlay().cost(gemm(8, 256, 8, 9, 8))
    assert overlay(max_bits=16).cost(gemm(8, 256, 8, 9, 8)).cycles[0] == 72
    with pytest.raises(InputError, match=r"'left_entries'.*at least 2"):
        BismoConfig(
            rows=1, lanes=1, columns=1, frequency_hz=1e6, left_entries=1, port_bits_per_cycle=1, dram_bytes_per_s=1,
            **ENERGY,
        )  # fmt: skip


# ---- HAQ's released cloud table -------------------------------------------------------------------------------------

#: Totals over MobileNetV2 at batch 16 in cycles, by weight and activation bits, of the table released with HAQ.
HAQ_TOTALS = {
    (1, 1): 3_433_704, (2, 2): 7_063_425, (4, 4): 15_716_150, (6, 6): 26_653_434, (8, 8): 39_624_933,
    (8, 1): 6_390_368, (1, 8): 26_559_887,
}  # fmt: skip


def mobilenet_v2():
    """The 53 layers of MobileNetV2 at 224 x 224."""
    rows, side, channels = [], 224, 32

    def add(c_in, c_out, kernel=1, stride=1, groups=1):
        nonlocal side
        out = side // stride
        image = {"h_in": side, "w_in": side, "h_out": out, "w_out": out, "kernel_h": kernel, "kernel_w": kernel}
        row = {"name": f"layer{len(rows)}", "kind": KIND["conv"], "c_in": c_in, "c_out": c_out, "groups": groups}
        rows.append(row | image | {"stride": stride})
        side = out

    add(3, 32, 3, 2)
    for t, c, n, s in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                       (6, 320, 1, 1)):  # fmt: skip
        for i in range(n):
            if t > 1:
                add(channels, channels * t)
            add(channels * t, channels * t, 3, s if i == 0 else 1, channels * t)
            add(channels * t, c)
            channels = c
    add(320, 1280)
    rows.append({"name": "classifier", "kind": KIND["linear"], "c_in": 1280, "c_out": 1000})
    return LayerTable.from_rows(rows)


def test_distance_to_the_totals_of_the_released_table():
    t, target = mobilenet_v2(), get_target("bismo-cloud")
    assert len(t) == 53 and t.macs.sum() == 300_774_272
    page = (Path(__file__).parents[2] / "docs" / "hardware.md").read_text(encoding="utf-8")
    for (w, a), published in HAQ_TOTALS.items():
        ours = int(target.cost(t.replace(w_bits=w, a_bits=a), batch=16).cycles.sum())
        assert 0.95 < ours / published < 1.30
        assert f"| {w}/{a} | {published:,} | {ours:,} | {ours / published:.2f} |" in page
    at_8 = target.cost(t.replace(w_bits=8, a_bits=8), batch=16).cycles
    share = at_8[t.is_depthwise].sum() / at_8.sum()
    assert 0.40 < share < 0.50  # 0.473 in the released table

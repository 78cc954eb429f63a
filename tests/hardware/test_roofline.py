"""Roofline machines: both roofs, units, widths, traffic that does not fit, and the floor under Bit Fusion's results."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware import get_target, load_config, roof_of, settings_of
from netsmith.network.layers import KIND, LayerTable

REFERENCE = Path(__file__).parent / "data" / "bitfusion_reference.csv"


def machine(**keys):
    base = {"family": "roofline", "peak_macs_per_s": {"8x8": 1e9, "32x32": 1e8}, "bandwidth_bytes_per_s": 1e8}
    return load_config(base | keys)


def conv(c_in, c_out, size, kernel=1, groups=1, bits=8, name="layer"):
    image = {"h_in": size, "w_in": size, "h_out": size, "w_out": size, "kernel_h": kernel, "kernel_w": kernel}
    row = {"name": name, "kind": KIND["conv"], "c_in": c_in, "c_out": c_out, "groups": groups}
    return row | image | {"w_bits": bits, "a_bits": bits}


def table(*rows):
    return LayerTable.from_rows(list(rows))


# ---- the two roofs --------------------------------------------------------------------------------------------------


def test_a_row_takes_the_longer_of_arithmetic_and_bytes_and_both_agree_at_the_ridge():
    t = table(conv(16, 32, 8))  # 32,768 MAC; 512 + 1,024 + 2,048 = 3,584 bytes at 8 bits
    assert t.macs.tolist() == [32768]
    bandwidth = 1e9 * 3584 / 32768  # the ridge is the layer's own intensity
    at_ridge = machine(bandwidth_bytes_per_s=bandwidth)
    assert roof_of(at_ridge, 8, 8).ridge == pytest.approx(32768 / 3584)
    assert at_ridge.cost(t).latency_s[0] == pytest.approx(32768 / 1e9, rel=1e-12)
    for factor, bound in ((2.0, "compute"), (0.5, "memory")):
        target = machine(bandwidth_bytes_per_s=bandwidth * factor)
        cost = target.cost(t)
        attainable = min(roof_of(target, 8, 8).macs_per_s, 32768 / 3584 * bandwidth * factor)
        assert cost.latency_s[0] == pytest.approx(32768 / attainable, rel=1e-12)
        assert cost.bound[0] == bound


def test_units_are_multiply_accumulates_and_bytes():
    t = table(conv(16, 32, 8), conv(16, 32, 8, bits=32))
    cost = machine(bandwidth_bytes_per_s=1e15).cost(t)
    assert cost.latency_s == pytest.approx([32768 / 1e9, 32768 / 1e8])  # not two operations each
    assert cost.traffic_bytes == pytest.approx([3584, 4 * 3584])  # 8 bits are one byte


def test_ridges_of_bit_fusion():
    target = get_target("roofline-bitfusion")
    ridges = [roof_of(target, b, b).ridge for b in (8, 4, 2)]
    assert ridges == pytest.approx([256 / 12, 1024 / 12, 4096 / 12])
    assert [round(r, 1) for r in ridges] == [21.3, 85.3, 341.3]


def test_depthwise_and_pointwise_of_equal_work_fall_on_different_sides_of_the_ridge():
    t = table(conv(1024, 1024, 32, kernel=3, groups=1024), conv(96, 96, 32))
    assert t.macs[0] == t.macs[1]
    target = get_target("roofline-edge")
    cost, ridge = target.cost(t), roof_of(target, 8, 8).ridge
    intensity = t.macs / cost.traffic_bytes
    assert intensity[0] < ridge < intensity[1]
    assert cost.bound.tolist() == ["memory", "compute"]


@pytest.mark.parametrize("name", ["roofline-edge", "roofline-cloud", "roofline-gpu", "roofline-bitfusion"])
def test_time_falls_with_bandwidth_and_peak_and_rises_with_bits_and_batch(name):
    rows = [conv(64, 64, 28), conv(64, 64, 28, 3), conv(64, 64, 28, 3, groups=64), conv(512, 512, 7)]
    t = table(*rows)
    base = get_target(name)
    config = settings_of(base)["config"]
    now = base.cost(t).latency_s
    faster = {k: 2 * v for k, v in config["peak_macs_per_s"].items()}
    for better in ({"bandwidth_bytes_per_s": 2 * config["bandwidth_bytes_per_s"]}, {"peak_macs_per_s": faster}):
        better_s = get_target(name, **better).cost(t).latency_s
        assert (better_s <= now).all() and (better_s < now).any()
    widest = max(max(p) for p in base.capabilities.bits)
    by_bits = np.stack([base.cost(t.replace(w_bits=b, a_bits=b)).latency_s for b in range(1, widest + 1)])
    assert (np.diff(by_bits, axis=0) >= 0).all() and (by_bits[-1] > by_bits[0]).any()
    by_batch = np.stack([base.cost(t, batch=b).latency_s for b in (1, 2, 5, 16, 64)])
    assert (np.diff(by_batch, axis=0) >= 0).all() and (by_batch[-1] > by_batch[0]).all()


# ---- the floor under Bit Fusion -------------------------------------------------------------------------------------


def reference():
    with REFERENCE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    keys = ("batch", "K", "O", "S", "IC", "OC", "a_bits", "w_bits", "macs", "cycles", "mem_stall_cycles", "repeat")
    return [{k: int(r[k]) for k in keys} | {"network": r["network"], "layer": r["layer"]} for r in rows]


def layer_of(r):
    size = r["K"] + (r["O"] - 1) * r["S"]
    return {
        "name": r["layer"], "kind": KIND["conv"], "c_in": r["IC"], "c_out": r["OC"], "kernel_h": r["K"],
        "kernel_w": r["K"], "stride": r["S"], "h_in": size, "w_in": size, "h_out": r["O"], "w_out": r["O"],
        "w_bits": r["w_bits"], "a_bits": r["a_bits"],
    }  # fmt: skip


def test_the_roofline_is_a_floor_under_all_rows_of_bit_fusion():
    rows, target = reference(), get_target("roofline-bitfusion")
    assert len(rows) == 120
    floors, given = [], []
    for r in rows:
        t = table(layer_of(r))
        cost = target.cost(t, batch=r["batch"])
        assert t.macs[0] * r["batch"] == r["macs"]
        side = min(r["K"] + (r["O"] - 1) * r["S"], r["K"] * r["O"])
        touched, outputs = r["IC"] * side**2 * r["batch"], r["OC"] * r["O"] ** 2 * r["batch"]
        bits = r["K"] ** 2 * r["IC"] * r["OC"] * r["w_bits"] + touched * r["a_bits"] + 2 * outputs * 32
        assert cost.traffic_bytes[0] == bits / 8
        floors.append(cost.latency_s[0])
        given.append(r["cycles"] / 500e6)
    share = np.array(floors) / np.array(given)
    assert (share <= 1).all()
    assert share.max() > 0.9 and np.median(share) > 0.5  # a floor that says something


def test_the_roofline_orders_networks_by_waiting_for_memory_as_bit_fusion_does():
    target = get_target("roofline-bitfusion")
    given, floor = {}, {}
    for r in reference():
        key = (r["network"], r["a_bits"], r["w_bits"], r["batch"])
        cost = target.cost(table(layer_of(r)), batch=r["batch"])
        compute = r["macs"] / roof_of(target, r["w_bits"], r["a_bits"]).macs_per_s
        for sums, stall, total in (
            (given, r["mem_stall_cycles"], r["cycles"]),
            (floor, float(cost.latency_s[0]) - compute, float(cost.latency_s[0])),
        ):
            a, b = sums.get(key, (0, 0))
            sums[key] = (a + r["repeat"] * stall, b + r["repeat"] * total)
    pairs = [
        (("alexnet", 8, 8, 1), ("alexnet", 8, 8, 16)), (("resnet18", 2, 2, 1), ("resnet18", 8, 8, 1)),
        (("resnet18", 4, 4, 1), ("resnet18", 8, 8, 1)), (("alexnet", 8, 8, 1), ("resnet18", 8, 8, 1)),
    ]  # fmt: skip
    for more, less in pairs:
        for sums in (given, floor):
            assert sums[more][0] / sums[more][1] > sums[less][0] / sums[less][1], (more, less)


# ---- widths ---------------------------------------------------------------------------------------------------------


def test_a_width_without_a_kernel_runs_in_the_fastest_that_holds_it():
    target = machine(peak_macs_per_s={"8x8": 1e9, "8x4": 2e9, "16x16": 1e8}, bandwidth_bytes_per_s=1e15)
    assert target.capabilities.bits[0] == (8, 8)
    assert set(target.capabilities.bits) == {(8, 8), (8, 4), (16, 16)}
    t = table(conv(16, 32, 8))
    rates = {(8, 8): 1e9, (5, 3): 2e9, (8, 4): 2e9, (4, 8): 1e9, (2, 5): 1e9, (9, 1): 1e8, (16, 16): 1e8}
    for (w, a), rate in rates.items():
        assert target.cost(t.replace(w_bits=w, a_bits=a)).latency_s[0] == pytest.approx(32768 / rate)
        assert roof_of(target, w, a).macs_per_s == rate
    assert roof_of(target, 17, 8) is None and roof_of(target, 0, 8) is None and roof_of(target, 64, 8) is None


def test_packed_tensors_move_their_own_bits_others_those_of_their_kernel():
    t = table(conv(16, 32, 8)).replace(w_bits=3, a_bits=5)
    assert machine().cost(t).traffic_bytes[0] == 3584
    assert machine(packed=True).cost(t).traffic_bytes[0] == (512 * 3 + (1024 + 2048) * 5) / 8


def test_bit_serial_and_linear_scaling():
    t = table(conv(16, 32, 8))
    serial = machine(scaling="bit-serial", bandwidth_bytes_per_s=1e15, energy_per_mac_j={"8x8": 64e-15, "32x32": 1e-12})
    linear = machine(scaling="linear", bandwidth_bytes_per_s=1e15)
    for w, a in ((8, 8), (4, 4), (3, 5), (1, 1), (7, 2)):
        bits = t.replace(w_bits=w, a_bits=a)
        assert serial.cost(bits).latency_s[0] == pytest.approx(32768 / 1e9 * w * a / 64)
        assert serial.cost(bits).energy_parts["compute"][0] == pytest.approx(32768e-15 * w * a)
        assert linear.cost(bits).latency_s[0] == pytest.approx(32768 / 1e9 * max(w, a) / 8)
    assert serial.cost(t.replace(w_bits=9, a_bits=4)).latency_s[0] == pytest.approx(32768 / 1e8)  # in the 32-bit kernel
    assert len(serial.capabilities.bits) == 65 and serial.capabilities.bits[0] == (32, 32)


def test_output_width_and_passes():
    t = table(conv(16, 32, 8))
    assert machine(output_bits=32).cost(t).traffic_bytes[0] == 512 + 1024 + 4 * 2048
    assert machine(output_bits=32, output_passes=2).cost(t).traffic_bytes[0] == 512 + 1024 + 8 * 2048


def test_a_network_in_floats_is_refused_by_an_integer_machine_with_a_remedy():
    t = table(conv(16, 32, 8, name="stem"), conv(16, 32, 8, bits=32, name="features.0.conv"))
    with pytest.raises(
        InputError, match=r"'features.0.conv' has 32-bit weights and 32-bit .* roofline-bitfusion .*--b"
    ):
        get_target("roofline-bitfusion").cost(t)
    glue = {"name": "add", "kind": KIND["add"], "w_bits": 32, "a_bits": 32}
    assert get_target("roofline-bitfusion").cost(table(glue)).latency_s[0] == 0


# ---- memory ---------------------------------------------------------------------------------------------------------


def test_an_operand_that_does_not_fit_makes_the_other_come_again_in_the_cheaper_order():
    t = table(conv(16, 32, 8))  # 512 bytes of weights, 1,024 of inputs, 2,048 of outputs
    # tiles of weights and inputs at 300 bytes: 2 and 4; at 500: 2 and 3
    for room, operands in ((512, 1536), (300, 512 + 1024 * 2), (500, 512 + 1024 * 2), (1e6, 1536)):
        assert machine(on_chip_bytes=room).cost(t).traffic_bytes[0] == operands + 2048, room
    # 32 tiles of weights and 64 of inputs
    assert machine(on_chip_bytes=16).cost(t).traffic_bytes[0] == min(512 + 1024 * 32, 1024 + 512 * 64) + 2048
    # groups are products of their own: nothing comes again if one group fits
    grouped = table(conv(16, 32, 8, groups=16))
    assert machine(on_chip_bytes=64).cost(grouped).traffic_bytes[0] == 32 + 1024 + 2048


def test_activations_that_fit_stay_on_the_chip():
    t = table(conv(16, 32, 8), conv(16, 32, 16))
    cost = machine(on_chip_bytes=4000, activations_on_chip=True).cost(t)
    assert cost.traffic_bytes.tolist() == [512, 512 + 4 * 1024 + 4 * 2048]
    batch = machine(on_chip_bytes=4000, activations_on_chip=True).cost(t, batch=2)
    assert batch.traffic_bytes[0] == 512 + 2 * (1024 + 2048)


def test_the_slower_of_two_memories_counts():
    t = table(conv(16, 32, 8))
    both = {"bandwidth_bytes_per_s": 1e6, "on_chip_bytes": 1e6}
    assert machine(**both, on_chip_bytes_per_s=1e9).cost(t).latency_s[0] == pytest.approx(3584 / 1e6)
    assert machine(**both, on_chip_bytes_per_s=1e5).cost(t).latency_s[0] == pytest.approx(3584 / 1e5)
    reuse = machine(**both, on_chip_bytes_per_s=1e5, on_chip_reuse=4.0).cost(t)
    assert reuse.latency_s[0] == pytest.approx((32768 * 2 / 4 + 2048) / 1e5)


def test_both_operands_of_attention_are_activations_of_the_sample():
    heads = {"name": "qk", "kind": KIND["matmul"], "groups": 4, "c_in": 64, "c_out": 128, "h_in": 10, "h_out": 10}
    t = table(heads | {"w_bits": 32, "a_bits": 8})
    target = machine(bandwidth_bytes_per_s=1.0)
    one = target.cost(t)
    # four heads of (10, 16) x (16, 32): queries, keys and scores in bytes, the width of weights plays no part
    assert t.macs[0] == 4 * 10 * 16 * 32
    assert one.traffic_bytes[0] == 4 * (10 * 16 + 16 * 32 + 10 * 32)
    assert target.cost(t, batch=3).traffic_bytes[0] == 3 * one.traffic_bytes[0]
    weights = table(conv(16, 32, 8))
    assert target.cost(weights, batch=3).traffic_bytes[0] == 512 + 3 * (1024 + 2048)


# ---- utilisation, overhead, glue, energy ----------------------------------------------------------------------------


def test_lanes_round_up_and_depthwise_has_its_own_share():
    target = machine(reduction_lanes=32, output_lanes=24, depthwise_utilisation=0.25, bandwidth_bytes_per_s=1e15)
    dense, depthwise = table(conv(16, 32, 8)), table(conv(16, 16, 8, 3, groups=16))
    assert target.cost(dense).latency_s[0] == pytest.approx(32 * 48 * 64 / 1e9)
    assert target.cost(depthwise).latency_s[0] == pytest.approx(16 * 9 * 64 / 0.25 / 1e9)


def test_overhead_is_once_a_row_so_a_batch_pays_off():
    target = get_target("roofline-gpu")
    t = table(conv(64, 64, 28, 3))
    per_sample = np.array([target.cost(t, batch=b).latency_s[0] / b for b in (1, 8, 64)])
    assert target.cost(t).bound[0] == "overhead"
    assert (np.diff(per_sample) < 0).all() and per_sample[0] > 5 * per_sample[-1]


def test_glue_is_free_unless_charged():
    rows = [{"name": k, "kind": KIND[k], "c_in": 8, "c_out": 8, "a_bits": 8} for k in ("add", "avgpool", "reshape")]
    t = table(*rows)
    free = machine(overhead_s=1e-6).cost(t)
    assert not free.latency_s.any() and not free.traffic_bytes.any()
    charged = machine(overhead_s=1e-6, glue=True).cost(t)
    assert charged.traffic_bytes.tolist() == [24, 16, 0]  # an addition reads two operands; a reshape moves nothing
    assert charged.latency_s == pytest.approx([24 / 1e8 + 1e-6, 16 / 1e8 + 1e-6, 0])


def test_energy_is_arithmetic_memory_and_standing_power_and_each_constant_counts():
    t = table(conv(16, 32, 8))
    keys = {
        "energy_per_mac_j": {"8x8": 1e-12, "32x32": 4e-12}, "energy_per_dram_byte_j": 1e-10,
        "energy_per_on_chip_byte_j": 1e-11, "static_w": 0.1,
    }  # fmt: skip
    cost = machine(**keys).cost(t)
    expected = {"compute": 32768e-12, "dram": 3584e-10, "buffers": 3584e-11, "static": 0.1 * cost.latency_s[0]}
    assert {k: v[0] for k, v in cost.energy_parts.items()} == pytest.approx(expected)
    assert cost.energy_j[0] == pytest.approx(sum(expected.values()))
    dearer = machine(**keys | {"energy_per_dram_byte_j": 2e-10}).cost(t)
    assert dearer.energy_j[0] - cost.energy_j[0] == pytest.approx(3584e-10)
    assert machine().cost(t).energy_j is None


# ---- one line -------------------------------------------------------------------------------------------------------


def test_a_machine_in_one_line():
    target = get_target("roofline:peak=64e9, peak8=256e9, peak4=512e9, bandwidth=12e9, overhead=1e-6")
    assert target.name == "roofline"
    assert target.capabilities.bits == ((32, 32), (8, 8), (4, 4))
    assert roof_of(target, 8, 8).ridge == pytest.approx(256 / 12)
    t = table(conv(16, 32, 8))
    assert target.cost(t).latency_s[0] == pytest.approx(3584 / 12e9 + 1e-6)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("roofline", "needs a machine: write roofline:peak="),
        ("roofline:bandwidth=1e9", "needs a peak and a bandwidth"),
        ("roofline:peak=1e9", "needs a peak and a bandwidth"),
        ("roofline:peak=1e9,bandwith=1e9", r"no option 'bandwith' \(did you mean 'bandwidth'"),
        ("roofline:peak=1e9,peak99=1e9,bandwidth=1e9", "no option 'peak99'"),
        ("roofline:peak=fast,bandwidth=1e9", "peak is a number, not 'fast'"),
        ("roofline:peak=1e9,bandwidth", "'bandwidth' is no assignment"),
        ("roofline:peak=-1,bandwidth=1e9", "must be above 0"),
    ],
)
def test_a_wrong_line_is_refused(spec, message):
    with pytest.raises(InputError, match=message):
        get_target(spec)

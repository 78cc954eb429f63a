"""The target family of Bit Fusion: rules of operands, extensions, parameters, messages, and what it must not claim."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsmith.errors import InputError
from netsmith.hardware import get_target, roof_of, settings_of, target_names
from netsmith.hardware.simulated.bitfusion import (
    BitFusion,
    BitFusionConfig,
    derived_energies,
    published,
    sram_pj_per_bit,
)
from netsmith.hardware.simulated.bitfusion.workload import parallelism
from netsmith.network.layers import COMPUTE, KIND, LayerTable
from netsmith.testing import check_target, example_table

NAMES = ("bitfusion", "bitfusion-cloud", "bitfusion-small")
CONV, LINEAR, MATMUL = KIND["conv"], KIND["linear"], KIND["matmul"]
BF_E = published("bitfusion")


def table(*rows, bits=(8, 8)):
    w, a = bits
    return LayerTable.from_rows([{"name": f"layer{i}", "w_bits": w, "a_bits": a} | row for i, row in enumerate(rows)])


def conv(c_in, c_out, kernel, out, stride=1, groups=1):
    side = kernel + (out - 1) * stride
    return {
        "kind": CONV, "c_in": c_in, "c_out": c_out, "kernel_h": kernel, "kernel_w": kernel, "stride": stride,
        "groups": groups, "h_in": side, "w_in": side, "h_out": out, "w_out": out,
    }  # fmt: skip


#: The distinct layers of ResNet-18 behind its first one.
RESNET18 = (
    conv(64, 64, 3, 56), conv(64, 128, 3, 28, 2), conv(128, 128, 3, 28), conv(64, 128, 1, 28, 2),
    conv(128, 256, 3, 14, 2), conv(256, 256, 3, 14), conv(128, 256, 1, 14, 2), conv(256, 512, 3, 7, 2),
    conv(512, 512, 3, 7), conv(256, 512, 1, 7, 2), {"kind": LINEAR, "c_in": 512, "c_out": 1000},
)  # fmt: skip


# ---- conformance ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [(8, 8), (6, 3), (1, 1), (16, 8)])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_target(name, bits):
    target = get_target(name)
    assert target.name == name and name in target_names()
    check_target(target, example_table(bits))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_target_for_batches_and_oblong_maps(name):
    oblong = example_table((4, 2)).replace(w_in=5, w_out=5)
    oblong = oblong.replace(kernel_w=np.where(oblong.kind == CONV, 2, 1))
    check_target(get_target(name), oblong, batch=3)


@pytest.mark.parametrize("name", NAMES)
def test_capabilities_say_what_it_executes(name):
    can = get_target(name).capabilities
    assert can.bits[0] == (8, 8) and len(set(can.bits)) == len(can.bits) == 64 + 17
    assert {(w, a) for w in range(1, 9) for a in range(1, 9)} == set(can.bits[:64])
    assert not can.measured and not can.monotone
    assert get_target(name).config.rows % can.channel_multiple == 0
    plain = BitFusion(dataclasses.replace(BF_E, extensions=False)).capabilities.bits
    assert max(max(pair) for pair in plain) == 8


def test_importing_the_targets_does_not_load_it():
    code = (
        "import sys, netsmith.hardware as h\n"
        "assert 'bitfusion' in h.target_names()\n"
        "assert not {m for m in sys.modules if m.startswith('netsmith.hardware.simulated.bitfusion.search')}\n"
        "h.get_target('bitfusion')\n"
        "assert not {'torch', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_results_carry_configuration_and_rules():
    target = get_target("bitfusion", dram_pj_per_bit=6.0, rows=8)
    stored = json.loads(json.dumps(settings_of(target)))
    assert stored["simulated"] is True
    assert stored["config"]["dram_pj_per_bit"] == 6.0
    assert BitFusionConfig(**stored["config"]) == target.config
    assert target.config == dataclasses.replace(BF_E, dram_pj_per_bit=6.0, rows=8)
    assert {"depthwise", "wide operands", "groups", "products"} == set(stored["extensions"])
    assert "not exact" in stored["extensions"]["depthwise"]
    assert settings_of(get_target("bitfusion", extensions=False))["extensions"] == {}


def test_equal_costs_before_and_after_other_tables():
    """What it remembers cannot be seen: another table in between, and more layers than it keeps, change nothing."""
    target, fresh = BitFusion(BF_E), BitFusion(BF_E)
    mine = table(*RESNET18)
    first = target.cost(mine)
    many = mine.replace(c_out=mine.c_out + np.arange(30)[:, None])
    costs = target.cost(many)
    for again in (target.cost(mine), fresh.cost(mine)):
        np.testing.assert_array_equal(again.energy_j, first.energy_j)
    np.testing.assert_array_equal(costs.cycles[0], first.cycles)
    first.cycles[...] = -1
    target.mapping(mine).compute_cycles[...] = -1
    np.testing.assert_array_equal(target.cost(mine).energy_j, fresh.cost(mine).energy_j)
    assert (target.cost(mine).cycles > 0).all()


def test_it_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr("netsmith.hardware.simulated.bitfusion.target._KEPT", 5)
    target, mine = BitFusion(BF_E), table(*RESNET18)
    np.testing.assert_array_equal(target.cost(mine).energy_j, BitFusion(BF_E).cost(mine).energy_j)
    target.cost(mine.take(np.arange(3)))
    assert len(target._kept) <= 5
    np.testing.assert_array_equal(target.cost(mine).energy_j, BitFusion(BF_E).cost(mine).energy_j)


# ---- operands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "w", "p"),
    [(8, 8, 1), (8, 4, 2), (4, 4, 4), (2, 2, 16), (6, 6, 1), (3, 3, 4), (1, 1, 16), (8, 2, 4), (4, 2, 8)],
)
def test_products_per_unit_and_cycle(a, w, p):
    assert [int(v) for v in parallelism(BF_E, np.array(a), np.array(w))] == [p, 1]
    roof = roof_of(BitFusion(BF_E), w, a)
    assert roof.macs_per_s == 512 * p * 500e6
    assert roof.bytes_per_s == 12e9


@pytest.mark.parametrize(("narrow", "wide"), [(6, 8), (5, 8), (7, 8), (3, 4), (1, 2)])
def test_odd_widths_compute_like_the_next_even_split_and_move_less(narrow, wide):
    """In a mapping that both share; the best mappings may differ, and then edges and traffic do, but not in sum."""

    def both(config):
        return (BitFusion(config).mapping(table(*RESNET18, bits=(b, b))) for b in (narrow, wide))

    def moved(mapping):
        return mapping.dram_read_bits + mapping.dram_write_bits

    few, many = both(BF_E)
    same = np.logical_and.reduce([getattr(few, n) == getattr(many, n) for n in ("tile_ow", "tile_ic", "tile_oc")])
    assert same.any()
    np.testing.assert_array_equal(few.compute_cycles[same], many.compute_cycles[same])
    same &= few.loop_order == many.loop_order
    assert same.any() and (moved(few)[same] < moved(many)[same]).all()
    assert moved(few).sum() < moved(many).sum()

    # layer by layer, where memory is no limit, and where it is the only one
    roomy = dict.fromkeys(("wbuf_bytes", "ibuf_bytes", "obuf_bytes"), 2**24) | {"dram_bits_per_cycle": 2**40}
    few, many = both(dataclasses.replace(BF_E, **roomy))
    np.testing.assert_array_equal(few.compute_cycles, many.compute_cycles)
    few, many = both(dataclasses.replace(BF_E, dram_bits_per_cycle=1))
    assert (moved(few) < moved(many)).all()


def test_sixteen_bits_take_two_and_four_cycles():
    target, layer = BitFusion(dataclasses.replace(BF_E, dram_bits_per_cycle=2**30)), conv(64, 64, 3, 8)
    pairs = ((8, 8), (16, 8), (8, 16), (16, 16))
    compute = {b: int(target.mapping(table(layer, bits=b)).compute_cycles[0]) for b in pairs}
    assert compute[16, 8] == compute[8, 16] == 2 * compute[8, 8]
    assert compute[16, 16] == 4 * compute[8, 8]
    assert target.mapping(table(layer, bits=(16, 8))).extension.all()
    assert roof_of(target, 16, 16).macs_per_s * 4 == roof_of(target, 8, 8).macs_per_s
    assert roof_of(target, 32, 32) is None


# ---- kinds of rows --------------------------------------------------------------------------------------------------


def test_depthwise_convolutions_follow_the_calibrated_rule():
    """96 channels, 3 x 3 on 28 x 28: 8 p products a cycle, 1/64 of the array at 8 bits; every operand moved once."""
    target = BitFusion(BF_E)
    rows = [conv(96, 96, 3, 28, groups=96)]
    for (w, a), p in {(8, 8): 1, (8, 4): 2, (4, 4): 4, (2, 2): 16}.items():
        found = target.mapping(table(*rows, bits=(w, a)))
        macs = 96 * 28 * 28 * 9
        inputs, weights, outputs = 96 * 30 * 30 * a, 96 * 9 * w, 96 * 28 * 28 * 32
        assert found.rule_name[0] == "depthwise" and found.extension[0]
        assert found.compute_cycles[0] == -(-macs // (8 * p))
        assert (found.dram_read_bits[0], found.dram_write_bits[0]) == (inputs + weights + outputs, outputs)
        transfer = -(-(inputs + weights + 2 * outputs) // 192)
        assert found.cycles[0] == max(found.compute_cycles[0], transfer)
        assert target.cost(table(*rows, bits=(w, a))).bound[0] == ("compute" if p < 4 else "memory")
    assert found.loop_order_name[0] == ""


def test_groups_and_heads_take_their_turns():
    target = BitFusion(BF_E)
    one = target.mapping(table(conv(32, 16, 3, 14)), batch=2)
    grouped = target.mapping(table(conv(4 * 32, 4 * 16, 3, 14, groups=4)), batch=2)
    np.testing.assert_array_equal(grouped.counts, 4 * one.counts)
    assert grouped.extension[0] and not one.extension[0]

    head = target.mapping(table({"kind": LINEAR, "c_in": 64, "c_out": 196, "h_out": 196}, bits=(4, 4)))
    product = {"kind": MATMUL, "c_in": 3 * 64, "c_out": 3 * 196, "groups": 3, "h_out": 196}
    # both operands are activations, so the width of weights is of no account; each sample has its own
    for w in (8, 4, 32):
        heads = target.mapping(table(product, bits=(w, 4)), batch=5)
        np.testing.assert_array_equal(heads.counts, 15 * head.counts)
        assert heads.repeats[0] == 15 and heads.extension[0]


def test_tokens_of_a_linear_layer_are_pixels_in_one_direction():
    target = BitFusion(BF_E)
    linear = target.mapping(table({"kind": LINEAR, "c_in": 192, "c_out": 768, "h_in": 197, "h_out": 197}))
    pointwise = target.mapping(table(conv(192, 768, 1, 197) | {"w_in": 1, "w_out": 1}))
    np.testing.assert_array_equal(linear.counts, pointwise.counts)
    assert linear.tile_ow[0] == 1
    assert not linear.extension[0]


def test_only_images_are_unfolded():
    image, four, five = conv(3, 32, 3, 16), conv(4, 32, 3, 16), conv(5, 32, 3, 16)
    rows = table(image, four, five, conv(3, 32, 1, 16), conv(4, 8, 3, 16, groups=2))
    rules = BitFusion(BF_E).mapping(rows).rule_name
    assert rules.tolist() == ["im2col", "im2col", "direct", "direct", "direct"]
    fewer = dataclasses.replace(BF_E, im2col_channels=0)
    assert BitFusion(fewer).mapping(table(conv(3, 32, 3, 16))).rule_name[0] == "direct"


def test_glue_costs_nothing():
    glue = [{"kind": k, "c_in": 64, "c_out": 64, "h_out": 8} for name, k in KIND.items() if name not in COMPUTE]
    cost = BitFusion(BF_E).cost(table(*glue, bits=(32, 32)))
    assert not cost.latency_s.any() and not cost.energy_j.any() and not cost.traffic_bytes.any()


# ---- parameters -----------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    c_in=st.integers(1, 300), c_out=st.integers(1, 300), kernel=st.sampled_from([1, 3, 5]), out=st.integers(1, 30),
    bits=st.tuples(st.integers(1, 16), st.integers(1, 16)), batch=st.integers(1, 20), depthwise=st.booleans(),
    widths=st.lists(st.integers(1, 4096), min_size=2, max_size=5),
)  # fmt: skip
def test_more_bandwidth_never_takes_more_cycles(c_in, c_out, kernel, out, bits, batch, depthwise, widths):
    """Larger memories and fewer bits may: what is resident is loaded before anything computes. That is not asserted."""
    row = conv(c_in, c_in, kernel, out, groups=c_in) if depthwise else conv(c_in, c_out, kernel, out)
    cycles = [
        BitFusion(dataclasses.replace(BF_E, dram_bits_per_cycle=width)).cost(table(row, bits=bits), batch).cycles[0]
        for width in sorted(widths)
    ]
    assert (np.diff(cycles) <= 0).all()


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"clock_hz": 1e9}, {"latency_s"}),
        ({"dram_pj_per_bit": 6.0}, {"energy_j"}),
        ({"core_pj_per_cycle": 100.0}, {"energy_j"}),
        ({"wbuf_read_pj_per_bit": 1.0}, {"energy_j"}),
        ({"dram_bits_per_cycle": 64}, {"cycles", "latency_s"}),
        ({"rows": 8}, {"cycles", "latency_s"}),
        ({"columns": 16}, {"cycles", "latency_s"}),
        ({"wbuf_bytes": 8192}, {"cycles", "traffic_bytes"}),
        ({"ibuf_bytes": 2048}, {"cycles", "traffic_bytes"}),
        ({"obuf_bytes": 2048}, {"cycles", "traffic_bytes"}),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_every_parameter_counts(change, differs):
    before, after = (BitFusion(c).cost(table(*RESNET18)) for c in (BF_E, dataclasses.replace(BF_E, **change)))
    names = ("latency_s", "energy_j", "traffic_bytes", "cycles")
    changed = {n for n in names if (getattr(before, n) != getattr(after, n)).any()}
    assert differs <= changed
    if "dram_pj_per_bit" in change:
        np.testing.assert_allclose(after.energy_parts["dram"], before.energy_parts["dram"] * 6 / 15, rtol=1e-12)
        assert changed == differs


def test_published_configurations():
    facts = {
        "bf_e": (16, 32, 500e6, 192, 64, 32, 16), "bf_s": (16, 32, 980e6, 4096, 128, 128, 128),
        "small": (8, 8, 500e6, 128, 256, 64, 16),
    }  # fmt: skip
    for name, (rows, columns, clock, width, *kibibytes) in facts.items():
        c = published(name)
        assert (c.rows, c.columns, c.clock_hz, c.dram_bits_per_cycle) == (rows, columns, clock, width)
        assert [c.wbuf_bytes, c.ibuf_bytes, c.obuf_bytes] == [k * 1024 for k in kibibytes]
        # published for bf_e; for the others our derivation from it, to the digits in the file
        energies = derived_energies(c.rows, c.columns, c.wbuf_bytes, c.ibuf_bytes, c.obuf_bytes)
        for key, value in energies.items():
            assert getattr(c, key) == pytest.approx(value, rel=5e-4), key
    assert published("bitfusion-edge") == BF_E == published("bf_e")
    with pytest.raises(InputError, match=r"'bitfusion-clout' \(did you mean 'bitfusion-cloud'\?\)"):
        published("bitfusion-clout")


def test_memory_energies_are_the_published_points():
    assert sram_pj_per_bit(128) == pytest.approx((0.684 / 32, 0.925 / 32))
    assert sram_pj_per_bit(8192) == pytest.approx((6.392 / 32, 5.563 / 32))
    low, between, high = (sram_pj_per_bit(b)[0] for b in (1024, 1500, 2048))
    assert low < between < high
    for size in (64, 32768):
        with pytest.raises(InputError, match=f"bank of {size} bytes, only of 128 to 16384"):
            sram_pj_per_bit(size)


# ---- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rows", 0, "'rows' must be at least 1, not 0"),
        ("rows", 2.5, "'rows' must be a whole number"),
        ("columns", True, "'columns' must be a whole number"),
        ("clock_hz", float("nan"), "'clock_hz' must be finite"),
        ("dram_pj_per_bit", -1, "'dram_pj_per_bit' must be at least 0"),
        ("extensions", 1, "'extensions' must be true or false"),
        ("name", 8, "'name' must be a text"),
        ("min_bits", 9, r"'min_bits' must be at most max_bits \(8\), not 9"),
        ("max_bits", 32, "'max_bits' must be at most 15"),
        ("wbuf_bytes", "64K", "'wbuf_bytes' must be a whole number"),
    ],
)
def test_a_wrong_parameter_is_named(key, value, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(BF_E, **{key: value})


@pytest.mark.parametrize(
    ("row", "bits", "message"),
    [
        (conv(16, 16, 3, 8), (32, 32), "layer 'layer1' is in floating point, .* --bits 8"),
        (conv(16, 16, 3, 8), (8, 32), "layer 'layer1' is in floating point"),
        ({"kind": MATMUL, "c_in": 8, "c_out": 8}, (8, 32), "layer 'layer1' is in floating point"),
        (conv(16, 16, 3, 8), (20, 8), "'layer1' has activations of 8 and weights of 20 bits, .* 1 to 16 bits"),
        (conv(16, 16, 3, 8), (0, 8), "'layer1' has activations of 8 and weights of 0 bits"),
        (conv(16, 16, 600, 8), (8, 8), "layer 'layer1' fits the memories of target bitfusion with no tile"),
        (conv(2**20, 2**20, 3, 2**12), (8, 8), "layer 'layer1' is too large"),
    ],
)
def test_a_row_that_cannot_be_priced_is_named(row, bits, message):
    good, bad = table(conv(16, 16, 3, 8)).row(0), table(row, bits=bits).row(0) | {"name": "layer1"}
    with pytest.raises(InputError, match=message):
        BitFusion(BF_E).cost(LayerTable.from_rows([good, bad]))


@pytest.mark.parametrize(
    ("row", "bits"),
    [
        (conv(16, 16, 3, 8, groups=16), (8, 8)), (conv(16, 16, 3, 8, groups=2), (8, 8)), (conv(16, 16, 3, 8), (16, 8)),
        (conv(16, 16, 3, 8), (4, 9)), ({"kind": MATMUL, "c_in": 8, "c_out": 8}, (8, 8)),
    ],
)  # fmt: skip
def test_extensions_can_be_switched_off(row, bits):
    plain = get_target("bitfusion", extensions=False)
    rows = table(conv(16, 16, 3, 8), row).replace(w_bits=np.array([8, bits[0]]), a_bits=np.array([8, bits[1]]))
    assert BitFusion(BF_E).cost(rows).latency_s.all()
    with pytest.raises(InputError, match=r"layer 'layer1' .* lacks .* set extensions to true|'layer1' .* 1 to 8 bits"):
        plain.cost(rows)
    assert plain.cost(rows.take([0])).latency_s.all()  # what the simulator has is priced as before
    assert roof_of(plain, 16, 8) is None


@pytest.mark.parametrize("batch", [0, -1, 1.5, True, "2"])
def test_the_batch_is_a_whole_number(batch):
    with pytest.raises(InputError, match="batch must be a whole number above 0"):
        BitFusion(BF_E).cost(table(conv(16, 16, 3, 8)), batch)


def test_parameters_on_the_command_line():
    target = get_target("bitfusion:dram_pj_per_bit=6,extensions=false")
    assert target.config == dataclasses.replace(BF_E, dram_pj_per_bit=6.0, extensions=False)
    for spec in ("bitfusion:dram=6", "bitfusion:rows=0", "bitfusion:rows=x", "bitfusion:rows"):
        with pytest.raises(InputError, match="bitfusion"):
            get_target(spec)

"""Keys and fragments: every kind of row becomes operators that run, in the variant that a network uses."""

from __future__ import annotations

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware.measured import microbench
from netsmith.hardware.measured.calibrate import fit
from netsmith.hardware.measured.microbench import CONTROL, STREAM, Entry, _count, _optimised, measure, replicate
from netsmith.hardware.measured.timing import quiet
from netsmith.hardware.table.keys import BLOCKED, ENTRY, MIXED, PLAIN, Key, keys_of, unique_keys
from netsmith.network.layers import ACTIVATION, ACTIVATIONS, KIND, KINDS, MAPS, LayerTable
from netsmith.network.layers import MIXED as MIXED_LAYOUT
from netsmith.network.layers import PLAIN as PLAIN_LAYOUT


def key(kind: str, c_in: int, c_out: int, h_in: int, h_out: int, kernel: int = 1, stride: int = 1, groups: int = 1,
        activation: str = "none", bits: int = 32, context: int = PLAIN) -> Key:  # fmt: skip
    return Key(
        KIND[kind], c_in, c_out, kernel, kernel, stride, groups, h_in, h_in, h_out, h_out, ACTIVATION[activation],
        bits, context,
    )  # fmt: skip


def operators(*keys: Key) -> list[list[str]]:
    """Operator types that count for each key."""
    model, parts = _optimised(list(keys), 1, 0)
    types = {n.name: n.op_type for n in model.graph.node}
    return [[types[n] for n in _count(model.graph, parts, i, k)[0]] for i, k in enumerate(keys)]


def test_convolutions_run_in_the_variant_of_a_whole_network() -> None:
    found = operators(
        key("conv", 16, 16, 16, 16, 3, activation="relu", context=BLOCKED),
        key("conv", 3, 16, 16, 16, 3, activation="relu", context=ENTRY),
        key("conv", 32, 32, 16, 8, 3, 2, groups=32, activation="relu6", context=BLOCKED),
        key("conv", 16, 16, 16, 16, 3, activation="relu", bits=8),
        key("conv", 32, 32, 16, 8, 3, 2, groups=32, activation="relu6", bits=8),
        key("conv", 3, 16, 16, 16, 3, activation="relu", bits=8, context=ENTRY),
    )
    assert found[:3] == [["Conv"]] * 3
    assert found[3:5] == [["QLinearConv"]] * 2
    assert sorted(found[5]) == ["QLinearConv", "QuantizeLinear", "Transpose"]


def test_a_grouped_convolution_pays_for_leaving_the_blocked_layout() -> None:
    base = key("conv", 24, 24, 16, 16, 3, context=BLOCKED)
    grouped, rectified, deep = operators(
        base._replace(groups=6), base._replace(groups=6, activation=ACTIVATION["relu"]), base._replace(groups=24)
    )
    assert grouped == ["ReorderOutput", "Conv", "ReorderInput"]
    assert rectified == ["ReorderOutput", "FusedConv", "ReorderInput"]
    assert deep == ["Conv"]  # its channels are padded to whole blocks


def test_an_addition_is_fused_integer_or_out_of_layout() -> None:
    found = operators(
        key("add", 16, 16, 16, 16, activation="relu", context=BLOCKED),
        key("add", 16, 16, 16, 16, activation="relu", context=MIXED),
        key("add", 16, 16, 16, 16, activation="relu", bits=8),
    )
    assert found[0] == []
    assert sorted(found[1]) == ["Add", "Relu", "ReorderInput", "ReorderOutput"]
    assert found[2] == ["QLinearAdd"]


@pytest.mark.parametrize("bits", [32, 8])
def test_every_kind_can_be_measured(bits: int) -> None:
    keys = []
    for kind in KINDS:
        maps = kind in ("add", "mul", "activation", "maxpool", "avgpool", "concat", "norm", "conv")
        context = BLOCKED if maps and bits == 32 else PLAIN
        pooled = kind in ("maxpool", "avgpool")
        keys.append(key(kind, 32, 32, 8, 4 if pooled else 8, 2 if pooled else 1, 2 if pooled else 1, bits=bits,
                        activation="relu" if kind == "activation" else "none", context=context))  # fmt: skip
    keys += [key("activation", 16, 16, 8, 8, activation=a, bits=bits) for a in ACTIVATIONS[1:]]
    keys += [
        key("avgpool", 32, 32, 8, 1, 8, bits=bits, context=BLOCKED if bits == 32 else PLAIN),
        key("linear", 32, 10, 1, 1, bits=bits), key("pad", 32, 64, 8, 8, bits=bits),
        key("reshape", 32, 32, 8, 4, bits=bits), key("matmul", 32, 64, 4, 4, groups=2, bits=bits),
        key("conv", 12, 20, 8, 8, 5, activation="hardswish", bits=bits, context=BLOCKED if bits == 32 else PLAIN),
    ]  # fmt: skip
    campaign = measure(keys, min_rounds=2, max_rounds=2, max_drift=1e9)
    assert set(campaign.entries) == set(keys)
    for k in keys:
        entry = campaign.entries[k]
        assert np.isfinite(entry.seconds) and entry.seconds >= 0 and entry.n == 4  # two a round
        if k.kind < 3:
            assert entry.seconds > 0 and entry.nodes >= 1


def test_disturbed_chunks_are_repeated_and_the_least_disturbed_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute undisturbed, memory disturbed in the first run of the second chunk only."""
    keys = [key("conv", 16, c, 8, 8) for c in range(1, 61)]  # two chunks
    streams = iter([40e-6, 120e-6, 42e-6, 90e-6, 80e-6, 85e-6])
    chunks: list[list[Key]] = []

    def chunk(of: list[Key], *_: object) -> dict[Key, Entry]:
        chunks.append(of)
        stream = next(streams)
        times = dict.fromkeys(of, stream) | {CONTROL: 41e-6, STREAM: stream}
        return {k: Entry(t, 0.0, 10, 1) for k, t in times.items()}

    monkeypatch.setattr(microbench, "_chunk", chunk)
    done: list[tuple[int, int]] = []
    kept: list[tuple[int, list[Key]]] = []
    campaign = measure(
        keys, progress=lambda *at: done.append(at), keep=lambda c: kept.append((len(c.entries), list(c.again)))
    )
    assert chunks == [keys[0::2], keys[1::2], keys[1::2]]
    assert [campaign.entries[k].seconds for k in keys] == [40e-6, 42e-6] * 30
    assert campaign.control_s == ((41e-6, 40e-6), (41e-6, 120e-6), (41e-6, 42e-6))
    assert campaign.drift == pytest.approx(2.0)
    assert done == [(30, 60), (60, 90), (90, 90)]  # nothing is called done while a chunk is to be repeated
    assert kept == [(30, []), (60, keys[1::2]), (60, [])] and campaign.again == ()
    # disturbed throughout, as an earlier campaign shows: tried three times, and no more
    assert measure(keys[:5], steady=campaign.control_s).entries[keys[0]].seconds == 80e-6
    assert len(chunks) == 6


def test_more_work_takes_longer(processor_time: None) -> None:
    sizes = [
        key("conv", c, c, 16, 16, 3, bits=b, context=BLOCKED if b == 32 else PLAIN) for b in (32, 8) for c in (32, 128)
    ]
    entries = measure(sizes, max_rounds=30).entries
    small, large, small8, large8 = (entries[k].seconds for k in sizes)
    assert large > 4 * small and large8 > 3 * small8


def test_a_row_that_is_no_operator_is_named() -> None:
    with pytest.raises(InputError, match=r"conv 10x8x8 -> 10x8x8 .* groups 3"):
        measure([key("conv", 10, 10, 8, 8, groups=3), key("conv", 16, 16, 8, 8)])


def test_keys_hold_what_matters() -> None:
    base = {"name": "c", "kind": KIND["conv"], "c_in": 16, "c_out": 16, "h_in": 8, "w_in": 8, "h_out": 8, "w_out": 8}
    table = LayerTable.from_rows([base])
    same = keys_of(table)
    for column, value in {
        "c_in": 32, "c_out": 32, "kernel_h": 3, "kernel_w": 3, "stride": 2, "groups": 16, "h_in": 9, "w_in": 9,
        "h_out": 4, "w_out": 4, "activation": 1,
    }.items():  # fmt: skip
        assert (keys_of(table.replace(**{column: value})) != same).any(), column
    assert (keys_of(table.replace(w_bits=8, a_bits=8)) != same).any()
    assert (keys_of(table.replace(bias=1)) == same).all()


def test_bits_without_a_kernel_are_the_next_wider_ones() -> None:
    table = LayerTable.from_rows([{"name": "c", "kind": KIND["conv"], "c_in": 16, "c_out": 16}])
    bits = [keys_of(table.replace(w_bits=w, a_bits=a))[0, Key._fields.index("bits")]
            for w, a in [(8, 8), (4, 8), (2, 4), (16, 16), (8, 32), (32, 32), (4, 16)]]  # fmt: skip
    assert bits == [8, 8, 8, 32, 32, 32, 32]


def test_layout_of_the_graph_decides_the_context() -> None:
    image = {"h_in": 8, "w_in": 8, "h_out": 8, "w_out": 8, "c_in": 16, "c_out": 16}
    rows = [("conv", MAPS), ("add", MAPS), ("pad", MIXED_LAYOUT), ("add", MIXED_LAYOUT), ("add", PLAIN_LAYOUT)]
    table = LayerTable.from_rows(
        [{"name": str(i), "kind": KIND[k], "layout": x, **image} for i, (k, x) in enumerate(rows)]
    )
    column = Key._fields.index("context")
    assert keys_of(table)[:, column].tolist() == [BLOCKED, BLOCKED, PLAIN, MIXED, PLAIN]
    assert keys_of(table.replace(w_bits=8, a_bits=8))[:, column].tolist() == [PLAIN] * 5


def test_unique_keys_rebuild_the_population() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 3, (50, 7, 14))
    distinct, where = unique_keys(keys)
    assert where.shape == (50, 7)
    assert (distinct[where] == keys).all()
    assert len(distinct) == len(np.unique(keys.reshape(-1, 14), axis=0))


def test_quiet_ignores_neighbours() -> None:
    rng = np.random.default_rng(0)
    clean = 100e-6 + rng.normal(0, 1e-6, 200)
    noisy = clean + (rng.random(200) < 0.3) * rng.exponential(300e-6, 200)
    assert quiet(noisy) == pytest.approx(100e-6, rel=0.02)


def test_fit_recovers_the_parts_of_a_network() -> None:
    rng = np.random.default_rng(0)
    rows = np.zeros((12, 3))
    for i in range(12):
        rows[i, i % 2], rows[i, 2] = rng.uniform(1e-4, 3e-3), 1
    calibration = fit(rows, rows @ np.array([1.0, 1.05, 8e-6]))
    assert calibration.gamma == pytest.approx((1.0, 1.05), abs=1e-3)
    assert calibration.beta_s == pytest.approx(8e-6, abs=1e-7)
    assert calibration.residual < 1e-4


def test_copies_are_added_with_weights_of_their_own() -> None:
    import onnx

    conv = key("conv", 16, 16, 8, 8, 3, activation="relu", context=BLOCKED)
    model, parts = _optimised([conv], 1, 0)
    counted, _ = _count(model.graph, parts, 0, conv)
    plain, with_three = (
        onnx.load_from_string(replicate(model, parts.sinks[0], set(counted), n)[0]).graph for n in (0, 3)
    )
    assert len(with_three.node) == len(plain.node) + 3
    assert (
        len({n.input[1] for n in with_three.node if n.op_type == "Conv"}) == 6
    )  # the producer, the layer, three copies, the consumer
    assert {n.input[0] for n in with_three.node if n.name.startswith(counted[0])} == {
        n.input[0] for n in plain.node if n.name == counted[0]
    }

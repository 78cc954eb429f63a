"""Layers priced by a predictor, tables calibrated with whole networks, and choosing by another device's table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware import get_target, prepare_target
from netsmith.hardware.devices.readers import read_table
from netsmith.hardware.devices.target import TableTarget
from netsmith.hardware.predictor import fit_additive, fit_layers, fit_predictor
from netsmith.hardware.predictor.features import NAMES, layer_features
from netsmith.hardware.predictor.layers import fused_patterns
from netsmith.hardware.predictor.target import PredictorTarget
from netsmith.hardware.table.calibration import Calibration
from netsmith.hardware.table.entry import Entry
from netsmith.hardware.table.keys import Key, keys_of, unique_keys
from netsmith.hardware.table.latency import LatencyTable
from netsmith.network.layers import KIND, MAPS, LayerTable
from netsmith.progress import Silent
from netsmith.testing.targets import check_target, example_table
from work import calls


def device(key: Key) -> float:
    """A machine with a rate, a bandwidth and an overhead."""
    macs = key.c_in * key.c_out / key.groups * key.kernel_h * key.kernel_w * key.h_out * key.w_out * (key.kind < 3)
    moved = (key.c_in * key.h_in * key.w_in + key.c_out * key.h_out * key.w_out) * key.bits / 8
    return 1e-6 + macs / (2e10 if key.bits == 32 else 5e10) + moved / 1e10


def measured(rows: int = 300, noise: float = 0.02) -> LatencyTable:
    """A table of that machine: random convolutions and linear layers, with additions that are fused."""
    rng = np.random.default_rng(0)
    entries: dict[Key, Entry] = {}
    base = [example_table((b, b)) for b in (32, 8)]
    rows_of = [Key(*k) for t in base for k in keys_of(t).tolist()]
    for _ in range(rows):
        key = rows_of[rng.integers(len(rows_of))]
        c_in, c_out, size = (int(v) for v in (*(2 ** rng.uniform(3, 8, 2)), rng.choice([4, 8, 16, 32])))
        if key.groups == key.c_in > 1 or key.kind == KIND["add"] or key.kind == KIND["avgpool"]:
            c_out = c_in
        if key.kind == KIND["matmul"]:
            c_in, c_out = c_in // 4 * 4, c_out // 4 * 4
        groups = c_in if key.groups == key.c_in > 1 else key.groups
        c_in = 3 if key.context == 3 else c_in
        if key.kind == KIND["conv"]:
            out = -(-size // key.stride)
            key = key._replace(h_in=size, w_in=size, h_out=out, w_out=out)
        key = key._replace(c_in=c_in, c_out=c_out, groups=groups)
        fused = key.kind == KIND["add"] and key.bits == 32
        seconds = 0.0 if fused else device(key) * float(np.exp(rng.normal(0, noise)))
        entries[key] = Entry(seconds, seconds / 20, 50, 0.0 if fused else 1.0)
    return LatencyTable("cpu", 1, "f", {"processor": "P"}, entries, Calibration((1.1, 0.9), 5e-6, 0.02))


TABLE = measured()


@pytest.fixture(scope="module")
def predictor():
    return fit_layers(TABLE, "mlp", folds=2)


def test_layers_are_predicted_with_their_quality(predictor) -> None:
    m = predictor.metrics
    assert predictor.names == NAMES and predictor.device == {"processor": "P"}
    assert m["predictor"]["mape"] < 0.1 and m["predictor"]["tau"] > 0.9 and m["predictor"]["within_10"] > 0.7
    assert m["predictor"]["mape"] < 0.2 * m["linear"]["mape"]


def test_target_prices_layers_that_were_not_measured(tmp_path: Path, predictor) -> None:
    predictor.save(tmp_path / "p.safetensors")
    target = get_target(f"predictor:{tmp_path / 'p.safetensors'}")
    assert isinstance(target, PredictorTarget) and not target.capabilities.measured
    table = example_table()
    cost = target.cost(table)
    keys = [Key(*k) for k in keys_of(table).tolist()]
    true = np.array([0.0 if k.kind == KIND["add"] else 1.1 * device(k) for k in keys])
    work = true > 0
    assert cost.latency_s[~work].sum() == 0 and cost.fixed_s == 5e-6  # a fused addition is free
    assert cost.latency_s[work] == pytest.approx(true[work], rel=0.35)
    assert cost.latency_s.sum() == pytest.approx(true.sum(), rel=0.15)
    margin = get_target(f"predictor:{tmp_path / 'p.safetensors'},quantile=0.9").cost(table).latency_s
    assert (margin[work] > cost.latency_s[work]).all()
    integers = target.cost(example_table((8, 8))).latency_s
    assert integers.sum() < cost.latency_s.sum()
    check_target(target)


def test_ten_thousand_candidates_are_priced_at_once(predictor) -> None:
    table = example_table().take([2] * 20)
    widths = np.random.default_rng(0).integers(8, 257, (10_000, 20))
    population, few = table.replace(c_out=widths), table.replace(c_out=widths[:100])
    target = PredictorTarget(predictor)
    assert target.cost(population).latency_s.shape == (10_000, 20)
    assert calls(lambda: target.cost(population)) < 1.2 * calls(lambda: target.cost(few))


def test_messages(tmp_path: Path, predictor) -> None:
    table = example_table()
    target = PredictorTarget(predictor)
    softmax = table.replace(kind=np.where(table.kind == KIND["add"], KIND["softmax"], table.kind))
    assert target.unpriced(softmax) == ("add",) and target.unpriced(table) == ()
    with pytest.raises(InputError, match=r"no layer like add \(1 of 8 layers\)"):
        target.cost(softmax)
    with pytest.raises(InputError, match="batch 1, not 4"):
        target.cost(table, batch=4)
    rng = np.random.default_rng(0)
    fit_predictor(rng.random((20, 2)), 1 + rng.random(20), "ridge").save(tmp_path / "v.safetensors")
    for spec, message in [
        ("predictor", "needs a file"), ("predictor:none", "does not exist"), ("predictor:x,quantil=1", "did you mean"),
        ("predictor:x,quantile=high", "a share such as 0.9"),
        (f"predictor:{tmp_path / 'v.safetensors'}", "predicts from feature 0, feature 1..., not from layers"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=message):
            get_target(spec)
    with pytest.raises(InputError, match="with other kinds of layers"):
        PredictorTarget(replace(predictor, names=predictor.names[:-1]))
    with pytest.raises(InputError, match="held-out rows"):
        PredictorTarget(predictor, quantile=0.999)
    (tmp_path / "t.csv").write_text("kind,c_in,c_out,kernel,size,latency_ms\nconv,3,8,3,8,1\n")
    with pytest.raises(InputError, match="a table that target cpu or read_timings made"):
        fit_layers(read_table(tmp_path / "t.csv"))


def test_fused_patterns_are_read_off_the_table() -> None:
    fused = fused_patterns(TABLE)
    assert {p[0] for p in fused} == {KIND["add"]} and {p[2] for p in fused} == {32}


def test_features_grow_with_the_work() -> None:
    key = np.array([next(k for k in TABLE.entries if k.kind == KIND["conv"] and k.groups == 1)])
    more = key.copy()
    more[:, Key._fields.index("c_out")] *= 2
    before, after = layer_features(key)[0], layer_features(more)[0]
    for name in ("log2 c_out", "log2 padded macs", "log2 bytes out", "log2 bytes of weights"):
        assert after[NAMES.index(name)] > before[NAMES.index(name)], name
    assert np.isfinite(layer_features(np.array(list(TABLE.entries)))).all()


# ---- tables and whole networks ---------------------------------------------------------------------------------------


def chain(width: int, depth: int, bits: int = 32) -> LayerTable:
    image = {"h_in": 16, "w_in": 16, "h_out": 16, "w_out": 16, "kernel_h": 3, "kernel_w": 3, "layout": MAPS}
    row = {"kind": KIND["conv"], "c_in": width, "c_out": width, "w_bits": bits, "a_bits": bits}
    return LayerTable.from_rows([{"name": f"{i}"} | row | image for i in range(depth)])


def test_a_table_is_calibrated_with_whole_networks(tmp_path: Path) -> None:
    networks = [chain(w, d, b) for w in (16, 32, 64) for d in (2, 6) for b in (32, 8)]
    entries = {Key(*k): Entry(device(Key(*k)), 0, 10, 1) for n in networks for k in unique_keys(keys_of(n))[0].tolist()}
    table = LatencyTable("cpu", 1, "f", {"processor": "P"}, entries)
    sums = np.array([TableTarget(table).cost(n).latency_s.sum() for n in networks])
    integer = np.array([n.a_bits[0] == 8 for n in networks])
    whole = 3e-5 + np.where(integer, 1.4, 1.2) * sums
    calibrated, score = fit_additive(table, networks, whole)
    assert calibrated.calibration is not None and table.calibration is None
    assert calibrated.calibration.gamma == pytest.approx((1.2, 1.4), rel=1e-3)
    assert calibrated.calibration.beta_s == pytest.approx(3e-5, rel=1e-3)
    assert calibrated.calibration.rank == pytest.approx(1) and score.mape < 1e-3 and score.rows == 12
    calibrated.save(tmp_path / "t.json")
    cost = get_target(f"table:{tmp_path / 't.json'}").cost(networks[3])
    assert cost.fixed_s + cost.latency_s.sum() == pytest.approx(whole[3], rel=1e-3)
    with pytest.raises(InputError, match="at least 4"):
        fit_additive(table, networks[:3], whole[:3])
    with pytest.raises(InputError, match="not above 0"):
        fit_additive(table, networks, whole * 0)
    with pytest.raises(InputError, match="has no conv 99x16x16"):
        fit_additive(table, [*networks, chain(99, 1)], [*whole, 1.0])


def test_each_devices_table_finds_its_own_network(tmp_path: Path) -> None:
    """A device that is slow at channels and one that is slow at layers: the other's best network is not one's own."""
    space = [chain(w, d) for w, d in [(64, 1), (32, 4), (16, 16)]]  # alike in multiply-accumulates
    assert len({int(n.macs.sum()) for n in space}) == 1
    head = "kind,c_in,c_out,kernel,size,latency_us\n"
    for name, time_of in {"wide": lambda c: 5 + c**2 / 1e3, "deep": lambda c: c**2.5 / 1e3}.items():
        rows = "".join(f"conv,{c},{c},3,16,{time_of(c)}\n" for c in (16, 32, 64))
        (tmp_path / f"{name}.csv").write_text(head + rows)
    prices = {
        name: np.array([get_target(f"table:{tmp_path / name}.csv").cost(n).latency_s.sum() for n in space])
        for name in ("wide", "deep")
    }
    own = {name: int(p.argmin()) for name, p in prices.items()}
    assert own == {"wide": 0, "deep": 2}
    assert prices["wide"][own["deep"]] > 1.5 * prices["wide"][own["wide"]]
    assert prices["deep"][own["wide"]] > 1.5 * prices["deep"][own["deep"]]


def test_the_predictor_keeps_to_the_channel_steps_of_its_table(tmp_path: Path) -> None:
    made = fit_layers(replace(TABLE, channel_multiple=16), "ridge", folds=2)
    made.save(tmp_path / "p.safetensors")
    target = get_target(f"predictor:{tmp_path / 'p.safetensors'}")
    assert target.capabilities.channel_multiple == 16
    assert PredictorTarget(fit_layers(TABLE, "ridge", folds=2)).capabilities.channel_multiple == 1
    rows = example_table((32, 32)).take([0, 0, 1])
    prepare_target(target, rows, Silent())  # refuses nothing
    with pytest.raises(InputError, match=r"no layer like \S+ \(1 of 2 layers\) in its kind, activation and bits"):
        prepare_target(target, rows.replace(activation=np.array([9, 9, rows.activation[2]])), Silent())

"""Target ``cpu``: registered, lazy, cached, vectorised; its sums are what networks take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware import get_target, target_names
from netsmith.hardware.measured import microbench
from netsmith.hardware.measured.calibrate import chain, chain_keys
from netsmith.hardware.measured.cpu import CpuTarget, Progress
from netsmith.hardware.measured.microbench import CONTROL, STREAM
from netsmith.hardware.measured.timing import time_models
from netsmith.hardware.table.calibration import Calibration
from netsmith.hardware.table.entry import METHOD, Entry
from netsmith.hardware.table.keys import Key, keys_of, unique_keys
from netsmith.hardware.table.latency import LatencyTable
from netsmith.network.layers import KIND, MAPS, LayerTable
from netsmith.testing.targets import check_target
from work import calls

CALIBRATION = Calibration((1.0, 1.0), 5e-6, 0.0)


@pytest.fixture
def target(tmp_path: Path) -> CpuTarget:
    target = CpuTarget(path=tmp_path / "table.json", seconds_per_key=0.002)
    target.table.calibration = CALIBRATION
    return target


def small_table() -> LayerTable:
    image = {"h_in": 16, "w_in": 16, "h_out": 16, "w_out": 16, "kernel_h": 3, "kernel_w": 3}
    rows = [
        {"name": "stem", "kind": KIND["conv"], "c_in": 3, "c_out": 16, "activation": 1, **image},
        {"name": "a", "kind": KIND["conv"], "c_in": 16, "c_out": 32, "activation": 1, **image},
        {"name": "b", "kind": KIND["conv"], "c_in": 32, "c_out": 16, **image},
        {"name": "add", "kind": KIND["add"], "c_in": 16, "c_out": 16, "activation": 1, "layout": MAPS, **image},
        {"name": "fc", "kind": KIND["linear"], "c_in": 16, "c_out": 10, "bias": 1},
    ]
    return LayerTable.from_rows(rows)


def fill(target: CpuTarget, table: LayerTable) -> None:
    """Entries from a formula, so that nothing needs measuring."""
    keys, _ = unique_keys(keys_of(table))
    for row in keys.tolist():
        k = Key(*row)
        target.table.entries[k] = Entry(1e-6 * (1 + k.c_in * k.c_out / k.bits), 1e-7, 10, 1)


def test_conformance(target: CpuTarget) -> None:
    check_target(target)


def test_import_is_light_and_registers() -> None:
    code = (
        "import sys; sys.path[:] = sys.argv[1:]; import netsmith.hardware as h; "
        "assert {'cpu', 'table'} <= set(h.target_names()); "
        "assert not {'onnxruntime', 'onnx', 'torch', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, *sys.path], check=True, timeout=1200)
    assert "cpu" in target_names()


def test_sum_is_the_manual_sum_and_pricing_is_vectorised(target: CpuTarget) -> None:
    table = small_table()
    wider = 16 * np.random.default_rng(0).integers(0, 4, (10_000, 1)) * (table.kind == 0)
    population = table.replace(c_out=table.c_out + wider)
    fill(target, population)
    cost = target.cost(population)
    few = table.replace(c_out=table.c_out + wider[:100])
    assert calls(lambda: target.cost(population)) < 1.2 * calls(lambda: target.cost(few))
    assert cost.latency_s.shape == (10_000, 5) and cost.bound is not None and cost.bound.shape == (10_000, 5)
    keys = keys_of(population)[17]
    manual = [target.table.seconds(Key(*k)) for k in keys.tolist()]
    assert cost.latency_s[17] == pytest.approx(manual)
    assert cost.fixed_s == CALIBRATION.beta_s


def test_expected_cost_is_exact_and_its_gradient_is_a_difference(target: CpuTarget) -> None:
    from netsmith.space import CostTable

    table = small_table()
    choices = [table.replace(w_bits=np.where(table.kind < 3, b, 32), a_bits=b) for b in (32, 8)]
    for choice in choices:
        fill(target, choice)
    unary = np.stack([target.cost(c).latency_s for c in choices], axis=-1)  # (L, 2)
    prices = CostTable(target.cost(table).fixed_s, unary)
    design = np.array([[0, 1, 0, 1, 1]])
    one_hot = np.eye(2)[design[0]]
    assert prices.expected(one_hot) == pytest.approx(float(prices.price(design)[0]))
    step = one_hot.copy()
    step[2] = [1 - 1e-3, 1e-3]
    gradient = (prices.expected(step) - prices.expected(one_hot)) / 1e-3
    assert gradient == pytest.approx(unary[2, 1] - unary[2, 0])


def test_measures_once_and_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETSMITH_CACHE", str(tmp_path))
    seen: list[tuple[int, int]] = []
    target = CpuTarget(seconds_per_key=0.001)
    target.table.calibration = CALIBRATION
    table = small_table()
    assert target.missing(table) == 5
    assert target.prepare(table, progress=lambda done, n: seen.append((done, n))) == 5
    assert seen[0] == (0, 5) and seen[-1][0] == seen[-1][1]
    assert target.prepare(table) == 0
    first = target.cost(table)
    assert len(list(tmp_path.rglob("*.json"))) == 1
    again = CpuTarget(measure_missing=False)
    assert (again.cost(table).latency_s == first.latency_s).all()
    assert again.table.campaigns[0]["keys"] == 5
    with pytest.raises(InputError, match="the latency table has no"):
        again.cost(table.replace(c_out=48))
    by_file = get_target(f"table:{target.path}")
    assert by_file.name == "table" and (by_file.cost(table).latency_s == first.latency_s).all()


@pytest.fixture
def slow_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[Key]]]:
    """A device whose third chunk is interrupted and whose second is disturbed; what was measured, chunk by chunk."""
    measured: list[list[Key]] = []

    def chunk(keys: list[Key], *_: object) -> dict[Key, Entry]:
        if len(measured) == 2 and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        measured.append(keys)
        stream = 90e-6 if len(measured) == 2 else 40e-6
        times = dict.fromkeys(keys, stream / 10) | {CONTROL: 41e-6, STREAM: stream}
        return {k: Entry(t, 0.0, 10, 1) for k, t in times.items()}

    interrupted: list[bool] = []
    monkeypatch.setattr(microbench, "_chunk", chunk)
    yield measured


def test_an_interruption_loses_nothing_that_was_measured(tmp_path: Path, slow_device: list[list[Key]]) -> None:
    path, widths = tmp_path / "t.json", np.arange(1, 121)[:, None]
    rows = small_table().take([1]).replace(c_out=widths)  # three chunks of 40
    target = CpuTarget(path=path)
    target.table.calibration = CALIBRATION
    with pytest.raises(KeyboardInterrupt):
        target.prepare(rows)
    there = LatencyTable.load(path)
    assert len(there.entries) == 80 and there.calibration == CALIBRATION and len(there.campaigns) == 1
    seen: list[tuple[int, int]] = []
    again = CpuTarget(path=path)
    assert again.missing(rows) == 80  # those that were never measured, and those that something disturbed
    assert again.prepare(rows, progress=lambda *at: seen.append(at)) == 80
    assert {k for c in slow_device[2:] for k in c} == set(again.table.entries) - set(slow_device[0])
    assert seen == [(0, 80), (40, 80), (80, 80)] and again.missing(rows) == 0
    done = LatencyTable.load(path)
    assert len(done.entries) == 120 and max(e.seconds for e in done.entries.values()) == pytest.approx(4e-6)
    assert len(done.campaigns) == 2 and not any("again" in c for c in done.campaigns)


def test_the_calibration_is_kept_and_counted(
    tmp_path: Path, slow_device: list[list[Key]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def calibrate(threads: int, progress: Progress) -> Calibration:
        for repeat in range(4):
            progress(10 * repeat + 10, 40)
        return CALIBRATION

    monkeypatch.setattr("netsmith.hardware.measured.calibrate.calibrate", calibrate)
    seen: list[tuple[int, int]] = []
    target = CpuTarget(path=tmp_path / "t.json")
    target.prepare(small_table(), progress=lambda *at: seen.append(at))
    assert seen == [(0, 5), (10, 45), (20, 45), (30, 45), (40, 45), (45, 45)]
    assert LatencyTable.load(target.path).calibration == CALIBRATION


def test_a_cache_that_is_a_file_is_found_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file is a file, but the latency table .*set NETSMITH_CACHE"):
        CpuTarget(path=tmp_path / "file" / "new" / "t.json")


def test_a_cached_table_of_another_method_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETSMITH_CACHE", str(tmp_path))
    table = small_table()
    old = CpuTarget()
    fill(old, table)
    old.table.calibration, old.table.method = CALIBRATION, METHOD - 1
    old.table.save(old.path)
    target = CpuTarget(seconds_per_key=0.001)
    target.table.calibration = CALIBRATION
    assert target.missing(table) == 5 and target.prepare(table) == 5
    assert CpuTarget().table.method == METHOD and CpuTarget().missing(table) == 0
    old.table.save(old.path)
    with pytest.raises(InputError, match="another way"):
        CpuTarget(path=old.path)


def test_concurrent_processes_keep_each_others_rows(tmp_path: Path) -> None:
    targets = [CpuTarget(path=tmp_path / "t.json", seconds_per_key=0.001) for _ in range(2)]
    for t in targets:
        t.table.calibration = CALIBRATION
    table = small_table()
    targets[0].cost(table.take([0, 1]))
    targets[1].cost(table.take([2, 4]))
    assert CpuTarget(path=tmp_path / "t.json").missing(table.take([0, 1, 2, 4])) == 0


def test_interpolation_measures_multiples_only(tmp_path: Path) -> None:
    target = CpuTarget(path=tmp_path / "t.json", interpolate=16, seconds_per_key=0.001)
    target.table.calibration = CALIBRATION
    table = small_table().take([1])
    widths = np.arange(16, 49)[:, None]
    cost = target.cost(table.replace(c_out=widths)).latency_s[:, 0]
    assert {k.c_out for k in target.table.entries} == {16, 32, 48}
    assert cost[8] == pytest.approx((cost[0] + cost[16]) / 2)
    target.cost(table.replace(c_out=8))  # a small width is measured, not extrapolated
    assert 8 in {k.c_out for k in target.table.entries}


def test_options_and_their_errors(tmp_path: Path) -> None:
    target = get_target("cpu:threads=2,interpolate=16", path=tmp_path / "t.json")
    assert isinstance(target, CpuTarget) and (target.threads, target.interpolate) == (2, 16)
    assert target.capabilities.measured and target.capabilities.bits == ((32, 32), (8, 8))
    for spec, message in [
        ("cpu:thread=2", "no option 'thread=2'.*did you mean 'threads'"), ("cpu:threads=two", "whole number"),
        ("cpu:threads=0", "must be 1 to 1024, not 0"), ("cpu:table=", "write cpu:table=FILE"),
        ("table", "needs a file"), ("table:nowhere.json", "does not exist"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=message):
            get_target(spec)
    with pytest.raises(InputError, match="batch 1"):
        target.cost(small_table(), batch=4)


@pytest.mark.slow
def test_sums_are_what_networks_take(tmp_path: Path) -> None:
    """A depth that calibration has not seen; a shared machine is allowed 20 %."""
    target = CpuTarget(path=tmp_path / "t.json")
    rows = {bits: [k._asdict() for k in chain_keys(bits, 3)] for bits in (32, 8)}
    names = [c for c in Key._fields if c not in ("bits", "context")]
    for bits, records in rows.items():
        table = LayerTable.from_rows(
            [
                {"name": str(i), "w_bits": bits, "a_bits": bits, "layout": MAPS} | {c: r[c] for c in names}
                for i, r in enumerate(records)
            ]
        )
        cost = target.cost(table)
        measured = time_models({"chain": chain(bits, 3)}, seconds=2)["chain"].quiet_s
        assert cost.fixed_s + cost.latency_s.sum() == pytest.approx(measured, rel=0.2)

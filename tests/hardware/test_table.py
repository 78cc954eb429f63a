"""Latency tables: file format, refusals, interpolation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware.devices.target import TableTarget
from netsmith.hardware.table.calibration import Calibration
from netsmith.hardware.table.entry import METHOD, Entry
from netsmith.hardware.table.keys import BLOCKED, Key, keys_of
from netsmith.hardware.table.latency import LatencyTable
from netsmith.jobs.roofline import roofline
from netsmith.network.layers import KIND, MAPS, LayerTable


def conv(c_in: int, c_out: int, groups: int = 1, kernel: int = 3) -> Key:
    return Key(KIND["conv"], c_in, c_out, kernel, kernel, 1, groups, 16, 16, 16, 16, 0, 32, BLOCKED)


def make(times: dict[Key, float], interpolate: bool = False) -> LatencyTable:
    entries = {k: Entry(t, t / 10, 100, 1) for k, t in times.items()}
    return LatencyTable("cpu", 1, "abc", {"processor": "P"}, entries, interpolate=interpolate)


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    table = make({conv(16, 16): 1e-5, conv(16, 32): 2e-5})
    table.calibration = Calibration((1.0, 1.1), 5e-6, 0.01)
    table.campaigns.append({"date": "2026-01-01", "keys": 2, "drift": 0.01})
    table.save(tmp_path / "t.json")
    back = LatencyTable.load(tmp_path / "t.json", "abc")
    assert back == table
    record = json.loads((tmp_path / "t.json").read_text())
    assert record["unit"] == "seconds" and record["n"] == [100, 100] and record["iqr_s"] == pytest.approx([1e-6, 2e-6])
    assert record["device"] == {"processor": "P"} and record["date"] and record["batch"] == 1
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    "field", ["unit", "device", "fingerprint", "date", "n", "iqr_s", "seconds", "threads", "batch"]
)
def test_incomplete_record_is_refused(tmp_path: Path, field: str) -> None:
    path = tmp_path / "t.json"
    make({conv(16, 16): 1e-5}).save(path)
    record = json.loads(path.read_text())
    del record[field]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=f"incomplete latency table: it lacks {field}"):
        LatencyTable.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": "ms"}, "not in seconds"),
        ({"format": "other"}, "not a latency table"),
        ({"seconds": [-1.0]}, "damaged"),
        ({"seconds": [1.0, 2.0]}, "damaged"),
        ({"n": [0]}, "damaged"),
        ({"columns": ["kind"]}, "damaged"),
    ],
)
def test_damaged_record_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "t.json"
    make({conv(16, 16): 1e-5}).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        LatencyTable.load(path)


def test_another_device_is_refused(tmp_path: Path) -> None:
    make({conv(16, 16): 1e-5}).save(tmp_path / "t.json")
    with pytest.raises(InputError, match=r"another device or runtime \(P, abc\)"):
        LatencyTable.load(tmp_path / "t.json", "def")
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(InputError, match="holds no JSON"):
        LatencyTable.load(tmp_path / "t.json")


def test_times_of_another_way_of_measuring_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    make({conv(16, 16): 1e-5}).save(path)
    record = json.loads(path.read_text())
    assert record["method"] == METHOD
    for method in (METHOD - 1, METHOD + 1):
        path.write_text(json.dumps(record | {"method": method}))
        with pytest.raises(InputError, match=f"another way \\(method {method}, not {METHOD}\\).*measure again"):
            LatencyTable.load(path, "abc")
        assert LatencyTable.load(path).method == method  # only read, not added to
    del record["method"]  # the first way had no number
    path.write_text(json.dumps(record))
    assert LatencyTable.load(path).method == 1


def test_missing_key_raises_unless_interpolation_is_on() -> None:
    times = {conv(a, b): a * b * 1e-8 for a in (16, 32, 64) for b in (16, 32, 64)}
    strict, loose = make(times), make(times, interpolate=True)
    with pytest.raises(InputError, match="no conv 24x16x16 -> 16x16x16"):
        strict.seconds(conv(24, 16))
    assert strict.missing([conv(24, 16), conv(16, 16)]) == [conv(24, 16)]
    assert loose.missing([conv(24, 16)]) == []
    for key, t in times.items():  # measured points are reproduced
        assert loose.seconds(key) == t
    assert loose.seconds(conv(24, 16)) == pytest.approx(24 * 16e-8)
    assert loose.seconds(conv(24, 48)) == pytest.approx(24 * 48e-8)  # bilinear data, bilinear interpolation
    values = [loose.seconds(conv(c, 32)) for c in range(16, 65)]
    assert (np.diff(values) > 0).all() and min(values) > 0


def test_interpolation_never_extrapolates_nor_mixes_kinds() -> None:
    table = make({conv(16, 16): 1e-5, conv(32, 32): 4e-5, conv(16, 32): 2e-5, conv(32, 16): 2e-5}, interpolate=True)
    for key in (conv(8, 16), conv(16, 8), conv(1, 1), conv(64, 16), conv(24, 24, kernel=5), conv(24, 24, groups=24)):
        with pytest.raises(InputError):
            table.seconds(key)
    deep = make({conv(c, c, groups=c): c * 1e-6 for c in (16, 32)}, interpolate=True)
    assert deep.seconds(conv(24, 24, groups=24)) == pytest.approx(24e-6)


def test_calibration_scales_each_precision() -> None:
    integer = conv(16, 16)._replace(bits=8)
    table = make({conv(16, 16): 1e-6, integer: 1e-6})
    table.calibration = Calibration((1.1, 0.9), 0.0, 0.0)
    assert table.seconds(conv(16, 16)) == pytest.approx(1.1e-6) and table.seconds(integer) == pytest.approx(0.9e-6)


def test_merge_keeps_own_entries_and_adds_others() -> None:
    a, b = make({conv(16, 16): 1e-5}), make({conv(16, 16): 9e-5, conv(32, 32): 2e-5})
    merged = a.merged(b)
    assert merged.seconds(conv(16, 16)) == 1e-5 and merged.seconds(conv(32, 32)) == 2e-5


def test_no_layer_stands_above_the_roofs_that_a_table_has_seen() -> None:
    """Weights stream faster than maps here, and layers of a microsecond would be the fastest of all."""
    rows = LayerTable.from_rows([
        {"name": f"l{i}", "kind": KIND[kind], "c_in": c_in, "c_out": c_out, "h_in": size, "w_in": size, "h_out": size,
         "w_out": size, "kernel_h": kernel, "kernel_w": kernel, "layout": MAPS, "w_bits": bits, "a_bits": bits}
        for i, (kind, c_in, c_out, size, kernel, bits) in enumerate([
            ("conv", 512, 512, 1, 1, 32), ("conv", 16, 16, 32, 3, 32), ("conv", 16, 16, 32, 3, 8),
            ("linear", 64, 10, 1, 1, 32), ("add", 16, 16, 32, 1, 32), ("conv", 512, 512, 1, 1, 8),
        ])
    ])  # fmt: skip
    seconds = (12e-6, 30e-6, 9e-6, 1e-8, 8e-6, 3e-6)
    table = make(dict(zip((Key(*row) for row in keys_of(rows).tolist()), seconds, strict=True)))
    table.calibration = Calibration((0.9, 1.1), 1e-6, 0.01)
    found = roofline(TableTarget(table), network=rows)
    assert found is not None and found["short"] == 1  # a rate of 64 GMAC/s in 10 ns is the clock's
    roofs = {tuple(roof["bits"]): roof for roof in found["roofs"]}
    shares = []
    for layer in found["layers"]:
        roof = roofs[tuple(layer["bits"])]
        shares.append(layer["macs_per_s"] / min(roof["macs_per_s"], roof["bytes_per_s"] * layer["intensity"]))
    assert len(shares) == 4 and max(shares) <= 1 + 1e-9 and sum(s > 0.999 for s in shares) >= 2

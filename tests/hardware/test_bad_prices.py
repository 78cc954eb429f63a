"""No reader takes a price that is negative, not finite or no number: each names the file, the place and the value."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware import get_target
from netsmith.hardware.devices.exchange import read_timings, write_layers
from netsmith.hardware.devices.readers import read_table
from netsmith.hardware.predictor import Predictor, fit_layers, fit_predictor
from netsmith.hardware.table.calibration import Calibration
from netsmith.hardware.table.entry import Entry
from netsmith.hardware.table.keys import PLAIN, Key
from netsmith.hardware.table.latency import LatencyTable
from netsmith.network.layers import KIND, LayerTable

BAD = ("NaN", "Infinity", "-Infinity", "-1", "1e400", '"x"', "true")  #: as JSON writes them
CONV = "Conv-input:8x8x3-output:8x8x16"


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def refused(path: Path, *says: str) -> None:
    with pytest.raises(InputError) as error:
        get_target(f"table:{path}")
    message = str(error.value)
    assert all(word in message for word in (path.name, *says)) and "\n" not in message
    assert "NoneType" not in message and "float" not in message  # no words of Python's


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[{"kind":"conv","c_in":8,"c_out":8,"kernel":3,"size":9,"latency_ms":%s}]', "row 1, column 'latency_ms'"),
        ('[{"kind":"conv","c_in":8,"c_out":8,"kernel":3,"size":9,"latency_ms":1,"energy_mj":%s}]', "'energy_mj'"),
        ('{"unit":"ms","layers":{"a":1,"b":%s}}', "b"),
        ('{"unit":"ms","layout":"channels","layers":{"a":[[1,2],[3,%s]]}}', "a[2][2]"),
        ('{"unit":"ms","layers":{"a":{"8":{"16":%s}}}}', "a[8][16]"),
        (f'{{"{CONV}":{{"mean":%s,"count":2}}}}', f"mean of '{CONV}'"),
        (f'{{"{CONV}":{{"mean":1,"std":%s}}}}', f"std of '{CONV}'"),
        (f'{{"{CONV}":{{"mean":1,"count":%s}}}}', f"count of '{CONV}'"),
        ('{"unit":"ms","batch":%s,"layers":{"a":1}}', "batch"),
        ('{"unit":"ms","threads":%s,"layers":{"a":1}}', "threads"),
        ('{"unit":"ms","channel_multiple":%s,"layers":{"a":1}}', "channel_multiple"),
    ],
)
def test_json(tmp_path: Path, text: str, place: str, bad: str) -> None:
    refused(write(tmp_path, "t.json", text % bad), f"{place}: {json.loads(bad)!r} is no ")


HEAD = "kind,c_in,c_out,kernel,size,bits,latency_ms,energy_mj,runs\n"


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        ("8,8,3,9,8,nan,1,5", "line 2, column 'latency_ms': 'nan'"), ("8,8,3,9,8,-0.1,1,5", "'latency_ms': '-0.1'"),
        ("8,8,3,9,8,inf,1,5", "'latency_ms': 'inf'"), ("8,8,3,9,8,1,-1e-9,5", "column 'energy_mj': '-1e-9'"),
        ("8,8,3,9,8,1,1,0", "'runs': '0' is no whole number above 0"), ("8,8,3,9,8,1,1,2.5", "'runs': '2.5'"),
        ("8,8,3,9,33,1,1,5", "column 'bits': 33 is no width of 1 to 32 bits"), ("8,8,3,9,0,1,1,5", "'bits': '0'"),
        ("inf,8,3,9,8,1,1,5", "'c_in': 'inf'"), ("8,1e30,3,9,8,1,1,5", "'c_out': '1e30'"), ("0,8,3,9,8,1,1,5", "'0'"),
    ],
)  # fmt: skip
def test_csv(tmp_path: Path, cells: str, place: str) -> None:
    refused(write(tmp_path, "t.csv", f"{HEAD}conv,{cells}\n"), place)


def test_other_files_and_what_is_there_twice(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for value in (math.nan, -1.0, math.inf):
        columns = {"kind": ["conv"], "c_in": [8], "c_out": [8], "kernel": [3], "size": [9], "latency_ms": [1.0]}
        pq.write_table(pa.table(columns | {"energy_mj": [value]}), tmp_path / "t.parquet")
        refused(tmp_path / "t.parquet", f"row 1, column 'energy_mj': {value!r}")
    refused(write(tmp_path, "e.csv", f"{HEAD}conv,8,8,3,9,8,1,1,5\nconv,9,8,3,9,8,1,,5\n"), "line 3", "energy is empty")
    refused(write(tmp_path, "d.json", '{"unit":"ms","layers":{"a":1,"a":2}}'), "two entries 'a'")
    refused(
        write(tmp_path, "c.json", '{"unit":"ms","layers":{"a":{"8":{"8":1,"08":2}}}}'), "a[8] has two entries for 8"
    )
    refused(write(tmp_path, "u.json", '{"unit":"cycles@1.2.3MHz","layers":{"a":1}}'), "no unit of time")
    refused(write(tmp_path, "z.json", '{"Conv-input:0x8x3-output:8x8x16":1}'), "'0' is no whole number above 0")
    refused(write(tmp_path, "deep.json", "[" * 100_000), "nested too deeply")
    refused(write(tmp_path, "l.csv", f"{HEAD}conv,8,8,3,9,8,1e300,1,5\n"), "'1e300' is more than 1e+18")
    if pytest.importorskip("yaml"):
        refused(write(tmp_path, "k.yaml", "? [1, 2]\n: 3\n"), "keys that are no texts or numbers")
        refused(write(tmp_path, "d.yaml", "unit: ms\nlayers:\n  a: 1\n  a: 2\n"), "two entries 'a'")
        refused(write(tmp_path, "n.yaml", "unit: ms\nlayers:\n  a: 1\n  b: .nan\n"), "b: nan")


KEYS = [Key(KIND["linear"], 16, c, 1, 1, 1, 1, 1, 1, 1, 1, 0, 32, PLAIN) for c in (10, 20)]


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A table of netsmith's own format and its content."""
    table = LatencyTable("cpu", 1, "abc", {"processor": "P"}, {k: Entry(1e-5, 1e-6, 9, 1, 1e-6) for k in KEYS})
    table.calibration = Calibration((1.0, 1.0), 1e-6, 0.01)
    table.save(tmp_path / "own.json")
    assert read_table(tmp_path / "own.json").entries == table.entries
    return tmp_path / "own.json", json.loads((tmp_path / "own.json").read_text())


@pytest.mark.parametrize("bad", [*BAD, "null"])
def test_own_tables(own: tuple[Path, dict[str, Any]], bad: str) -> None:
    path, record = own
    value = json.loads(bad)
    where = "entry 2 (linear 16x1x1 -> 20x1x1 kernel 1x1 stride 1 groups 1 32 bits), "
    for name in ("seconds", "iqr_s", "n", "nodes", "energy_j"):
        if value is not None or name not in ("iqr_s", "energy_j"):  # these may be unknown
            changed = record | {name: [record[name][0], value]}
            path.write_text(json.dumps(changed))
            refused(path, f"{where}{name}: {value!r} is no ")
    for name in ("beta_s", "residual", "gamma"):
        path.write_text(json.dumps(record | {"calibration": record["calibration"] | {
            name: [1.0, value] if name == "gamma" else value
        }}))  # fmt: skip
        refused(path, f"calibration, {name}: {value!r} is no ")
    for name in ("batch", "threads", "channel_multiple"):
        path.write_text(json.dumps(record | {name: value}))
        refused(path, f"{name}: {value!r} is no whole number")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rows": [KEYS[0], KEYS[0]]}, "is there twice"),
        ({"rows": [KEYS[0], [1, 2]]}, "[1, 2] does not have 14 values"),
        ({"rows": [KEYS[0], KEYS[1]._replace(c_in=-3)]}, "entry 2: c_in is -3"), ({"seconds": [0, 0]}, "takes time"),
        ({"rows": [KEYS[0], KEYS[1]._replace(kind=77)]}, "entry 2: there is no kind 77"),
        ({"rows": [KEYS[0], [*KEYS[1][:2], 20.5, *KEYS[1][3:]]]}, "c_out is 20.5"), ({"device": [1]}, "device is [1]"),
        ({"calibration": [1]}, "lacks its two factors"), ({"batch": 0}, "batch: 0"), ({"campaigns": [1]}, "campaign"),
        ({k: [] for k in ("rows", "seconds", "iqr_s", "n", "nodes", "energy_j")}, "no layer that takes time"),
    ],
)  # fmt: skip
def test_own_tables_that_contradict_themselves(
    own: tuple[Path, dict[str, Any]], change: dict[str, Any], says: str
) -> None:
    own[0].write_text(json.dumps(own[1] | change))
    refused(own[0], says)


def test_predictors(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    rng = np.random.default_rng(0)
    keys = [k._replace(c_in=int(a), c_out=int(b)) for k in KEYS[:1] for a, b in rng.integers(1, 99, (40, 2))]
    table = LatencyTable("cpu", 1, "abc", {}, {k: Entry(1e-8 * k.c_in * k.c_out + 1e-6, 1e-9, 9, 1) for k in keys})
    table.calibration = Calibration((1.0, 1.0), 1e-6, 0.01)
    for kind in ("ridge", "trees"):
        path = tmp_path / f"{kind}.safetensors"
        if kind == "ridge":
            fit_layers(table, kind, folds=2).save(path)
            get_target(f"predictor:{path}")
        else:
            x = rng.random((40, 3))
            fit_predictor(x, 1 + x.sum(axis=1), kind, folds=2).save(path)
        arrays, record = load_file(path), _record(path)
        for name, array in arrays.items():
            for value in (np.nan, np.inf):
                changed = array.astype(np.float64)
                if changed.size:
                    changed.ravel()[-1] = value
                    save_file(arrays | {name: changed}, path, metadata={"netsmith": json.dumps(record)})
                    _refused(path, f"array {name!r} has {value} at")
        for name, value in (("scale", 0.0), ("floor", -1.0), ("residuals", -1.5)):
            changed = arrays[name].copy()
            changed[0] = value
            save_file(arrays | {name: changed}, path, metadata={"netsmith": json.dumps(record)})
            _refused(path, f"array {name!r} has {value:g} in it")
        if kind == "trees":  # a branch that leads back would never end
            looped = arrays["member_0.left"].copy()
            looped[0, 0] = 0
            save_file(arrays | {"member_0.left": looped}, path, metadata={"netsmith": json.dumps(record)})
            _refused(path, "leads left to a node that is not below it")
        for key, value, says in [
            ("weights", [math.nan], "weight of member 0: nan"), ("names", [], "names are []"),
            ("extra", 3, "extra is 3"),
        ]:  # fmt: skip
            save_file(arrays, path, metadata={"netsmith": json.dumps(record | {key: value})})
            _refused(path, says)
        if kind == "ridge":
            for name, value in [("beta_s", math.nan), ("gamma", [1.0, -1.0]), ("residual", -1)]:
                extra = record["extra"] | {"calibration": record["extra"]["calibration"] | {name: value}}
                save_file(arrays, path, metadata={"netsmith": json.dumps(record | {"extra": extra})})
                with pytest.raises(InputError, match=rf"ridge.safetensors: calibration, {name}: \S+ is no number"):
                    get_target(f"predictor:{path}")


def _record(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        return dict(json.loads(file.metadata()["netsmith"]))


def _refused(path: Path, says: str) -> None:
    with pytest.raises(InputError) as error:
        Predictor.load(path)
    assert path.name in str(error.value) and says in str(error.value)


def test_exchange(tmp_path: Path) -> None:
    rows = LayerTable.from_rows([{"name": "fc", "kind": KIND["linear"], "c_in": 16, "c_out": 10}])
    write_layers(rows, tmp_path / "x", calibrate=False)
    manifest = tmp_path / "x/manifest.json"
    whole = json.loads(manifest.read_text())
    for change, says in [
        ({"layers": [whole["layers"][0] | {"copies": 0}]}, "copies of 'layers/0001-.*: 0 is no whole number above 0"),
        ({"layers": [whole["layers"][0] | {"key": [1]}]}, "has no files or no key"), ({"layers": 3}, "is damaged"),
        ({"channel_multiple": -8}, "channel_multiple: -8"), ({"control": None}, "is damaged"),
    ]:  # fmt: skip
        manifest.write_text(json.dumps(whole | change))
        with pytest.raises(InputError, match=f"manifest.json is damaged.*{says}|manifest.json {says}"):
            read_timings(tmp_path / "x")


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0.0, 1e300, 1e-300, 10**400, True, "x"])
@pytest.mark.parametrize("name", ["roofline-edge", "bismo-edge", "bitfusion", "systolic-eyeriss"])
def test_hardware_files(name: str, value: Any) -> None:
    """A rate of every family: the file and the key are named."""
    import tomllib

    from netsmith.hardware.simulated.families import CONFIGS, load_config

    config = tomllib.loads((CONFIGS / f"{name}.toml").read_text())
    rates = [k for k, v in config.items() if isinstance(v, float) and ("per_s" in k or k.endswith("_hz"))]
    assert rates or name == "roofline-edge"
    for key in rates or ["bandwidth_bytes_per_s"]:
        with pytest.raises(InputError, match=rf"target {name}: the key '{key}' must be "):
            load_config(config | {key: value}, name=name)

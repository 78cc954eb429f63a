"""Doors of hardware: files of families, latency tables in every layout, predictors, folders of another device."""

from __future__ import annotations

import io
import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from doors import files_in, register
from netsmith.hardware import get_target, price, settings_of
from netsmith.hardware.devices.exchange import read_timings, write_layers
from netsmith.hardware.measured.fingerprint import fingerprint
from netsmith.hardware.predictor import fit_layers
from netsmith.hardware.simulated.families import CONFIGS
from netsmith.hardware.table.calibration import Calibration
from netsmith.hardware.table.entry import Entry
from netsmith.hardware.table.keys import Key, keys_of
from netsmith.hardware.table.latency import LatencyTable
from netsmith.network.layers import KIND, LayerTable
from netsmith.testing.targets import example_table


def _priced(spec: str) -> object:
    """What a user does with a target: its settings go into a run, and a network is priced."""
    target = get_target(spec)
    json.dumps(settings_of(target), default=str)
    return price(target, example_table(target.capabilities.bits[0]))


def _is_changed(path: Path, content: bytes) -> bool:
    return not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content


def _families() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in CONFIGS.glob("*.toml")}


@register("hardware TOML", _families)
def _family(folder: Path) -> object:
    # ten of the twelve are as they were, and slow to price; which one was damaged is seen by its content
    own = _families()
    changed = [p for p in sorted(folder.glob("*.toml")) if _is_changed(p, own[p.name])]
    return [_priced(str(path)) for path in changed]


ROWS = '''# unit: ms
# device: board 7
# threads: 2
name,kind,c_in,c_out,kernel,stride,groups,size,w_bits,a_bits,latency,iqr_ms,runs,energy_mj
stem,conv,3,32,3x3,2,1,32x32,8,8,1.5,0.1,50,2.0
"a, ""b""",depthwise,32,32,3,1,32,16,8,8,0.5,0.1,50,1.0
fc,linear,32,10,,,,1,8,8,0.25,,,0.1
'''
RECORDS = [
    {"kind": "conv", "c_in": 3, "c_out": 32, "kernel": 3, "stride": 2, "size": "32x32", "latency_ms": 1.5},
    {"kind": "linear", "c_in": 32, "c_out": 10, "size": 1, "latency_ms": 0.25},
]
BLOCKS = {
    "Conv-input:224x224x3-output:112x112x32": {"mean": 1.5, "count": 50, "std": 0.1},
    "expanded_conv-input:112x112x32-output:112x112x16-expand:1-kernel:3-stride:1-idskip:0": {"mean": 2.0, "count": 9},
    "Logits-input:7x7x1280-output:1000": {"mean": 0.5, "count": 50, "variance": 0.01},
}
NAMED = {"unit": "ms", "layout": "channels", "layers": {"stem": {"32": {"3": 1.5}}, "fc": [[0.1, 0.2], [0.3, None]]}}
BITS = {"unit": "cycles@200MHz", "layers": {"stem": [[w * a for a in range(1, 9)] for w in range(1, 9)]}}


@cache
def _measured(device: str = "f") -> LatencyTable:
    rng = np.random.default_rng(0)
    entries: dict[Key, Entry] = {}
    for key in (Key(*k) for bits in (32, 8) for k in keys_of(example_table((bits, bits))).tolist()):
        entries[key] = Entry(1e-5 * (1 + rng.random()), 1e-7, 50, 1.0)
    return LatencyTable("cpu", 1, device, {"processor": "P"}, entries, Calibration((1.1, 0.9), 5e-6, 0.02, 0.9))


def _own(device: str = "f") -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        _measured(device).save(Path(folder) / "own.json")
        return (Path(folder) / "own.json").read_bytes()


def _tables() -> dict[str, bytes]:
    import yaml

    return {
        "rows.csv": ROWS.encode(), "rows.tsv": ROWS.replace(",", "\t").encode(),
        "records.json": json.dumps({"device": "d", "batch": 1, "rows": RECORDS}).encode(),
        "records.yaml": yaml.safe_dump([*RECORDS, RECORDS[0]]).encode(), "blocks.yaml": yaml.safe_dump(BLOCKS).encode(),
        "blocks.json": json.dumps(BLOCKS).encode(), "named.json": json.dumps(NAMED).encode(),
        "bits.json": json.dumps(BITS).encode(), "own.json": _own(), "rows.parquet": _parquet(),
    }  # fmt: skip


def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([r | {"size": str(r["size"])} for r in RECORDS], metadata={b"device": b"board"})
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


@register("latency table", _tables)
def _table(folder: Path) -> object:
    own, found = _tables_once(), []
    for path in sorted(folder.iterdir()):
        if _is_changed(path, own[path.name]):
            found.append(_priced(f"table:{path},missing=zero"))
    return found


@cache
def _tables_once() -> dict[str, bytes]:
    return _tables()


@register("measured table", lambda: {"cpu.json": _own(fingerprint(1).hash)})
def _of_cpu(folder: Path) -> object:
    from netsmith.hardware.measured.cpu import CpuTarget

    target = CpuTarget(path=folder / "cpu.json", measure_missing=False)
    return target.cost(example_table())


def _predictor() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        fit_layers(_grown(), "ridge", folds=2).save(Path(folder) / "p.safetensors")
        fit_layers(_grown(), "trees", folds=2).save(Path(folder) / "t.safetensors")
        return files_in(Path(folder))


def _grown() -> LatencyTable:
    """The table with more channels, for a predictor needs some dozens of layers."""
    entries = {
        key._replace(c_in=key.c_in * n, c_out=key.c_out * n, groups=key.groups * n if key.groups > 1 else 1): Entry(
            entry.seconds * n, entry.iqr_s, entry.n, entry.nodes
        )
        for key, entry in _measured().entries.items()
        for n in (1, 2, 3, 4)
    }
    return LatencyTable("cpu", 1, "f", {"processor": "P"}, entries, Calibration((1.1, 0.9), 5e-6, 0.02))


@register("predictor", _predictor)
def _predicted(folder: Path) -> object:
    return [_priced(f"predictor:{path},quantile=0.5") for path in sorted(folder.iterdir())]


def _exchange() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "x"
        layers = LayerTable.from_rows([{
            "name": "a", "kind": KIND["conv"], "c_in": 3, "c_out": 8, "kernel_h": 3, "kernel_w": 3, "h_in": 8,
            "w_in": 8, "h_out": 8, "w_out": 8,
        }])  # fmt: skip
        write_layers(layers, folder, calibrate=False)
        manifest = json.loads((folder / "manifest.json").read_text())
        times = {manifest["control"]["without"]: 1e-4, manifest["control"]["file"]: 2e-4}
        for i, layer in enumerate(manifest["layers"], 1):
            times |= {layer["without"]: 1e-4, layer["file"]: 1e-4 + 1e-6 * i * layer["copies"]}
        names = [line.split(",")[0] for line in (folder / "timings.csv").read_text().splitlines()[5:]]
        head = "# device: board\n# runtime: r\n# threads: 1\n# date: 2026-01-01\nfile,runs,median_s,iqr_s\n"
        text = head + "".join(f"{n},50,{times[n]!r},1e-6\n" for n in names)
        return {"manifest.json": (folder / "manifest.json").read_bytes(), "timings.csv": text.encode()}


@register("exchange folder", _exchange)
def _timings(folder: Path) -> object:
    table = read_timings(folder)
    table.save(folder / "made.json")
    return LatencyTable.load(folder / "made.json")

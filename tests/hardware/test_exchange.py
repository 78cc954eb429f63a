"""Exchange with devices that cannot run Python: files that any ONNX runtime can run, and their times as a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.hardware import get_target
from netsmith.hardware.devices.exchange import measure_here, read_timings, write_layers
from netsmith.hardware.measured.timing import time_models
from netsmith.hardware.table.calibration import Calibration
from netsmith.hardware.table.entry import Entry
from netsmith.hardware.table.keys import Key, keys_of, unique_keys
from netsmith.hardware.table.latency import LatencyTable
from netsmith.network.layers import ACTIVATION, KIND, KINDS, MAPS, LayerTable

HEAD = "# device: board\n# runtime: x 1.2\n# threads: 2\n# date: 2026-01-02\n"


def small(bits: int = 32) -> LayerTable:
    image = {"h_in": 8, "w_in": 8, "h_out": 8, "w_out": 8, "layout": MAPS, "w_bits": bits, "a_bits": bits}
    k3 = {"kernel_h": 3, "kernel_w": 3}
    return LayerTable.from_rows([
        {"name": "a", "kind": KIND["conv"], "c_in": 16, "c_out": 32, "activation": 1} | image | k3,
        {"name": "add", "kind": KIND["add"], "c_in": 32, "c_out": 32} | image,
        {"name": "fc", "kind": KIND["linear"], "c_in": 32, "c_out": 10, "w_bits": bits, "a_bits": bits},
    ])  # fmt: skip


def answer(folder: Path, seconds: dict[tuple[int, ...], float], beta: float = 1e-4, drift: float = 0.0) -> str:
    """``timings.csv`` of a device on which layers take ``seconds``, and a run ``beta`` more."""
    manifest = json.loads((folder / "manifest.json").read_text())
    times = {manifest["control"]["without"]: beta, manifest["control"]["file"]: beta * 2}
    for layer in manifest["layers"]:
        times[layer["without"]] = beta
        extra = seconds[tuple(layer["key"])]
        if KINDS[layer["key"][0]] == "dequantize":  # what is timed for it has the quantizer in it
            extra += seconds[(KIND["quantize"], *layer["key"][1:])]
        times[layer["file"]] = beta + layer["copies"] * extra
    for network in manifest["networks"]:
        times[network["file"]] = beta + 1.1 * sum(seconds[tuple(k)] for k in network["keys"])
    lines, seen = [], 0
    for line in (folder / "timings.csv").read_text().splitlines()[5:]:
        name = line.split(",")[0]
        seen += name == manifest["control"]["file"]
        factor = 1 + drift * (seen == 2) * (name == manifest["control"]["file"])
        lines.append(f"{name},50,{times[name] * factor!r},{1e-6!r}")
    return HEAD + "file,runs,median_s,iqr_s\n" + "\n".join(lines) + "\n"


def invented(folder: Path) -> dict[tuple[int, ...], float]:
    manifest = json.loads((folder / "manifest.json").read_text())
    return {tuple(layer["key"]): 1e-6 * (i + 1) for i, layer in enumerate(manifest["layers"])}


def test_written_folder_is_complete_and_portable(tmp_path: Path) -> None:
    import onnx

    seen: list[tuple[int, int]] = []
    count = write_layers(small(), tmp_path / "x", bits=(32, 8), progress=lambda done, n: seen.append((done, n)))
    assert count == 6 and seen[-1][0] == seen[-1][1]
    manifest = json.loads((tmp_path / "x/manifest.json").read_text())
    files = {manifest["control"]["file"], manifest["control"]["without"]}
    for layer in manifest["layers"]:
        files |= {layer["file"], layer["without"]}
        model = onnx.load(tmp_path / "x" / layer["file"])
        onnx.checker.check_model(model, full_check=True)
        assert {n.domain for n in model.graph.node} == {""} and model.opset_import[0].version <= 13
        assert len(model.graph.output) >= layer["copies"]
        assert {i.name for i in model.graph.input} == set(layer["inputs"])
        quantized = any(n.op_type == "DequantizeLinear" for n in model.graph.node)
        assert quantized == (layer["key"][12] == 8)
    files |= {n["file"] for n in manifest["networks"]}
    assert len(manifest["networks"]) == 8
    assert {f"layers/{p.name}" for p in (tmp_path / "x/layers").iterdir()} == files
    template = (tmp_path / "x/timings.csv").read_text().splitlines()
    assert {line.split(",")[0] for line in template[5:]} == files
    assert sum(line.startswith(manifest["control"]["file"]) for line in template) >= 2
    assert "timings.csv" in (tmp_path / "x/README.md").read_text()
    for wrong in (tmp_path / "x", tmp_path / "x/timings.csv", tmp_path / "x/manifest.json"):
        with pytest.raises(InputError, match=r"folder of layers, not a table; .*measure --read \S+x --out FILE"):
            get_target(f"table:{wrong}")
    with pytest.raises(InputError, match="not empty"):
        write_layers(small(), tmp_path / "x")
    with pytest.raises(InputError, match=r"32 bits .* or 8"):
        write_layers(small(), tmp_path / "y", bits=(4,))


def test_a_population_is_written_once_a_layer(tmp_path: Path) -> None:
    population = small().replace(c_out=np.where(np.array(small().names) == "a", [[16], [32], [32]], small().c_out))
    assert write_layers(population, tmp_path / "x", calibrate=False) == 4


def test_times_come_back_as_a_table_that_prices(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    both = LayerTable.from_rows([*(small(8).row(i) for i in range(3)), {
        "name": "dq", "kind": KIND["dequantize"], "c_in": 16, "c_out": 16, "h_in": 8, "w_in": 8, "h_out": 8, "w_out": 8,
        "w_bits": 8, "a_bits": 8,
    }])  # fmt: skip
    assert write_layers(both, folder) == 5  # the quantizer comes along
    seconds = invented(folder)
    (folder / "timings.csv").write_text(answer(folder, seconds))
    table = read_timings(folder)
    assert {tuple(k): pytest.approx(e.seconds, rel=1e-6) for k, e in table.entries.items()} == seconds
    entry = next(iter(table.entries.values()))
    assert entry.n == 50 and 0 < entry.iqr_s < 1e-6
    assert table.threads == 2 and table.device["processor"] == "board" and table.campaigns[0]["date"] == "2026-01-02"
    assert table.calibration is not None
    assert table.calibration.gamma == (1.0, pytest.approx(1.1, rel=1e-3))
    assert table.calibration.beta_s == pytest.approx(1e-4, rel=1e-3) and table.calibration.rank == pytest.approx(1)
    table.save(tmp_path / "device.json")
    target = get_target(f"table:{tmp_path / 'device.json'}")
    cost = target.cost(both)
    keys = [tuple(k) for k in keys_of(both).tolist()]
    assert cost.latency_s == pytest.approx([1.1 * seconds[k] for k in keys], rel=1e-3)
    assert cost.fixed_s == pytest.approx(1e-4, rel=1e-3)
    assert target.unpriced(small()) == ("a", "add", "fc")


def test_a_deleted_line_leaves_the_layer_unpriced_and_columns_may_differ(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write_layers(small(), folder, calibrate=False)
    text = answer(folder, invented(folder)).splitlines()
    kept = [line for line in text if "-linear-" not in line]
    in_ms = []
    for line in kept[5:]:
        name, runs, seconds, _ = line.split(",")
        in_ms.append(f"{name},{runs},{float(seconds) * 1e3!r}")
    (tmp_path / "t.csv").write_text("\n".join([*kept[:4], "file,runs,mean_ms", *in_ms]) + "\n")
    table = read_timings(folder, tmp_path / "t.csv")
    table.save(tmp_path / "device.json")
    assert get_target(f"table:{tmp_path / 'device.json'}").unpriced(small()) == ("fc",)  # type: ignore[attr-defined]
    assert table.calibration is None and all(np.isnan(e.iqr_s) for e in table.entries.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("# device: board", "# device:"), "does not say the device; fill in the line `# device:`"),
        (("# threads: 2", "# threads: two"), "threads: 'two' is no whole number above 0"),
        (("layers/control.onnx,50", "layers/contrl.onnx,50"), "line 7: 'layers/contrl.onnx' is no file.*did you mean"),
        (("control.onnx,50,", "control.onnx,0,"), "line 7, column 'runs': '0' is no whole number above 0"),
        (("file,runs", "datei,runs"), "no column 'file'"),
        (("median_s", "median"), "does not say the unit of its column 'median'"),
    ],
)
def test_messages(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    folder = tmp_path / "x"
    write_layers(small().take([0]), folder, calibrate=False)
    (folder / "timings.csv").write_text(answer(folder, invented(folder)).replace(*change))
    with pytest.raises(InputError, match=message):
        read_timings(folder)


def test_an_unsteady_device_and_lost_layers_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write_layers(small(), folder, calibrate=False)
    with pytest.raises(InputError, match="fill in the line"):  # the template as it is
        read_timings(folder)
    (folder / "timings.csv").write_text(answer(folder, invented(folder), drift=0.5))
    with pytest.raises(InputError, match="50 % apart: the device was not steady"):
        read_timings(folder)
    assert read_timings(folder, max_drift=0.6).campaigns[0]["drift"] == pytest.approx(0.5)
    nothing = dict.fromkeys(invented(folder), 0.0)
    (folder / "timings.csv").write_text(answer(folder, nothing))
    with pytest.raises(InputError, match=r"0001-conv-.*, layers/0003-linear-.* take no longer with the layer"):
        read_timings(folder)  # the addition may be fused, the other two compute
    text = [line for line in answer(folder, invented(folder)).splitlines() if "control.onnx" not in line]
    (folder / "timings.csv").write_text("\n".join(text))
    with pytest.raises(InputError, match="fewer than twice"):
        read_timings(folder)
    with pytest.raises(InputError, match=r"manifest.json is missing; name the folder"):
        read_timings(tmp_path)


def test_a_layer_too_small_for_the_clock_is_priced_at_the_best_rate(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write_layers(small(), folder, calibrate=False)
    seconds = invented(folder)
    conv, fc = (next(k for k in seconds if k[0] == KIND[kind]) for kind in ("conv", "linear"))
    for under, seen in ((0.02, True), (0.2, False)):  # of a microsecond; the spread of a run is 1, a layer's 0.09
        seconds |= {conv: 2e-6, fc: -under * 1e-6}
        (folder / "timings.csv").write_text(answer(folder, seconds))
        if seen:
            entry = read_timings(folder).entries[Key(*fc)]
            macs = 16 * 32 * 9 * 64, 32 * 10
            assert entry.seconds == pytest.approx(2e-6 * macs[1] / macs[0]) and entry.iqr_s > entry.seconds
        else:
            with pytest.raises(InputError, match=r"-linear-.* take no longer"):
                read_timings(folder)


@pytest.mark.parametrize("bits", [32, 8])
def test_every_kind_is_written_and_runs(tmp_path: Path, bits: int) -> None:
    """With and without the layer; what the microbenchmark can measure here can be measured elsewhere."""
    from netsmith.hardware.devices.exchange.copies import build
    from netsmith.hardware.measured.timing import make_session, random_feed

    rows = []
    for kind in KINDS:
        pool = kind in ("maxpool", "avgpool")
        rows.append({
            "name": kind, "kind": KIND[kind], "c_in": 16, "c_out": 16, "h_in": 8, "w_in": 8 if kind != "linear" else 1,
            "h_out": 4 if pool else 8, "w_out": (4 if pool else 8) if kind != "linear" else 1,
            "kernel_h": 2 if pool else 1, "kernel_w": 2 if pool else 1, "stride": 2 if pool else 1, "layout": MAPS,
            "groups": 4 if kind == "matmul" else 1, "w_bits": bits, "a_bits": bits,
            "activation": ACTIVATION["hardswish"] if kind == "activation" else 0,
        })  # fmt: skip
    rows.append(rows[0] | {"name": "stem", "c_in": 3})
    for row in unique_keys(keys_of(LayerTable.from_rows(rows)))[0].tolist():
        outputs = {}
        for layer in (True, False):
            model, inputs = build(Key(*row), 2, layer=layer)
            session = make_session(model)
            outputs[layer] = session.run(None, random_feed(session))
            assert {i.name: i.shape for i in session.get_inputs()} == inputs
        assert len(outputs[True]) == len(outputs[False])  # as many ends with the layer as without it


def test_round_trip_on_this_machine(tmp_path: Path) -> None:
    """The written files, timed here, say about what the microbenchmark says.

    Other work on the machine makes single times too long, never too short, and differences wrong either way. So each
    file's least time of all sessions counts, and each layer's median; a slip of a copy is a factor of two or more in
    every session.
    """
    from netsmith.hardware.measured.microbench import measure

    folder = tmp_path / "x"
    image = {"h_in": 16, "w_in": 16, "h_out": 16, "w_out": 16, "layout": MAPS, "kernel_h": 3, "kernel_w": 3}
    conv = {"name": "c", "kind": KIND["conv"], "c_in": 64, "c_out": 64} | image
    fc = {"name": "fc", "kind": KIND["linear"], "c_in": 512, "c_out": 256}
    table = LayerTable.from_rows([conv, fc])
    keys = [Key(*k) for k in keys_of(table).tolist()]
    write_layers(table, folder, calibrate=False)
    names = list(dict.fromkeys(line.split(",")[0] for line in (folder / "timings.csv").read_text().splitlines()[5:]))
    least, here = dict.fromkeys(names, np.inf), []
    for session in range(12):  # one will do on a quiet machine
        timed = time_models({n: folder / n for n in names}, seconds=0.3, seed=session)
        least = {n: min(t, timed[n].quiet_s) for n, t in least.items()}
        lines = [f"{n},{timed[n].n},{least[n]!r},{timed[n].iqr_s!r}" for n in [*names, *names[:2]]]
        (folder / "timings.csv").write_text(HEAD + "file,runs,median_s,iqr_s\n" + "\n".join(lines) + "\n")
        entries = measure(keys, max_rounds=40, seed=session).entries
        here.append([entries[k].seconds for k in keys])
        measured = np.median(here, axis=0)
        try:
            read_timings(folder).save(tmp_path / "device.json")
        except InputError:  # a file with the layer was faster than one without it, so the latter was never undisturbed
            if session == 11:
                raise
            continue
        cost = get_target(f"table:{tmp_path / 'device.json'}").cost(table).latency_s
        if np.allclose(cost, measured, rtol=0.4):
            break
    assert cost == pytest.approx(measured, rel=0.4)


def test_measure_here_is_target_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netsmith.hardware.measured import calibrate, microbench

    asked: list[Key] = []

    def measured(keys: list[Key], keep: Callable[[microbench.Campaign], None], **_: object) -> microbench.Campaign:
        asked.extend(keys)
        campaign = microbench.Campaign({k: Entry(1e-6, 0.0, 10, 1) for k in keys}, ((1e-6, 1e-6),), 0.0)
        keep(campaign)
        return campaign

    monkeypatch.setattr(microbench, "measure", measured)
    monkeypatch.setattr(calibrate, "calibrate", lambda threads, progress: Calibration((1.0, 1.0), 0.0, 0.0))
    table = measure_here(small(), path=tmp_path / "here.json")
    assert len(asked) == len(table.entries) == 3
    assert LatencyTable.load(tmp_path / "here.json").entries == table.entries
    measure_here(small(), path=tmp_path / "here.json")
    assert len(asked) == 3  # nothing is measured twice

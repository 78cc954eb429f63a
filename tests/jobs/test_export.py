"""Export copies what the run built, whole or not at all, and replaces nothing but exports."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from netsmith.errors import InputError
from netsmith.export.onnx import to_onnx
from netsmith.export.packed import write_packed
from netsmith.export.pt2 import save_pt2
from netsmith.jobs.export import export, is_export
from netsmith.network.graph import trace
from netsmith.network.weights import read_weights, save_weights
from netsmith.report import write_report
from netsmith.runs.folder import Run
from netsmith.runs.names import FORMATS
from netsmith.training import checkpoint

FIGURES = {"accuracy": 0.9, "latency_measured_s": None, "latency_predicted_s": 1.0, "macs": 1, "params": 1,
           "size_bytes": 1}  # fmt: skip
SUMMARY: dict[str, Any] = {
    "baseline": FIGURES, "result": FIGURES, "budgets": [], "design": [], "frozen": {}, "seed": 0, "versions": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a small network."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    graph = trace(model, (1, 4, 4))
    with Run.create(tmp_path_factory.mktemp("finished") / "run", {"job": "compress"}) as run:

        def build() -> None:
            run.write_bytes("model.onnx", to_onnx(graph).SerializeToString())
            save_pt2(graph, run.place("model.pt2"))
            save_weights(run.place("model.safetensors"), model.state_dict())
            write_packed(run.place("model.nsw"), {})

        run.stage("build", build)
        run.finish(SUMMARY | {"run": str(run.folder)})
    return run.folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A run of the test's own."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_may_be_renewed_and_nothing_else_replaced(folder: Path, tmp_path: Path, format: str) -> None:
    out, source = tmp_path / f"mine.{format}", folder / FORMATS[format]
    for _ in range(2):
        assert export(folder, format=format, out=out)["bytes"] == source.stat().st_size
    assert out.read_bytes() == source.read_bytes() and is_export(out, format)
    out.write_bytes(b"all of my thesis")
    with pytest.raises(InputError, match=rf"mine\.{format} exists and is not a {format} file that netsmith exported"):
        export(folder, format=format, out=out)
    assert out.read_bytes() == b"all of my thesis"


def test_the_files_of_another_run_stay(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    for out in (other / "model.onnx", other / "model.pt2"):
        with pytest.raises(InputError, match="file of another run"):
            export(folder, format=out.suffix[1:], out=out)
    export(other)


def test_files_have_the_same_bytes_every_time(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    metadata = {f"key {i}": i for i in range(20)}
    for name in ("one", "two"):
        save_pt2(trace(model, (1, 4, 4)), tmp_path / f"{name}.pt2")
        save_weights(tmp_path / f"{name}.safetensors", model.state_dict(), metadata)
        checkpoint.save(
            tmp_path / f"{name}.checkpoint", checkpoint.Checkpoint(model.state_dict(), {"a": 1}), {"b": "2", "c": "3"}
        )
    for suffix in ("pt2", "safetensors", "checkpoint"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()
    assert b"site-packages" not in (tmp_path / "one.pt2").read_bytes()  # no places on the machine that wrote it
    state, found = read_weights(tmp_path / "one.safetensors")
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items()) and found["key 7"] == "7"


def test_networks_of_other_programs_are_not_replaced(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = nn.Linear(2, 2)
    other = {n: tmp_path / f"other.{n}" for n in ("onnx", "pt2", "safetensors")}
    save_file(model.state_dict(), other["safetensors"], metadata={"format": "pt"})
    torch.export.save(torch.export.export(model, (torch.zeros(2, 2),)), other["pt2"])
    foreign = onnx.load(folder / "model.onnx")
    foreign.producer_name = "pytorch"
    onnx.save(foreign, other["onnx"])
    for format, path in other.items():
        with pytest.raises(InputError, match="exists and is not"):
            export(folder, format=format, out=path)


def test_a_full_disk_keeps_the_old_export(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.onnx"
    export(folder, out=out)
    old = out.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, hard))
    try:
        with pytest.raises(InputError, match=r"mine\.onnx could not be written"):
            export(folder, out=out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert out.read_bytes() == old and sorted(p.name for p in tmp_path.iterdir()) == ["mine.onnx", "run"]


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_and_missing_files_are_not_exported(folder: Path, tmp_path: Path, format: str) -> None:
    path = folder / FORMATS[format]
    good = path.read_bytes()
    for bad in (good[: len(good) // 2], good[:-1] + bytes([good[-1] ^ 1]), b""):
        path.write_bytes(bad)
        for use in (lambda: export(folder, format=format, out=tmp_path / "out"), lambda: write_report(folder)):
            with pytest.raises(InputError, match=rf"{path.name} is damaged or was edited"):
                use()
    path.unlink()
    with pytest.raises(InputError, match=rf"{path.name} is missing; repeat the run's command with --resume"):
        export(folder, format=format)
    assert not (tmp_path / "out").exists()


def test_a_summary_that_was_edited_is_not_reported(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    summary["result"] = FIGURES | {"accuracy": 1.0}
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match=r"summary\.json is damaged or was edited"):
        write_report(folder)


def test_a_place_that_cannot_be_written_is_found_first(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--out .*file/x\.onnx cannot be written"):
        export(folder, out=tmp_path / "file" / "x.onnx")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "file")
    with pytest.raises(InputError, match="is a symbolic link"):
        export(folder, out=tmp_path / "link.onnx")
    (folder / "report.html").symlink_to(tmp_path / "file")
    with pytest.raises(InputError, match=r"report\.html is a symbolic link"):
        write_report(folder)
    assert (tmp_path / "file").read_text() == ""

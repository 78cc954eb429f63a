"""The demonstration replaces an earlier one and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netsmith.errors import InputError
from netsmith.jobs import demo as job
from netsmith.network.load import load_model
from netsmith.network.weights import save_weights
from netsmith.runs.folder import Run


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Both of its jobs as far as files go."""
    called: list[str] = []

    def compress(model: str, data: str, *, out: Path, job: str, **_: Any) -> None:
        called.append("compress")
        with Run.create(out, {"job": job, "model": model}) as run:
            run.stage("build", lambda: run.write_text("model.onnx", "x").name)

    def train(model: str, data: str, *, out: Path, job: str, **_: Any) -> None:
        called.append("train")
        save_weights(out, load_model("zoo:digits").model.state_dict(), {"made_by": "{}", "job": job})

    monkeypatch.setattr(job, "compress", compress)
    monkeypatch.setattr(job, "train", train)
    return called


def test_an_earlier_demonstration_is_replaced(tmp_path: Path) -> None:
    job.demo(tmp_path / "demo")
    job.demo(tmp_path / "demo")
    assert (tmp_path / "demo" / "model.onnx").read_text() == "x"


def test_anything_else_stays(tmp_path: Path, quick: list[str]) -> None:
    Run.create(tmp_path / "mine", {"job": "compress", "model": job.MODEL}).close()
    job.demo(tmp_path / "noted")
    (tmp_path / "noted" / "stages" / "notes.txt").write_text("mine")
    job.demo(tmp_path / "linked")
    (tmp_path / "linked" / "model.pt2").symlink_to(tmp_path)
    (tmp_path / "other-baseline.safetensors").write_bytes(b"mine")
    del quick[:]
    for name, words in (
        ("mine", "not from an earlier demonstration"), ("noted", r"has stages/notes\.txt"), ("linked", "symbolic link"),
        ("other", r"other-baseline\.safetensors exists and is not the baseline of an earlier demonstration"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            job.demo(tmp_path / name)
    assert not quick  # found before anything is trained
    assert (tmp_path / "mine" / "config.json").exists() and (tmp_path / "noted" / "model.onnx").exists()
    assert (tmp_path / "other-baseline.safetensors").read_bytes() == b"mine"


def test_a_bad_seed_removes_nothing(tmp_path: Path) -> None:
    job.demo(tmp_path / "demo")
    with pytest.raises(InputError, match="--seed is -1"):
        job.demo(tmp_path / "demo", seed=-1)
    assert (tmp_path / "demo" / "model.onnx").exists()

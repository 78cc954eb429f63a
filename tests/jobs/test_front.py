"""Several networks of one search: where they lie, what their folders hold, and what is certified of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netsmith
from netsmith.errors import InputError
from netsmith.jobs.compress import compress
from netsmith.jobs.front_search import placed
from netsmith.jobs.tested import right_of
from netsmith.runs.summary import all_met

MODEL = "zoo:digits?channels=16&blocks=1"


def run(weights: Path, out: Path, **options: Any) -> dict[str, Any]:
    given = {"target": "roofline-edge", "weights": str(weights), "epochs": 1, "front": 3}
    return compress(MODEL, "digits", out=out, **(given | options)).summary


@pytest.fixture(scope="module")
def made(digits_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("runs") / "front"
    return run(digits_weights, out), out


def test_limits_lie_evenly_by_cost_and_loss_and_end_with_the_cheapest() -> None:
    curve = np.array([[10.0, 0.0], [8.0, 1e-4], [6.0, 0.02], [4.0, 0.1], [2.0, 1.0], [1.0, 5.0]])
    found = placed(curve, 5)
    assert found[0] == pytest.approx(8.0) and found[-1] == pytest.approx(1.0)  # what loses nothing is where it begins
    assert found == sorted(set(found), reverse=True)
    assert sum(v > 2.0 for v in found) >= 3  # most of them before most is lost
    assert placed(curve[-1:], 4) == [pytest.approx(1.0)]


def test_every_point_is_a_run_of_its_own_and_the_front_is_about_the_chosen_one(
    made: tuple[dict[str, Any], Path],
) -> None:
    summary, out = made
    points = json.loads((out / "front.json").read_text())
    assert points == summary["front"]["points"] and len(points) >= 2
    assert [p["score"] for p in points] == sorted((p["score"] for p in points), reverse=True)
    for point in points:
        own = netsmith.load(out / point["folder"]).summary
        assert own["result"]["accuracy"] == point["score"]
        assert own["certificate"]["loss_bound"] == point["loss_bound"] >= point["loss"]
        assert point["cost_bound"] is None or 0 < point["cost_bound"] <= point["costs"]["latency"] * (1 + 1e-9)
        assert (out / point["folder"] / "model.onnx").is_file()
        assert point["latency_measured_s"] is None and own["simulated"]
    chosen = next(p for p in points if p["folder"] == summary["front"]["chosen"])
    assert summary["result"]["accuracy"] == chosen["score"]
    assert netsmith.load(out).product["onnx"] == (out / chosen["folder"] / "model.onnx").absolute()
    assert {mark["name"] for mark in summary["front"]["marks"]} >= {"int8"}


def test_the_test_split_is_looked_at_once_and_later_networks_go_on_from_earlier_ones(
    made: tuple[dict[str, Any], Path],
) -> None:
    summary, out = made
    given = right_of(json.loads((out / "stages" / "test.json").read_text())["value"])
    runs = [out / p["folder"] for p in summary["front"]["points"]]
    for folder in runs:
        stage = json.loads((folder / "stages" / "test.json").read_text())["value"]
        assert (right_of(stage["tested"]["before"]) == given).all()
    started = [json.loads((folder / "summary.json").read_text())["started_from"] for folder in runs]
    for folder, start in zip(runs, started, strict=True):
        assert (folder / "family" / "start.safetensors").is_file() is (start is not None)


def test_a_front_that_was_killed_comes_to_the_same(
    made: tuple[dict[str, Any], Path], digits_weights: Path, tmp_path: Path
) -> None:
    summary, out = made
    again = tmp_path / "again"
    shutil.copytree(out, again)
    last = sorted((again / "points").iterdir())[-1]
    for name in ("summary.json", "front.json", f"points/{last.name}/stages/build-0.json", "stages/test.json"):
        (again / name).unlink()
    found = run(digits_weights, again, resume=True)
    assert found["front"] == summary["front"]


def test_what_cannot_be_certified_is_no_success(digits_weights: Path, tmp_path: Path) -> None:
    summary = run(digits_weights, tmp_path / "run", min_score=100.0, front=2, epochs=0, methods="quantize")
    assert summary["certificate"]["met"] is False and not all_met(summary)
    assert summary["certificate"]["asked"] == {"min_score": 1.0}
    chosen = next(p for p in summary["front"]["points"] if p["folder"] == summary["front"]["chosen"])
    assert chosen["certified"] is False


def test_a_cost_that_the_target_does_not_know_is_refused_before_any_work(digits_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="minimize another cost"):
        run(digits_weights, tmp_path / "run", target="cpu", minimize="energy")
    assert not (tmp_path / "run").exists()

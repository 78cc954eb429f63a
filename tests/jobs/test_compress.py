"""The main job end to end on the digits: budgets, files, resuming, and what cannot be done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from netsmith.certificates import certificate
from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.data import load_data
from netsmith.errors import InfeasibleError, InputError
from netsmith.export.fusion import Fusion, check_fusion
from netsmith.hardware import target as targets
from netsmith.hardware.target import Capabilities, Cost
from netsmith.jobs import integers
from netsmith.jobs.compare import compare
from netsmith.jobs.compress import compress
from netsmith.jobs.export import export
from netsmith.jobs.load import load
from netsmith.jobs.profile import profile
from netsmith.jobs.tested import right_of
from netsmith.network.layers import LayerTable
from netsmith.network.load import load_model
from netsmith.network.weights import read_weights
from netsmith.runs.summary import all_met, check_summary
from products import check_export, check_networks

MODEL = "zoo:digits?channels=16&blocks=1"


class Simulated:
    """Arithmetic in place of a device, so that equal runs are equal."""

    name = "simulated"
    capabilities = Capabilities(bits=((32, 32), (8, 8)), channel_multiple=4)

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        work = table.macs * np.where(table.a_bits < 32, 1e-11, 3e-11)
        energy = table.macs * np.where(table.a_bits < 32, 1e-12, 4e-12) + table.weights * 1e-12
        return Cost(work + np.where(table.is_compute, 1e-7, 5e-8), energy_j=energy)


@pytest.fixture(autouse=True)
def _simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(targets._REGISTRY, "simulated", Simulated)


@pytest.fixture(scope="module")
def weights(digits_weights: Path) -> Path:
    torch.set_num_threads(1)
    return digits_weights


def run(weights: Path, out: Path, /, **options: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"target": "simulated", "latency": "0.5x", "epochs": 1, "weights": str(weights)}
    return compress(MODEL, "digits", out=out, **(settings | options)).summary


@pytest.fixture(scope="module")
def finished(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("runs") / "half"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(targets._REGISTRY, "simulated", Simulated)
        return run(weights, out, latency="0.3x", epochs=8), out


def test_budget_is_met_and_accuracy_survives(finished: tuple[dict[str, Any], Path]) -> None:
    summary, _ = finished
    assert summary["budgets"][0]["met"] and summary["simulated"]
    assert summary["result"]["macs"] < summary["baseline"]["macs"]
    assert summary["result"]["accuracy"] > summary["baseline"]["accuracy"] - 0.1
    assert summary["bound"] is not None and summary["bound"] <= summary["loss"] + 1e-9
    assert summary["fusion"]["fused"] >= summary["fusion"]["expected"]


def test_files_of_a_run_stand_on_their_own(finished: tuple[dict[str, Any], Path]) -> None:
    summary, out = finished
    assert json.loads((out / "summary.json").read_text())["design"] == summary["design"]
    data = load_data("digits")
    x, _ = next(data.test.batches(64, normalise=data.normalisation))
    recipe = Recipe.from_json((out / "recipe.json").read_text())
    model = apply_recipe(load_model(MODEL).factory(), recipe)
    state, _ = read_weights(out / "model.safetensors")
    model.load_state_dict(state, strict=True)
    program = torch.export.load(out / "model.pt2").module()
    with torch.no_grad():
        replayed, loaded = model.eval()(x), program(x)
    assert float((replayed - loaded).norm() / replayed.norm()) < 0.1  # the program is quantized, the module is not
    check_networks(load(out), data, agreement=0.9)


def test_the_same_weights_are_exported_to_the_same_integers(
    finished: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    check_export(load(finished[1]), tmp_path / "again", load_data("digits"))


def test_killed_anywhere_and_resumed_is_the_same(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = run(weights, tmp_path / "whole", latency="0.2x")
    from netsmith.runs.folder import Run

    real, stopped = Run.stage, []

    def fragile(self: Run, name: str, compute: Any, inputs: Any = None) -> Any:
        value = real(self, name, compute, inputs)
        if name in ("sensitivity", "build-0") and name not in stopped:
            stopped.append(name)
            raise KeyboardInterrupt
        return value

    monkeypatch.setattr(Run, "stage", fragile)
    got = None
    for attempt in range(5):
        try:
            got = run(weights, tmp_path / "killed", latency="0.2x", resume=attempt > 0)
            break
        except KeyboardInterrupt:
            continue
    assert got is not None and len(stopped) == 2
    assert got["design"] == want["design"]
    assert got["result"] == want["result"]


def test_energy_and_size_budgets_together(weights: Path, tmp_path: Path) -> None:
    summary = run(weights, tmp_path / "two", latency=None, energy="0.5x", size="0.3x", epochs=0)
    assert {b["cost"] for b in summary["budgets"]} == {"energy", "size"}
    assert all(b["met"] for b in summary["budgets"])


def test_impossible_budget_says_what_is_possible(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError, match="smallest") as caught:
        run(weights, tmp_path / "no", latency="1ns")
    assert caught.value.exit_code == 3 and caught.value.reachable["latency"] > 1e-9
    assert [p.name for p in (tmp_path / "no").iterdir()] == [".lock"], "the folder takes another budget"


def test_measured_on_this_machine(weights: Path, tmp_path: Path) -> None:
    try:
        summary = run(weights, tmp_path / "cpu", target="cpu", latency="0.9x", epochs=1)
    except InfeasibleError as error:  # a tiny network may have nothing to give on some machine, but then it says so
        assert error.reachable["latency"] > 0
        return
    assert summary["result"]["latency_measured_s"] > 0 and not summary["simulated"]
    assert summary["fidelity"] and summary["timing"]["rounds"] >= 20
    assert summary["budgets"][0]["met"] == (summary["budgets"][0]["value"] <= summary["budgets"][0]["limit"])
    row = compare([tmp_path / "cpu"])["rows"][0]
    assert row["ratio"] == pytest.approx(summary["timing"]["ratio"])
    copied = export(tmp_path / "cpu", format="onnx", out=tmp_path / "deep" / "net.onnx")
    assert Path(copied["file"]).stat().st_size == copied["bytes"] > 1000


def test_profile_of_a_network(tmp_path: Path) -> None:
    report = profile(MODEL, target="cpu", input_shape=(1, 8, 8))
    assert sum(row["macs"] for row in report["layers"]) == report["totals"]["macs"]
    assert all(row["latency_s"] > 0 for row in report["layers"])
    assert sum(row["share"] for row in report["layers"]) <= 1 + 1e-9
    assert report["layers"][-1]["frozen"] is not None  # the classifier's outputs are the classes


class Unlabelled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latency": None}, "budget"),
        ({"latency": "0.5"}, "unit"),
        ({"latency": "-1ms"}, "latency"),
        ({"target": "cpuu"}, "did you mean 'cpu'"),
        ({"strategy": "exakt"}, "did you mean 'exact'"),
        ({"methods": "prune,quantise"}, "did you mean 'quantize'"),
        ({"methods": ""}, "methods"),
        ({"calibration": "entropie"}, "did you mean 'entropy'"),
        ({"importance": "l3"}, "must be one of l1, l2, taylor"),
        ({"sensitivity": "losss"}, "did you mean 'loss'"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"seed": 10**30}, "--seed must be at most 9223372036854775807"),
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors"),
        ({"latency": None, "energy": "0.5x", "target": "cpu"}, "energy"),
    ],
)
def test_bad_input_is_one_sentence(weights: Path, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        run(weights, tmp_path / "bad", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bad").exists() or options.keys() & {"weights", "energy"}  # found before there is a run


def test_wrong_classes_and_used_folder(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="classes"):
        compress(
            nn.Sequential(nn.Flatten(), nn.Linear(64, 7)),
            "digits",
            target="simulated",
            latency="0.5x",
            out=tmp_path / "a",
        )
    assert not (tmp_path / "a" / "config.json").exists()  # the corrected command may use the same folder
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        run(weights, tmp_path / "b")
    run(weights, tmp_path / "c", epochs=0)
    with pytest.raises(InputError, match="--latency"):
        run(weights, tmp_path / "c", epochs=0, latency="0.6x", resume=True)
    (tmp_path / "c" / "stages" / "sensitivity.json").write_text("{broken")
    with pytest.raises(InputError, match=r"sensitivity\.json"):
        run(weights, tmp_path / "c", epochs=0, resume=True)


def test_a_layer_that_the_runtime_computes_in_floats_is_not_called_int8(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []

    def misses_one(model: Any, layers: Any) -> Fusion:
        asked.append(set(layers))
        missed = tuple({"layer1.0.conv1"}.intersection(layers))
        return replace(check_fusion(model, layers), floats=missed)

    monkeypatch.setattr(integers, "check_fusion", misses_one)
    summary = run(weights, tmp_path / "out", methods="quantize", latency=None, size="0.3x", epochs=0)
    assert asked[1:] == [asked[0] - {"layer1.0.conv1"}]
    row = next(r for r in summary["layers"] if r["name"] == "layer1.0.conv1")
    others = [r["choice"]["bits"] for r in summary["layers"] if r["name"] in asked[1]]
    assert row["choice"]["bits"] == row["choice"]["a_bits"] == 32 and others and set(others) == {8}
    assert "ONNX Runtime" in summary["frozen"]["layer1.0.conv1"] and summary["fusion"]["fused"] == len(asked[1])
    recipe = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert set(recipe["quantize"]["int8"]) == asked[1]
    stored = {i.name for i in onnx.load(tmp_path / "out" / "model.onnx").graph.initializer}
    assert {f"{n}.weight_q" for n in asked[1]} == {n for n in stored if n.endswith("weight_q")}


def test_what_was_right_comes_back_as_it_was() -> None:
    right = np.random.default_rng(0).random(37) < 0.6
    kept = {"right": np.packbits(right).tobytes().hex(), "examples": 37}
    assert (right_of(json.loads(json.dumps(kept))) == right).all()


def test_a_summary_certifies_what_its_examples_say(finished: tuple[dict[str, Any], Path]) -> None:
    summary, folder = finished
    stage = json.loads((folder / "stages" / "test.json").read_text())["value"]
    before, after = (right_of(stage["tested"][side]) for side in ("before", "after"))
    assert before.mean() == summary["baseline"]["accuracy"] and after.mean() == summary["result"]["accuracy"]
    assert summary["certificate"] == json.loads(json.dumps(certificate(before, after).to_dict()))
    assert summary["certificate"]["met"] is None and all_met(summary)


def test_a_certificate_that_fails_is_no_success_and_cannot_be_written_away(
    finished: tuple[dict[str, Any], Path],
) -> None:
    summary = json.loads(json.dumps(finished[0]))
    record = summary["certificate"]
    record |= {"asked": {"max_drop": 0.0}, "loss_bound": 0.01, "loss": 0.0, "met": False}
    check_summary(summary)
    assert not all_met(summary)
    record["met"] = True
    with pytest.raises(InputError, match="met is true"):
        check_summary(summary)

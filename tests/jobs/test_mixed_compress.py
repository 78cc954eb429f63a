"""``compress --methods quantize`` on hardware with a width per layer: the budget, the files, resuming."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from labelled import fit
from netsmith.data import load_data
from netsmith.errors import InfeasibleError, InputError
from netsmith.export.packed import decode_packed
from netsmith.jobs.compress import compress
from netsmith.jobs.load import load
from netsmith.network.load import load_model
from netsmith.network.weights import save_weights
from netsmith.training import Training
from products import check_export, check_networks


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:  # type: ignore[no-untyped-def]
    path: Path = tmp_path_factory.mktemp("weights") / "digits.safetensors"
    model = load_model("zoo:digits?channels=8").model
    fit(model, load_data("digits"), Training(epochs=4, lr=0.05))
    save_weights(path, model.state_dict())
    return str(path)


def run(weights: str, out: Path, **options):  # type: ignore[no-untyped-def]
    given = {"target": "bismo-edge", "methods": "quantize", "weights": weights, "epochs": 1, "out": out}
    return compress("zoo:digits?channels=8", "digits", **(given | options)).summary


def test_energy_budget_is_kept_by_bits_alone_and_training_recovers(weights: str, tmp_path: Path) -> None:
    summary = run(weights, tmp_path / "run", energy="0.4x", evaluations=6)
    (budget,) = summary["budgets"]
    assert budget["met"] and budget["value"] <= budget["limit"]
    assert summary["simulated"] and summary["result"]["latency_measured_s"] is None
    assert summary["result"]["macs"] == summary["baseline"]["macs"]
    widths = {layer["name"]: (layer["choice"]["bits"], layer["choice"]["a_bits"]) for layer in summary["layers"]}
    names = list(widths)
    assert widths[names[0]] == widths[names[-1]] == (8, 8)
    assert len(set(widths.values())) > 1 and min(min(pair) for pair in widths.values()) < 8
    assert summary["result"]["search_accuracy"] >= summary["search_accuracy_untuned"] - 0.03
    assert summary["result"]["accuracy"] > summary["baseline"]["accuracy"] - 0.1
    file = tmp_path / "run" / "model.nsw"
    assert file.stat().st_size == summary["result"]["size_bytes"] < 0.35 * summary["baseline"]["size_bytes"]
    assert decode_packed(file)
    check_networks(load(tmp_path / "run"), load_data("digits"), agreement=0.9)
    assert summary["parity"]["ok"]
    assert summary["additivity"]["n"] >= 10 and -1 <= summary["additivity"]["spearman"] <= 1


@pytest.mark.parametrize("strategy", ["ddpg", "evolution", "uniform"])
def test_other_strategies_keep_the_budget(weights: str, tmp_path: Path, strategy: str) -> None:
    summary = run(weights, tmp_path / "run", latency="0.5x", strategy=strategy, evaluations=5, epochs=0)
    assert summary["budgets"][0]["met"] and summary["result"]["accuracy"] > 0.2  # of ten classes, untrained
    if strategy == "uniform":
        check_export(load(tmp_path / "run"), tmp_path / "again", load_data("digits"))


def test_a_search_that_was_killed_goes_on_to_the_same_design(weights: str, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from netsmith.jobs.searching import EVALUATED
    from netsmith.runs.folder import Run
    from netsmith.study.measured import Measured

    whole = run(weights, tmp_path / "whole", energy="0.4x", strategy="ddpg", evaluations=8, epochs=0)
    evaluate, calls = Measured.evaluate, []

    def dies(self, proposals):  # type: ignore[no-untyped-def]
        calls.append(proposals)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return evaluate(self, proposals)

    monkeypatch.setattr(Measured, "evaluate", dies)
    with pytest.raises(KeyboardInterrupt):
        run(weights, tmp_path / "killed", energy="0.4x", strategy="ddpg", evaluations=8, epochs=0)
    fresh: list[int] = []

    def counts(self, proposals):  # type: ignore[no-untyped-def]
        fresh.append(len(proposals))
        return evaluate(self, proposals)

    monkeypatch.setattr(Measured, "evaluate", counts)
    resumed = run(weights, tmp_path / "killed", energy="0.4x", strategy="ddpg", evaluations=8, epochs=0, resume=True)
    assert resumed["design"] == whole["design"]
    with Run.open(tmp_path / "whole") as run_:
        logged = len([t for t in run_.trials() if t["kind"] == EVALUATED])
    assert sum(fresh) == logged - 4  # what had been evaluated was not evaluated again
    assert json.loads((tmp_path / "killed" / "summary.json").read_text())["design"] == whole["design"]


def test_designs_can_be_trained_before_they_are_scored(weights: str, tmp_path: Path) -> None:
    options = {"energy": "0.25x", "strategy": "uniform", "evaluations": 2, "epochs": 0}
    plain = run(weights, tmp_path / "plain", **options)
    tuned = run(weights, tmp_path / "tuned", episode_images=512, **options)
    assert tuned["loss"] < plain["loss"]  # divergence after training, of designs of the same widths
    with pytest.raises(InputError, match="episode-images"):
        run(weights, tmp_path / "cpu", target="cpu", episode_images=64, evaluations=2, latency="0.9x")
    assert not (tmp_path / "cpu" / "config.json").exists()  # said before anything is measured


def test_what_cannot_be_done_is_said(weights: str, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError, match="reachable") as caught:
        run(weights, tmp_path / "a", energy="0.01x")
    assert caught.value.reachable["energy"] > 0
    with pytest.raises(InputError, match="least-bits"):
        run(weights, tmp_path / "b", energy="0.5x", least_bits=9)


class Counted(torch.nn.Module):
    """A forward that makes a number of its batch, which then stands in what is traced of it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = (torch.nn.Conv2d(1, 8, 3), torch.nn.Conv2d(8, 8, 3, 2), torch.nn.Linear(32, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.b(torch.relu(self.a(x)))).reshape(len(x), -1))


def test_a_network_that_counts_its_batch_is_compressed_and_what_it_exports_is_said(tmp_path: Path) -> None:
    options = {"target": "bismo-edge", "methods": "quantize", "energy": "0.9x", "epochs": 0, "evaluations": 4}
    summary = compress(Counted(), "digits", out=tmp_path / "run", **options).summary
    assert summary["budgets"][0]["met"] and summary["search_accuracy_untuned"] is not None
    assert any("batches of exactly 2" in warning for warning in summary["warnings"])

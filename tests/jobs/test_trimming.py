"""``compress --strategy netadapt`` on the digits: the family, short trainings from the winner's weights, resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from labelled import fit
from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.compression.widen import widened
from netsmith.data import load_data
from netsmith.errors import InfeasibleError, InputError
from netsmith.hardware import target as targets
from netsmith.hardware.target import Capabilities, Cost
from netsmith.jobs import searching, stages
from netsmith.jobs.compress import compress
from netsmith.network.graph import trace
from netsmith.network.layers import LayerTable
from netsmith.network.load import load_model
from netsmith.network.weights import load_weights, save_weights
from netsmith.runs.folder import Run
from netsmith.study.inherited import FOLDER, Inherited
from netsmith.study.measured import Measured
from netsmith.training import Training

MODEL = "zoo:digits?channels=8&blocks=1"
STEPS = {"strategy": "netadapt", "latency": "0.7x"}


class Arithmetic:
    """Time in proportion to the work."""

    name = "arithmetic"
    capabilities = Capabilities(bits=((32, 32), (8, 8)), channel_multiple=2)

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        return Cost(table.macs * 1e-9)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setitem(targets._REGISTRY, "arithmetic", Arithmetic)
    monkeypatch.setattr(searching, "EVALUATION_EXAMPLES", 128)
    monkeypatch.setattr(stages, "EVALUATION_EXAMPLES", 128)
    monkeypatch.setattr(stages, "SENSITIVITY_EXAMPLES", 64)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("weights") / "digits.safetensors"
    model = load_model(MODEL).model
    fit(model, load_data("digits"), Training(epochs=4, lr=0.05))
    save_weights(path, model.state_dict())
    return str(path)


def run(weights: str, out: Path, **options: Any) -> dict[str, Any]:
    given = {"target": "arithmetic", "methods": "prune", "weights": weights, "epochs": 0, "out": out}
    return compress(MODEL, "digits", **(given | STEPS | options)).summary


def built(member: dict[str, Any], folder: Path, weights: str) -> torch.nn.Module:
    """A network of the family, from its recipe and weights."""
    model = load_model(MODEL, weights=weights).model
    apply_recipe(model, Recipe.from_json((folder / member["recipe"]).read_text()))
    if member["weights"]:
        load_weights(model, folder / member["weights"])
    return model.eval()


@pytest.mark.parametrize("strategy", ["netadapt", "compactnet"])
def test_masked_designs_lead_to_the_budget_and_leave_a_family(weights: str, tmp_path: Path, strategy: str) -> None:
    summary = run(weights, tmp_path / "run", strategy=strategy)
    assert summary["budgets"][0]["met"] and summary["rule"] == "accuracy"
    family = summary["family"]
    assert len(family) > 2 and family[0]["speed_up"] == {"latency": 1.0} and family[0]["loss"] < 1e-9
    resources = [m["resource"] for m in family]
    assert (np.diff(resources) < 0).all() and resources[-1] <= 1 < resources[-2]
    assert summary["loss"] == family[-1]["loss"]
    given = trace(load_model(MODEL).model, (1, 8, 8)).layers.macs.sum()
    for member in (family[1], family[-1]):
        macs = trace(built(member, tmp_path / "run", weights), (1, 8, 8)).layers.macs.sum()
        assert given / macs == pytest.approx(member["speed_up"]["latency"], rel=1e-9)
    assert summary["result"]["macs"] == macs
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["family"] == family


def test_short_trainings_go_on_from_the_winner_and_resume_where_they_were_killed(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"episode_images": 192, "latency": "0.8x"}
    train, full, starts = Inherited._train, Inherited._full, {}

    def records(self: Inherited, path: Any) -> Any:
        starts[path] = made = full(self, path)
        return made

    monkeypatch.setattr(Inherited, "_full", records)
    whole = run(weights, tmp_path / "whole", **options)
    family = whole["family"]
    assert all(m["weights"] for m in family[1:]) and whole["budgets"][0]["met"]
    # a candidate starts from the weights of the winner before it
    before = built(family[-2], tmp_path / "whole", weights)
    recipe = Recipe.from_json((tmp_path / "whole" / family[-2]["recipe"]).read_text())
    want = widened(load_model(MODEL).model, before, recipe).state_dict()
    start = starts[tuple(tuple(m["design"]) for m in family[:-1])].state_dict()
    assert all(torch.equal(v, want[k]) for k, v in start.items() if v.is_floating_point())
    # the last network is in the folder with the weights that it was scored with
    images = load_data("digits").search
    x, _ = next(images.batches(128, normalise=load_data("digits").normalisation))
    trained = built(family[-1], tmp_path / "whole", weights)
    with torch.inference_mode():
        reference = torch.log_softmax(load_model(MODEL, weights=weights).model.eval()(x), dim=1)
        log_p = torch.log_softmax(trained(x), dim=1)
        loss = float((reference.exp() * (reference - log_p)).sum(dim=1).double().mean())
    assert loss == pytest.approx(family[-1]["loss"], rel=1e-4)
    cut = built(family[-1] | {"weights": None}, tmp_path / "whole", weights).state_dict()  # of the network as given
    assert not any(torch.equal(v, cut[k]) for k, v in trained.state_dict().items() if k.endswith("conv1.weight"))

    count = [0]

    def dies(self: Inherited, *args: Any) -> Any:
        count[0] += 1
        if count[0] == 8:
            raise KeyboardInterrupt
        return train(self, *args)

    monkeypatch.setattr(Inherited, "_train", dies)
    with pytest.raises(KeyboardInterrupt):
        run(weights, tmp_path / "killed", **options)
    with Run.open(tmp_path / "killed") as stopped:
        logged = len([t for t in stopped.trials() if t["kind"].startswith(FOLDER)])
    assert logged == 7
    # the last winner's weights were lost as well
    lost = sorted((tmp_path / "killed" / "family").glob("*.safetensors"), key=lambda p: p.stat().st_mtime)[-1]
    lost.unlink()
    count[0] = 100
    resumed = run(weights, tmp_path / "killed", resume=True, **options)
    assert resumed["family"] == family and resumed["result"] == whole["result"]
    with Run.open(tmp_path / "whole") as finished:
        trained = len([t for t in finished.trials() if t["kind"].startswith(FOLDER)])
    assert count[0] - 100 == trained - logged + 1  # what was logged was not trained again, but for the lost winner
    for name in ("model.safetensors", family[-1]["weights"]):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_summed_losses_alone_evaluate_nothing(weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Measured, "evaluate", lambda *_: pytest.fail("a design was evaluated"))
    summary = run(weights, tmp_path / "run", evaluations=0, methods="prune,quantize", latency="0.5x")
    assert summary["budgets"][0]["met"] and len(summary["family"]) > 1


def test_what_cannot_be_done_is_said(weights: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="drop --evaluations"):
        run(weights, tmp_path / "a", evaluations=20)
    with pytest.raises(InputError, match="give --methods prune"):
        run(weights, tmp_path / "b", episode_images=64, methods="prune,quantize")
    with pytest.raises(InputError, match="use l2"):
        run(weights, tmp_path / "b", episode_images=64, importance="reconstruction")
    with pytest.raises(InfeasibleError) as caught:
        run(weights, tmp_path / "c", latency="0.001x")
    assert caught.value.reachable["latency"] > 0

"""A front of networks of a design space: one search, then a network at each of several limits, in runs of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netsmith.cli.words import valued
from netsmith.errors import InfeasibleError, InputError
from netsmith.files import read_json
from netsmith.jobs import specialize_front
from netsmith.jobs.compare import compare
from netsmith.jobs.export import export
from netsmith.jobs.load import load
from netsmith.jobs.predict import predict
from netsmith.jobs.several import Front, front
from netsmith.jobs.specialize import specialize
from netsmith.jobs.tested import right_of
from netsmith.report import write_report
from netsmith.runs.folder import Run
from netsmith.runs.names import foreign
from netsmith.runs.summary import all_met

SPACE = """
image = 8
stem = 8
stem_stride = 1
head = 16
[[stages]]
channels = 8
blocks = 1
stride = 2
kernels = [3]
[[stages]]
channels = 16
blocks = 1
stride = 2
kernels = [3]
"""


def run(space: Path, out: Path, **options: Any) -> dict[str, Any]:
    usual = {
        "target": "bitfusion", "system": "oneshot", "front": 3, "minimize": "macs", "search_epochs": 1,
        "warmup_epochs": 1, "epochs": 1, "evaluations": 8, "train_limit": 300, "search_size": 64, "batch_size": 32,
    }  # fmt: skip
    return specialize(str(space), "digits", out=out, **(usual | options)).summary


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("space") / "small.toml"
    path.write_text(SPACE)
    return path


@pytest.fixture(scope="module")
def finished(space: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    torch.set_num_threads(1)
    return run(space, tmp_path_factory.mktemp("runs") / "front")


def test_networks_are_runs_of_their_own_from_one_search(finished: dict[str, Any]) -> None:
    folder, front = Path(finished["run"]), finished["front"]
    assert read_json(folder / "front.json", "") == front["points"]
    assert 2 <= len(front["points"]) <= 3 and len(list(folder.rglob("supernet-*.safetensors"))) == 1
    assert not foreign(folder)  # all of it may be removed and resumed
    for point in front["points"]:
        summary = Run.open(folder / point["folder"]).summary()
        assert point["costs"]["macs"] == summary["result"]["macs"] and point["score"] == summary["result"]["accuracy"]
        right = right_of(read_json(folder / point["folder"] / "stages/test.json", "")["value"]["oneshot"])
        assert point["score"] == pytest.approx(right.mean())
        assert summary["certificate"]["score_bound"] == point["score_bound"] < point["score"]
    costs = [p["costs"]["macs"] for p in sorted(front["points"], key=lambda p: p["folder"])]
    assert costs == sorted(costs, reverse=True)
    scores = [p["score"] for p in front["points"]]
    assert scores == sorted(scores, reverse=True)


def test_the_run_is_that_of_the_chosen_network(finished: dict[str, Any], tmp_path: Path) -> None:
    folder, chosen = Path(finished["run"]), finished["front"]["chosen"]
    result, own = load(folder), load(folder / chosen)
    assert result.product == {what: folder / chosen / path.name for what, path in own.product.items()}
    images = torch.zeros(2, 1, 8, 8)
    assert torch.equal(result.model(images), own.model(images))
    assert Path(export(folder)["file"]) == folder / chosen / "model.onnx"
    np.save(tmp_path / "x.npy", np.zeros((1, 8, 8), np.uint8))
    said = [predict(path, [tmp_path / "x.npy"])["predictions"][0]["top"] for path in (folder, folder / chosen)]
    assert said[0] == said[1]
    assert finished["front"]["rule"] == "the most accurate network on the search split" and all_met(finished)
    page = write_report(folder).read_text()
    assert 'class="plot front wide"' in page and "as given" not in page.split("Before and after")[0].split("<style>")[0]
    assert [Path(row["run"]).parent.name for row in compare([folder])["rows"]] == ["points"] * len(
        finished["front"]["points"]
    )


@pytest.mark.slow
def test_a_front_that_was_stopped_goes_on_with_the_network_that_was_not_finished(
    space: Path, finished: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, times = specialize_front.trained, [0]

    def cut(*given: Any) -> Any:
        times[0] += 1
        if times[0] == 2:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(specialize_front, "trained", cut)
    with pytest.raises(KeyboardInterrupt):
        run(space, tmp_path / "cut")
    resumed = run(space, tmp_path / "cut", resume=True)
    plain = [json.dumps({**f["front"], "baseline": None}) for f in (resumed, finished)]
    assert plain[0] == plain[1]
    for name in resumed["files"].values():
        assert (tmp_path / "cut" / name).read_bytes() == (Path(finished["run"]) / name).read_bytes(), name


def test_a_front_is_a_sequence_of_results(finished: dict[str, Any]) -> None:
    folder = Path(finished["run"])
    found = Front.open(folder)
    folders = [folder / point["folder"] for point in finished["front"]["points"]]
    assert [result.folder for result in found] == folders and len(found) == len(folders) and found.is_met
    assert found.chosen.folder == folder / finished["front"]["chosen"] and found[0].model is not None
    assert repr(found).startswith(f"Front of {len(folders)}: ")
    with pytest.raises(InputError, match=r"is a run of one network; open it by netsmith\.load"):
        Front.open(folders[0])
    for given in ({"model": "zoo:digits"}, {"data": "digits"}, {"model": "zoo:digits", "data": "digits", "space": "x"}):
        with pytest.raises(InputError, match="a front is of a trained network or of a space"):
            front(**given)


@pytest.mark.slow
def test_a_score_that_no_network_has_is_not_certified_and_a_budget_is_kept_by_all(space: Path, tmp_path: Path) -> None:
    found = run(space, tmp_path / "run", min_score=99.9, front=2, macs="0.9x", epochs=0, inherit=True)
    assert not all_met(found) and found["certificate"]["met"] is False
    limit = found["budgets"][0]["limit"]
    assert all(p["costs"]["macs"] <= limit for p in found["front"]["points"])
    assert {p["certified"] for p in found["front"]["points"]} == {False, None}
    with pytest.raises(InfeasibleError, match="the smallest reachable is"):
        run(space, tmp_path / "small", macs="0.01x", epochs=0)


@pytest.mark.slow
def test_losses_are_against_the_teacher(space: Path, finished: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(finished["run"]) / finished["front"]["chosen"]
    teacher = {
        "teacher": f"design:{folder / 'network.json'}",
        "teacher_weights": str(folder / "model.safetensors"),
    }
    found = run(space, tmp_path / "run", max_drop=100, front=2, epochs=0, inherit=True, **teacher)
    front, sure = found["front"], found["certificate"]
    assert front["teacher"]["score"] == sure["score_before"] and front["baseline"]["score"] is None
    assert front["teacher"]["score"] == pytest.approx(finished["result"]["accuracy"], abs=0.01)
    assert sure["met"] and all(p["certified"] for p in front["points"])
    stored = read_json(Path(found["run"]) / front["chosen"] / "stages/test-teacher.json", "")["value"]["before"]
    assert right_of(stored).mean() == sure["score_before"]  # so that the network's own run can be verified
    cheapest = min(front["points"], key=lambda p: p["costs"]["macs"])
    assert front["chosen"] == cheapest["folder"] and cheapest["loss_bound"] >= cheapest["loss"]
    assert np.isclose(cheapest["loss"], front["teacher"]["score"] - cheapest["score"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_drop": 0.5}, "give the score that is needed by --min-score, or what to compare with by --teacher"),
        ({"max_drop": 0.5, "min_score": 90.0}, "--max-drop and --min-score exclude each other"),
        ({"minimize": "memory"}, "--minimize memory is of a network that is given"),
        ({"front": None}, "--minimize macs is of several networks"),
        ({"front": 1}, "--front must be at least 2"),
        ({"compare": ("random",)}, "--compare random is of one network; drop it, or --front"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_work(
    space: Path, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        run(space, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_the_option_may_stand_alone() -> None:
    assert valued(["compress", "m", "--front"], "--front", "6") == ["compress", "m", "--front", "6"]
    assert valued(["compress", "--front", "m"], "--front", "6") == ["compress", "--front", "6", "m"]
    assert valued(["--front", "8", "m"], "--front", "6") == ["--front", "8", "m"]
    assert valued(["--front", "-1", "--", "--front"], "--front", "6") == ["--front", "-1", "--", "--front"]

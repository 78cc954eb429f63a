"""Specialization: from a space to a trained, measured network that keeps its budgets, however often it is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from labelled import evaluate
from netsmith.data import load_data
from netsmith.errors import InfeasibleError, InputError
from netsmith.jobs.compress import compress
from netsmith.jobs.course import Course
from netsmith.jobs.load import load
from netsmith.jobs.specialize import specialize
from netsmith.network.load import load_model
from netsmith.report import write_report
from netsmith.runs.summary import all_met
from products import check_networks

SPACE = """
image = 8
stem = 8
stem_stride = 1
head = 32
[[stages]]
channels = 8
blocks = 2
stride = 1
kernels = [3]
[[stages]]
channels = 16
blocks = 2
stride = 2
kernels = [3, 5]
expansions = [3]
"""


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("space") / "tiny.toml"
    path.write_text(SPACE)
    return str(path)


def run(space: str, out: Path, **options: Any) -> dict[str, Any]:
    usual = {
        "target": "roofline-gpu", "latency": "0.7x", "search_epochs": 2, "warmup_epochs": 1, "epochs": 3, "every": 1,
        "evaluations": 40,
        "train_limit": 600, "search_size": 256, "out": out,
    }  # fmt: skip
    return specialize(space, "digits", **(usual | options)).summary


@pytest.fixture(scope="module")
def finished(space: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    torch.set_num_threads(1)
    everything = ["multiplier", "random", "oneshot", "proxylessnas-r"]
    out = tmp_path_factory.mktemp("runs") / "all"
    budget = {"latency": None, "macs": "0.6x"}  # latency of networks this small is that of launching kernels
    return run(space, out, compare=everything, evaluations=8, width=2.0, batch_size=32, **budget)


@pytest.fixture(scope="module")
def usual(space: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run with nothing but the usual options, finished without a stop."""
    torch.set_num_threads(1)
    return run(space, tmp_path_factory.mktemp("runs") / "usual")


@pytest.fixture(scope="module")
def inherited(space: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A longer search, and its network with the weights that it had there, untrained."""
    torch.set_num_threads(1)
    longer = {"search_epochs": 10, "batch_size": 32, "latency": "0.95x", "inherit": True, "epochs": 0}
    return run(space, tmp_path_factory.mktemp("runs") / "inherited", **longer)


def test_every_system_ends_with_a_network_within_the_budget(finished: dict[str, Any]) -> None:
    assert all_met(finished)
    found = finished["specialization"]
    assert [row["system"] for row in found["compared"]] == [
        "proxylessnas", "multiplier", "random", "oneshot", "proxylessnas-r"
    ]  # fmt: skip
    for row in found["compared"]:
        assert 0 < row["macs"] <= found["limits"]["macs"]
        assert 0.2 < row["accuracy"] <= 1  # three epochs: better than one in ten
    assert finished["result"]["accuracy"] == found["compared"][0]["accuracy"]
    assert [b["chosen"] for b in found["blocks"]] == found["compared"][0]["blocks"]


def test_what_is_reported_is_what_the_files_hold(finished: dict[str, Any]) -> None:
    folder = Path(finished["run"])
    loaded = load_model(f"design:{folder / 'network.json'}", weights=folder / "model.safetensors")
    data = load_data("digits", train_limit=600, search_size=256)
    accuracy, _ = evaluate(loaded.model, data.test, normalisation=data.normalisation)
    assert accuracy == pytest.approx(finished["result"]["accuracy"], abs=0.005)
    check_networks(load(folder), data)
    assert sum(p.numel() for p in loaded.model.parameters()) >= finished["result"]["params"]
    assert finished["result"]["size_bytes"] == (folder / "model.nsw").stat().st_size
    for name in finished["files"]:
        assert (folder / name).is_file()


def test_the_course_of_the_search_is_kept_and_shown(finished: dict[str, Any]) -> None:
    found = finished["specialization"]
    epochs = [r["epoch"] for r in found["history"]]
    assert epochs == sorted(set(epochs)) and epochs[-1] == pytest.approx(3)
    assert [r["warmup"] for r in found["history"]] == [e <= 1 for e in epochs]
    last = found["history"][-1]
    assert all(sum(row) == pytest.approx(1, abs=1e-3) for row in last["probabilities"])
    assert last["entropy"] < found["history"][0]["entropy"]
    page = write_report(finished["run"]).read_text()
    assert all(block["name"] in page for block in found["blocks"] if len(block["choices"]) > 1)


def test_a_killed_search_goes_on_and_ends_the_same(
    space: str, usual: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [0]

    def cut(self: Course, record: dict[str, Any]) -> None:
        times[0] += 1
        if times[0] in (5, 17):
            raise KeyboardInterrupt
        original(self, record)

    original = Course.record
    monkeypatch.setattr(Course, "record", cut)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(space, tmp_path / "cut", resume=True)
    resumed = run(space, tmp_path / "cut", resume=True)
    assert resumed["design"] == usual["design"]
    assert resumed["result"]["accuracy"] == usual["result"]["accuracy"]
    strip = [{k: v for k, v in r.items() if k != "seconds"} for r in usual["specialization"]["history"]]
    again = [{k: v for k, v in r.items() if k != "seconds"} for r in resumed["specialization"]["history"]]
    assert again == strip
    (tmp_path / "cut" / "search.json").unlink()  # the page of a search that goes on; the run does not need it
    for name in ("baseline.onnx", *usual["files"], f"supernet-{usual['strategy']}.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (Path(usual["run"]) / name).read_bytes(), name


@pytest.mark.slow
def test_a_warm_up_serves_another_target_and_no_other_seed(space: str, usual: dict[str, Any], tmp_path: Path) -> None:
    first = usual["run"]
    other = run(space, tmp_path / "second", epochs=0, target="bitfusion", latency="0.8x", warmup_from=first)
    alone = run(space, tmp_path / "third", epochs=0, target="bitfusion", latency="0.8x")
    assert other["design"] == alone["design"]
    with pytest.raises(InputError, match="seed"):
        run(space, tmp_path / "fourth", seed=1, warmup_from=first)
    with pytest.raises(InputError, match="has no warm-up"):
        run(space, tmp_path / "fifth", warmup_from=str(tmp_path))


def test_inherited_weights_are_those_of_the_path(inherited: dict[str, Any]) -> None:
    assert inherited["result"]["search_accuracy"] > 0.2  # of ten classes, without any training of its own


@pytest.mark.slow
def test_the_budget_is_kept_as_measured_here(space: str, tmp_path: Path) -> None:
    done = run(space, tmp_path / "run", target="cpu", epochs=0, latency="0.8x")
    found = done["specialization"]
    assert all_met(done) and done["result"]["latency_measured_s"] <= found["limits"]["latency"]
    assert done["fidelity"] and done["timing"]["rounds"] > 0
    assert found["limits"]["latency"] == pytest.approx(0.8 * done["baseline"]["latency_measured_s"])


def test_what_was_found_can_be_compressed_further(finished: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(finished["run"])
    smaller = compress(
        f"design:{folder / 'network.json'}", "digits", weights=str(folder / "model.safetensors"),
        target="roofline-gpu", methods="prune", macs="0.8x", epochs=0, out=tmp_path / "smaller",
    ).summary  # fmt: skip
    assert all_met(smaller) and smaller["baseline"]["macs"] == finished["result"]["macs"]


def test_several_budgets_hold_together(space: str, tmp_path: Path) -> None:
    done = run(space, tmp_path / "run", target="bitfusion", latency="0.8x", energy="0.7x", size="0.8x", epochs=0)
    assert {b["cost"] for b in done["budgets"]} == {"latency", "energy", "size"}
    assert all_met(done)


def test_budgets_that_nothing_meets_are_found_before_training(space: str, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError, match="smallest reachable") as stopped:
        run(space, tmp_path / "run", macs="1K", latency=None)
    assert stopped.value.reachable["macs"] > 1000
    assert [p.name for p in (tmp_path / "run").iterdir()] == [".lock"], "the folder takes another budget"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"system": "proxyles"}, "did you mean 'proxylessnas'"),
        ({"compare": ["randm"]}, "did you mean 'random'"),
        ({"mode": "half"}, "must be one of recompute, full, two"),
        ({"loss": "additiv"}, "did you mean 'additive'"),
        ({"target": "cpu", "batch": 8}, "drop --batch"),
        ({"latency": None}, "budget"),
        ({"compare": ["oneshot"], "evaluations": 0}, "evaluations 1 or more"),
        ({"teacher_weights": "w.safetensors"}, "name it with --teacher"),
        ({"teacher": "zoo:nothing"}, "the zoo has no network"),
        ({"teacher": "zoo:digits"}, r"is right about .*no more than a guess; give trained weights"),
        ({"lr": -1.0}, "must be above 0"),
        ({"every": 1000}, "lower --every"),
    ],
)
def test_wrong_options_are_named(space: str, tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        run(space, tmp_path / "run", **options)


@pytest.mark.slow
def test_two_processes_make_one_run(space: str, tmp_path: Path) -> None:
    """Through the command line; no width multiplier keeps this budget, which only the first process finds out."""
    import netsmith

    words = [
        "--space", space, "--data", "digits", "--target", "roofline-gpu", "--latency", "0.7x", "--search-epochs", "2",
        "--warmup-epochs", "1", "--epochs", "1", "--every", "1", "--train-limit", "300", "--search-size", "128",
        "--evaluations", "4", "--compare", "multiplier", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(Path(netsmith.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, "-m", "netsmith", "specialize", *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert all_met(summary) and summary["specialization"]["history"]
    assert [row["system"] for row in summary["specialization"]["compared"]] == ["proxylessnas"]
    assert (tmp_path / "run" / "report.html").is_file()
    assert done.stdout.count("found by proxylessnas") == 1


def test_the_gates_learn_what_the_data_wants(space: str, inherited: dict[str, Any]) -> None:
    """Held-out loss of the most probable path is below that of paths at random, with the weights that all share."""
    from netsmith.decisions.pricing import SUMS
    from netsmith.network.weights import read_weights
    from netsmith.supernets import SuperNet, load_space

    network = SuperNet(load_space(space), 10, 1, costs=len(SUMS))
    network.load_state_dict(read_weights(Path(inherited["run"]) / "supernet-proxylessnas.safetensors")[0])
    data = load_data("digits", train_limit=600, search_size=256)
    images, labels = next(data.search.batches(256, normalise=data.normalisation))
    network.train()

    def loss(path: Any) -> float:
        network.path = path
        with torch.no_grad():
            return float(cross_entropy(network(images), labels))

    best = loss(network.most_probable())
    others = [loss(d) for d in network.space.decisions.sample(np.random.default_rng(0), 24)]
    assert best < np.median(others)

"""What `verify` finds in a run that somebody changed, one kind of tampering a test, on one small run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from netsmith.errors import InputError
from netsmith.files import to_json
from netsmith.hardware.measured.fingerprint import fingerprint
from netsmith.jobs import timing
from netsmith.jobs.claims import figures, files, network, scores
from netsmith.jobs.claims.claim import Claim
from netsmith.jobs.claims.evidence import Evidence
from netsmith.jobs.claims.front import front
from netsmith.jobs.claims.latency import latency
from netsmith.jobs.compress import compress
from netsmith.jobs.front_points import given_of, point_of, reported
from netsmith.jobs.tested import rows_of
from netsmith.jobs.verify import verify
from netsmith.metrics import ACCURACY
from netsmith.runs.artefacts import Artefacts

MODEL = "zoo:digits?channels=8&blocks=1"
Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a simulated target; nobody changes it."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "made"
    compress(MODEL, "digits", out=out, target="roofline-edge", latency="0.8x", epochs=0)
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def noted(run: Path, *names: str) -> None:
    """The digests of files as they are now: what a careful forger does."""
    Artefacts(run).note("summary", names)


def edit(run: Path, change: Edit, name: str = "summary.json") -> None:
    """Change a file of JSON and its digest with it."""
    record = json.loads((run / name).read_text())
    change(record)
    (run / name).write_text(to_json(record))
    noted(run, name)


def fails(run: Path, *checks: Callable[[Evidence], Any]) -> list[str]:
    """The claims that fail."""
    seen = Evidence(run)
    found: list[Claim] = [claim for check in checks for claim in check(seen)]
    assert found
    return [claim.what for claim in found if claim.verdict == "fails"]


def test_a_run_as_it_was_built_holds_in_every_claim_and_stays_as_it_is(made: Path) -> None:
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    found = verify(made)
    assert found["ok"] and found["counts"] == {
        "holds": len(found["claims"]),
        "fails": 0,
        "elsewhere": 0,
        "not checked": 0,
    }
    what = {claim["what"]: claim for claim in found["claims"]}
    for name in (
        "model.onnx",
        "size of model.nsw",
        "MACs",
        "MACs as given",
        "peak memory",
        "accuracy on the test split",
    ):
        assert what[name]["found"] is not None
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


def test_a_byte_of_the_network_and_a_forged_score_end_in_3(run: Path) -> None:
    import netsmith.cli.runs  # noqa: F401
    from netsmith.cli.shared import app

    whole = bytearray((run / "model.onnx").read_bytes())
    whole[len(whole) // 2] ^= 1
    (run / "model.onnx").write_bytes(bytes(whole))
    edit(run, lambda s: s["baseline"].update(accuracy=s["baseline"]["accuracy"] + 0.01))
    shown = CliRunner().invoke(app, ["verify", str(run), "--json"])
    assert shown.exit_code == 3
    found = json.loads(shown.stdout)
    bad = [claim["what"] for claim in found["claims"] if claim["verdict"] == "fails"]
    forged = [f"accuracy as given {where}" for where in ("from the stored answers", "on the test split")]
    assert bad == ["model.onnx", *forged] and not found["ok"]
    assert "model.onnx is changed" in str([claim["why"] for claim in found["claims"]])


def test_a_file_that_is_missing_or_not_listed(run: Path) -> None:
    (run / "model.nsw").unlink()
    edit_list = json.loads((run / "artefacts.json").read_text())
    del edit_list["model.pt2"]
    (run / "artefacts.json").write_text(to_json(edit_list))
    (run / "stages/test.json").write_text((run / "stages/test.json").read_text().replace("0.", "0.9", 1))
    assert fails(run, files.files) == ["model.nsw", "results of stages", "model.pt2"]


@pytest.mark.parametrize(
    ("change", "check", "what"),
    [
        (lambda s: s["result"].update(accuracy=0.999), scores.stored, ["accuracy from the stored answers"]),
        (lambda s: s["certificate"].update(loss_bound=0.001), scores.stored,
         ["largest certified loss, from the stored answers"]),
        (lambda s: s["certificate"].update(met=True), scores.stored, ["the certificate, from the stored answers"]),
        (lambda s: s["result"].update(size_bytes=s["result"]["size_bytes"] - 1), figures.stored,
         ["size, as its stage stored it"]),
        (lambda s: s["result"].update(latency_predicted_s=s["result"]["latency_predicted_s"] / 2), figures.priced,
         ["latency, simulated by roofline-edge"]),
        (lambda s: s["result"].update(latency_predicted_s=s["result"]["latency_predicted_s"] / 2), figures.budgets,
         ["value of the budget of latency"]),
        (lambda s: s["budgets"][0].update(met=False), figures.budgets, ["budget of latency met"]),
        (lambda s: s["budgets"][0].update(met=False), files.schema, ["summary.json"]),
        (lambda s: s["baseline"].update(energy_j=1.0), figures.priced, ["energy as given, simulated by roofline-edge"]),
        (lambda s: s["preprocessing"].update(mean=[0.0]), files.feeding,
         [f"preprocessing and labels of model.{form}" for form in ("onnx", "pt2", "safetensors")]),
    ],
)  # fmt: skip
def test_a_summary_that_was_edited_together_with_its_digest(
    run: Path, change: Edit, check: Callable[[Evidence], Any], what: list[str]
) -> None:
    assert not fails(run, check)
    edit(run, change)
    assert fails(run, check) == what


def test_counts_of_the_network_are_taken_from_its_files(run: Path) -> None:
    def less(summary: dict[str, Any]) -> None:
        for side in ("baseline", "result"):
            summary[side] |= {key: summary[side][key] - 1 for key in ("macs", "params", "size_bytes", "memory_bytes")}

    edit(run, less)
    seen = Evidence(run)
    bad = [c.what for check in (network.packed, network.counts, network.memory) for c in check(seen)
           if c.verdict == "fails"]  # fmt: skip
    assert bad == [
        "size of model.nsw", "MACs", "parameters", "MACs as given", "size as given", "parameters as given",
        "peak memory", "peak memory as given",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:  # another network in the packed file, as large
        name = next(iter(seen.program.program.state_dict()))
        weights = {n: t.numpy().copy() for n, t in seen.program.program.state_dict().items()}
        weights[name] += 1e-3
        patch.setattr("netsmith.export.packed.model.decode_packed", lambda _: weights)
        found = {claim.what: claim for claim in network.packed(seen)}
    assert found["weights in model.nsw"].verdict == "fails" and found["weights in model.nsw"].found == f"another {name}"


def test_answers_that_were_forged_with_all_that_follows_from_them_are_found_by_the_data(run: Path) -> None:
    seen = Evidence(run)
    task = scores.task_of(seen)
    assert not isinstance(task, str)
    n, right = len(task.test), seen.stages("test")[0]["tested"]["after"]
    seen.summary["result"]["accuracy"] += 0.1
    found = {claim.what: claim for claim in scores.examples(seen, task)}
    assert found["accuracy on the test split"].verdict == "fails"
    assert f"of {n} examples are answered otherwise" in found["accuracy on the test split"].why
    assert right["examples"] == n and found["accuracy as given on the test split"].verdict == "holds"
    seen = Evidence(run)
    other = task.with_splits(test=task.test.take(slice(0, 50)))
    assert {claim.verdict for claim in scores.examples(seen, other)} == {"elsewhere"}


def test_latency_holds_on_such_a_device_and_belongs_to_another_elsewhere(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def measured(summary: dict[str, Any]) -> None:
        summary["device"] = fingerprint(1).to_dict()
        summary["timing"] = {"ratio": 0.5, "session_ratios": [0.49, 0.5, 0.51]}
        summary["baseline"]["latency_measured_s"], summary["result"]["latency_measured_s"] = 2e-3, 1e-3

    edit(run, measured)
    ratio = 0.52
    monkeypatch.setattr(timing, "timed", lambda *_, **__: {"ratio": ratio, "session_ratios": [ratio]})
    monkeypatch.setattr(timing, "quiet_latency", lambda *_: 2.1e-3)
    timed = partial(latency, threads=None)
    assert not fails(run, timed)
    ratio = 0.6
    assert fails(run, timed) == ["latency"]
    edit(run, lambda s: s["result"].update(latency_measured_s=0.9e-3))
    assert fails(run, timed) == ["latency is the timed ratio of that as given", "latency"]
    edit(run, measured)
    edit(run, lambda s: s["device"].update(processor="another"))
    found = list(latency(Evidence(run), None))
    assert [claim.verdict for claim in found] == ["holds", "elsewhere", "elsewhere"]
    assert "belongs to another device: processor another there" in found[1].why


def test_a_front_against_its_networks(made: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(made, tmp_path / "front"))
    shutil.copytree(made, root / "points/1")
    summary = json.loads((made / "summary.json").read_text())
    before, after = (rows_of(Evidence(made).stages("test")[0]["tested"][k]) for k in ("before", "after"))
    from netsmith.certificates import certificate

    points = reported([point_of("points/1", summary, after, certificate(before, after), None)], "latency", ACCURACY)
    listed = {
        "points": points, "chosen": "points/1", "rule": "the only one", "minimize": "latency", "asked": {},
        "baseline": given_of(summary, before, 0.95, ACCURACY),
    }  # fmt: skip
    (root / "front.json").write_text(to_json(points))
    edit(root, lambda s: s.update(front=listed))
    check = partial(front, points={"points/1": Evidence(root / "points/1")})
    assert not fails(root, check)
    edit(root, lambda s: s["front"]["points"][0].update(score=1.0, loss_bound=0.0))
    assert fails(root, check) == [
        "front.json and the summary", "points/1 in the front: score", "points/1 in the front: figures",
    ]  # fmt: skip


def test_what_is_no_finished_run_is_refused(run: Path, tmp_path: Path) -> None:
    for path, why in (
        (run / "model.onnx", "is a file and is no run"), (tmp_path, "has no config.json"), (tmp_path / "no", "no run"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=why):
            verify(path)
    (run / "summary.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        verify(run)

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netsmith import files
from netsmith.errors import InputError
from netsmith.runs.folder import Run
from netsmith.runs.place import default_folder

CONFIG = {"job": "compress", "model": "zoo:digits", "budgets": {"latency": "0.5x", "size": None}, "seed": 0}

# a job of three stages with trials between them; kills itself in the middle of the second if told to
JOB = """
import os, signal, sys
from netsmith.runs.folder import Run
folder, kill, resume = sys.argv[1], sys.argv[2] == "kill", sys.argv[3] == "resume"
with Run.start(folder, {"seed": 5}, resume=resume) as run:
    first = run.stage("first", lambda: {"x": [0.1 + 0.2, 1e-17], "b": 1, "a": 2})
    def second():
        total = 0.0
        for i in range(6):
            if kill and i == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            loss = first["x"][0] * i / 7
            run.log_trial([i, i + 1], {"loss": loss}, {"latency_s": 1.0 / (i + 1)}, kind="exact")
            total += loss
        return total
    run.write_json("result.json", {"first": first, "second": run.stage("second", second), "trials": run.trials()})
"""


def job(folder: Path, kill: bool = False, resume: bool = False) -> int:
    words = [sys.executable, "-c", JOB, str(folder), "kill" if kill else "run", "resume" if resume else "fresh"]
    return subprocess.run(words, env=os.environ | {"PYTHONPATH": "src"}, cwd=Path(__file__).parents[2]).returncode


def test_a_run_killed_and_resumed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    assert job(tmp_path / "whole") == 0
    assert job(tmp_path / "killed", kill=True) == -signal.SIGKILL
    with Run.resume(tmp_path / "killed", {"seed": 5}) as run:
        assert run.done("first") and not run.done("second")
        assert [t["design"] for t in run.trials()] == [[0, 1], [1, 2], [2, 3], [3, 4]]  # none is lost
    assert job(tmp_path / "killed", resume=True) == 0
    results = [(tmp_path / name / "result.json").read_bytes() for name in ("whole", "killed")]
    assert results[0] == results[1]
    assert len(json.loads(results[0])["trials"]) == 6


def test_a_stage_is_computed_once(tmp_path: Path) -> None:
    calls = []

    def compute() -> dict[str, Any]:
        calls.append(1)
        return {"scores": np.array([0.1, 0.2], dtype=np.float64), "n": np.int64(3), "shape": (1, 2)}

    with Run.create(tmp_path, CONFIG) as run:
        fresh = run.stage("scores", compute)
    with Run.resume(tmp_path, CONFIG) as run:
        again = run.stage("scores", compute)
    assert fresh == again == {"scores": [0.1, 0.2], "n": 3, "shape": [1, 2]}
    assert len(calls) == 1


def test_a_stage_keeps_the_order_of_mappings(tmp_path: Path) -> None:
    with Run.create(tmp_path, CONFIG) as run:
        assert list(run.stage("s", lambda: {"layer10": 1, "layer2": 2})) == ["layer10", "layer2"]
        assert list(run.stage("s", dict)) == ["layer10", "layer2"]


def test_other_inputs_are_another_result(tmp_path: Path) -> None:
    with Run.create(tmp_path, CONFIG) as run:
        assert run.stage("s", lambda: "a", inputs=[1]) == "a"
        assert run.stage("s", lambda: "b", inputs=[2]) == "b"
        assert run.stage("s", lambda: "c", inputs=[2]) == "b"
        assert run.digest("measure", [1, 2]) == run.digest("measure", (1, 2)) != run.digest("measure", [2, 1])


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with Run.create(tmp_path, CONFIG) as run:
        with pytest.raises(KeyboardInterrupt):
            run.stage("s", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        assert not run.done("s")
        assert run.stage("s", lambda: 1) == 1


@pytest.mark.parametrize("content", ["", '{"digest": "x"', "[1]", "[" * 99999, '{"digest": "x", "value": 1}'])
def test_a_damaged_stage_is_named(tmp_path: Path, content: str) -> None:
    with Run.create(tmp_path, CONFIG) as run:
        run.stage("baseline", lambda: 1)
        (tmp_path / "stages" / "baseline.json").write_text(content)
        with pytest.raises(InputError, match=r"stages/baseline\.json is damaged.*delete it and use --resume"):
            run.stage("baseline", lambda: 1)


def test_an_edited_stage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "stages" / "baseline.json"
    with Run.create(tmp_path, CONFIG) as run:
        run.stage("baseline", lambda: {"accuracy": 0.5})
        path.write_text(path.read_text().replace("0.5", "0.9"))
        with pytest.raises(InputError, match="damaged or was edited"):
            run.stage("baseline", lambda: {"accuracy": 0.5})


def test_results_that_lack_what_is_looked_for_are_named_only_where_a_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Run.create(tmp_path, CONFIG) as run:  # nothing from disk: a fault of ours
        run.stage("baseline", dict)["accuracy"]
    said = r"/stages that .* fit together .*KeyError.*start again in another folder"
    with pytest.raises(InputError, match=said), Run.resume(tmp_path, CONFIG) as run:
        run.stage("baseline", dict)["accuracy"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "--seed 0, not 1"),
        ({"model": "zoo:resnet20"}, "MODEL zoo:digits, not zoo:resnet20"),
        ({"budgets": {"latency": "0.7x", "size": None}}, "--latency 0.5x, not 0.7x"),
        ({"budgets": {"latency": "0.5x", "size": "0.5x"}}, "--size unset, not 0.5x"),
        ({"search_size": 10}, "--search-size unset, not 10"),
        ({"job": "demo"}, "the command compress, not demo"),
    ],
)
def test_resuming_with_another_option_names_it(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    Run.create(tmp_path, CONFIG).close()
    with pytest.raises(InputError, match=words):
        Run.resume(tmp_path, CONFIG | change)
    Run.resume(tmp_path, CONFIG).close()  # and nothing stays locked


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match=r"not empty \(it has thesis\.txt\); choose another --out"):
        Run.create(tmp_path, CONFIG)


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    Run.create(tmp_path, CONFIG).close()
    with pytest.raises(InputError, match="go on with it by --resume"):
        Run.create(tmp_path, CONFIG)


def test_a_run_killed_before_its_config_can_be_started_again(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("1")
    (tmp_path / ".config.json.77.tmp").write_text("{")
    Run.create(tmp_path, CONFIG).close()
    with Run.resume(tmp_path, CONFIG):
        assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("kept", [None, "checkpoints/train.safetensors", "family/net.safetensors"])
def test_a_run_is_abandoned_unless_something_was_made_in_it(tmp_path: Path, kept: str | None) -> None:
    with Run.create(tmp_path / "r", CONFIG) as run:
        run.stage("first", lambda: 1)
        run.log_trial([1], {"loss": 0.1}, {"macs": 3.0})
        run.write_bytes("baseline.onnx", b"x")
        run.path("checkpoints/x")
        if kept:
            run.write_bytes(kept, b"weights")
        run.abandon()
        assert run.done("first") == bool(kept) == bool(run.trials())
    if kept is None:
        Run.create(tmp_path / "r", CONFIG | {"seed": 1}).close()
    else:
        Run.resume(tmp_path / "r", CONFIG).close()


def test_start_creates_what_is_not_there_to_resume(tmp_path: Path) -> None:
    Run.start(tmp_path / "new", CONFIG, resume=True).close()
    Run.start(tmp_path / "new", CONFIG, resume=True).close()
    with pytest.raises(InputError, match="not empty"):
        Run.start(tmp_path / "new", CONFIG)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"options": 3}', '{"format": 99, "options": {}}'])
def test_a_damaged_config_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        Run.resume(tmp_path, CONFIG)


def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not in UTF-8") as found:
        Run.create(tmp_path / os.fsdecode(b"run-\xff"), CONFIG)
    str(found.value).encode()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"x = " + b"[" * 99999, b"\xff", b"x ="])
def test_a_toml_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    for path in (tmp_path / "a.toml", tmp_path):
        with pytest.raises(InputError, match=str(path)) as found:
            files.read_toml(path, "space", "write one")
        assert "Errno" not in str(found.value) and "codec" not in str(found.value)


def test_what_is_no_run_folder(tmp_path: Path) -> None:
    for open_it in (Run.open, lambda path: Run.resume(path, CONFIG)):
        with pytest.raises(InputError, match=r"no run folder, it has no config\.json"):
            open_it(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"run folder .*file/run cannot be made .*choose another --out"):
        Run.create(tmp_path / "file" / "run", CONFIG)
    with pytest.raises(InputError, match="cannot be made"):
        Run.create(tmp_path / "file", CONFIG)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"cannot be written .*choose another --out"):
        Run.create(tmp_path, CONFIG)


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run.create(tmp_path, CONFIG) as run:
        run.write_text("recipe.json", "old")

        def full(handle: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(InputError, match=r"recipe\.json could not be written \(No space left on device\)"):
            run.write_text("recipe.json", "new")
    assert (tmp_path / "recipe.json").read_text() == "old"
    assert not list(tmp_path.glob(".*.tmp"))


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    with Run.create(tmp_path, CONFIG) as run:
        with pytest.raises(InputError, match=rf"in use by another netsmith \(process {os.getpid()}\)"):
            Run.resume(tmp_path, CONFIG)
        Run.open(tmp_path)  # to read is allowed
        assert run.config == CONFIG
    Run.resume(tmp_path, CONFIG).close()


def test_damaged_trials_are_named(tmp_path: Path) -> None:
    with Run.create(tmp_path, CONFIG) as run:
        for i in range(50):
            run.log_trial([i], {"loss": i / 3}, {}, kind="random")
    base = tmp_path / "trials.sqlite"
    whole = base.read_bytes()
    for broken in (b"nonsense" * 100, whole[:4096] + os.urandom(len(whole) - 4096)):
        base.write_bytes(broken)
        with pytest.raises(InputError, match=r"trials\.sqlite is damaged .*delete it and go on with --resume"):
            Run.resume(tmp_path, CONFIG)
    base.unlink()
    with Run.resume(tmp_path, CONFIG) as run:
        assert run.trials() == []


def test_trials_of_a_design_are_one_a_kind(tmp_path: Path) -> None:
    with Run.create(tmp_path, CONFIG) as run:
        run.log_trial(np.array([1, 2]), {"loss": 0.5}, {"latency_s": 1e-3}, kind="exact")
        run.log_trial([1, 2], {"loss": 0.1 + 0.2}, {"latency_s": 2e-3}, kind="exact")
        run.log_trial([1, 2], {"loss": np.float64(0.7)}, {}, kind="random")
        assert [(t["kind"], t["design"], t["losses"], t["costs"]) for t in run.trials()] == [
            ("exact", [1, 2], {"loss": 0.1 + 0.2}, {"latency_s": 2e-3}),
            ("random", [1, 2], {"loss": 0.7}, {}),
        ]


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", ""])
def test_files_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    with Run.create(tmp_path, CONFIG) as run, pytest.raises(InputError, match="no file of a run"):
        run.path(name)


@pytest.mark.parametrize(
    ("model", "folder"),
    [("zoo:resnet20", "runs/zoo-resnet20"), ("nets/a.py:make?n=3", "runs/nets-a.py-make-n-3"), ("..", "runs/run")],
)
def test_default_folder(model: str, folder: str) -> None:
    assert default_folder(model).as_posix() == folder


@pytest.mark.parametrize("name", [".lock", "stages", "checkpoints", "trials.sqlite", "model.onnx", "config.json"])
def test_links_are_neither_written_through_nor_read(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "thesis"
    if name in ("stages", "checkpoints"):
        outside.mkdir()
    else:
        outside.write_text("all of it")
    folder = tmp_path / "run"
    Run.create(folder, CONFIG).close()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside)
    for use in (lambda: Run.resume(folder, CONFIG), lambda: Run.create(folder, CONFIG), lambda: Run.open(folder)):
        with pytest.raises(InputError, match=r"is a symbolic link|is not empty"):
            use()
    assert not list(outside.iterdir()) if outside.is_dir() else outside.read_text() == "all of it"


def test_links_that_come_while_a_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    with Run.create(tmp_path / "run", CONFIG) as run:
        (run.folder / "stages").symlink_to(tmp_path / "outside")
        with pytest.raises(InputError, match="stages is a symbolic link"):
            run.stage("first", lambda: 1)
        (run.folder / "trials.sqlite").symlink_to(tmp_path / "outside" / "x")
        with pytest.raises(InputError, match=r"trials\.sqlite is a symbolic link"):
            run.log_trial([1], {"loss": 0.5}, {})
    assert not list((tmp_path / "outside").iterdir())


def test_a_lock_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("held by the backup")
    with pytest.raises(InputError, match="no lock of netsmith"):
        Run.create(tmp_path, CONFIG)
    assert (tmp_path / ".lock").read_text() == "held by the backup"
    (tmp_path / "letter").write_text("7")
    (tmp_path / "run").mkdir()
    os.link(tmp_path / "letter", tmp_path / "run" / ".lock")
    with pytest.raises(InputError, match="no lock of netsmith"):
        Run.create(tmp_path / "run", CONFIG)


def built(folder: Path, content: bytes = b"network", resume: bool = True) -> Any:
    """A run of one stage that measures something and builds two files."""
    with Run.start(folder, CONFIG, resume=resume) as run:

        def build() -> float:
            run.write_bytes("model.onnx", content)
            run.place("compared/random/model.nsw").write_bytes(b"packed")
            return next(clock)

        return run.stage("build", build)


clock = iter(range(100))


def test_what_a_stage_built_is_made_again_where_it_is_missing(tmp_path: Path) -> None:
    first = built(tmp_path)
    for name in ("model.onnx", "compared/random/model.nsw"):
        (tmp_path / name).unlink()
        assert built(tmp_path) == first  # as it was measured, with files that are the same again
        assert (tmp_path / "model.onnx").read_bytes() == b"network" and built(tmp_path) == first
    (tmp_path / "model.onnx").unlink()
    assert built(tmp_path, b"another") != first  # another file was not what was measured


def test_what_a_stage_built_is_named_where_it_is_damaged(tmp_path: Path) -> None:
    built(tmp_path)
    with Run.open(tmp_path) as run:
        figures = {"accuracy": 0.9, "latency_measured_s": None, "latency_predicted_s": 1.0, "macs": 1, "params": 1,
                   "size_bytes": 1}  # fmt: skip
        run.finish({
            "baseline": figures, "result": figures, "budgets": [], "design": [], "frozen": {}, "seed": 0,
            "versions": {}, "run": str(tmp_path),
        })  # fmt: skip
    Run.open(tmp_path).summary()
    for name in ("model.onnx", "compared/random/model.nsw", "summary.json"):
        good = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(good[:-1] + b"x")
        for use in (lambda: Run.open(tmp_path).summary(), lambda: built(tmp_path)):
            with pytest.raises(InputError, match=rf"{name} is damaged or was edited; delete it"):
                use()
        (tmp_path / name).write_bytes(good)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(InputError, match=r"model\.onnx is missing; repeat .*--resume"):
        Run.open(tmp_path).summary()
    built(tmp_path)
    Run.open(tmp_path).summary()
    (tmp_path / "artefacts.json").unlink()
    with pytest.raises(InputError, match=r"artefacts\.json is missing"):
        Run.open(tmp_path)


def test_a_run_is_bound_to_what_its_options_name(tmp_path: Path) -> None:
    contents = {"the network a.py:net": "1", "the weights in w.pth": "2", "the data set d": "3"}
    with Run.create(tmp_path, CONFIG) as run:
        run.pin(contents)
        run.stage("first", lambda: 1)
    with Run.resume(tmp_path, CONFIG) as run:
        run.pin(contents)
        with pytest.raises(InputError, match=r"^the weights in w\.pth and the data set d changed since"):
            run.pin(contents | {"the weights in w.pth": "4", "the data set d": "5"})
    (tmp_path / "inputs.json").unlink()
    with Run.resume(tmp_path, CONFIG) as run, pytest.raises(InputError, match=r"inputs\.json is missing"):
        run.pin(contents)


def test_only_files_of_a_run_are_removed(tmp_path: Path) -> None:
    with Run.create(tmp_path, CONFIG) as run:
        run.stage("first", lambda: 1)
        (tmp_path / "stages" / "notes.txt").write_text("mine")
        (tmp_path / ".thesis.txt.7.tmp").write_text("mine")
        run.abandon()
        assert run.done("first")
    with Run.resume(tmp_path, CONFIG):
        assert (tmp_path / ".thesis.txt.7.tmp").exists()

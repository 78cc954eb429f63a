"""The golden script: it sees what changed, and nothing changes between two runs of the same code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import golden

STAGE = {"stage": "test", "digest": "d", "check": "c", "value": {"accuracy": 0.5, "seconds": 1.0}}
SCRIPT = [sys.executable, golden.__file__]


def of_stage(folder: Path, stage: dict[str, object]) -> dict[str, str]:
    path = folder / "stages" / "test.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(stage))
    return dict(golden.digests_of_file(path))


def test_a_stage_is_told_by_its_results_and_its_options_but_not_by_times(tmp_path: Path) -> None:
    known = of_stage(tmp_path, STAGE)
    assert set(known) == {"its digest", "accuracy"}
    assert of_stage(tmp_path, STAGE | {"value": {"accuracy": 0.5, "seconds": 2.0}}) == known
    better = of_stage(tmp_path, STAGE | {"digest": "e", "value": {"accuracy": 0.75, "seconds": 1.0}})
    assert golden.compare(known, better) == {"its digest": "differs", "accuracy": "differs"}


def test_a_key_that_is_new_within_a_value_changes_nothing_else(tmp_path: Path) -> None:
    def of_summary(**feeding: float) -> dict[str, str]:
        (tmp_path / "summary.json").write_text(json.dumps({"run": str(tmp_path), "feeding": feeding}))
        return dict(golden.digests_of_file(tmp_path / "summary.json"))

    verdicts = golden.compare(of_summary(mean=0.5), of_summary(mean=0.5, scale=1.0))
    assert verdicts == {"feeding.mean": "equal", "feeding.scale": "added"}


def test_metadata_of_weights_is_apart_from_their_values(tmp_path: Path) -> None:
    def of_weights(value: float, **metadata: str) -> dict[str, str]:
        save_file({"w": np.full(3, value, np.float32)}, tmp_path / "w.safetensors", metadata or None)
        return dict(golden.digests_of_file(tmp_path / "w.safetensors"))

    known = of_weights(1.0)
    assert golden.compare(known, of_weights(1.0, mean="0")) == {"tensors": "equal", "metadata mean": "added"}
    assert golden.compare(known, of_weights(2.0)) == {"tensors": "differs"}


def test_two_written_files_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, same = {"demo/a: x": "1", "demo/a: y": "2", "bits/b": "present"}, {"demo/a: x": "1"}
    assert golden.print_comparison(golden.compare(old, old)) == 0
    assert golden.print_comparison(golden.compare(same, old)) == 0, "what was added is fine"
    capsys.readouterr()
    (tmp_path / "old.json").write_text(json.dumps(old))
    (tmp_path / "new.json").write_text(json.dumps({**same, "demo/a: y": "3", "demo/c": "4"}))
    done = subprocess.run(
        [*SCRIPT, "--compare", tmp_path / "old.json", tmp_path / "new.json"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout.split("\n\n")[0].splitlines() == [
        "differs   demo/a: y",
        "removed   bits/b",
        "added     demo/c",
    ]  # fmt: skip
    assert "demo                        1        1        0        1" in done.stdout


@pytest.mark.slow
def test_two_runs_of_the_same_code_are_equal(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        subprocess.run([*SCRIPT, "--out", tmp_path / name], check=True)
    a, b = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert {part: verdict for part, verdict in golden.compare(a, b).items() if verdict != "equal"} == {}
    assert len(a) > 500

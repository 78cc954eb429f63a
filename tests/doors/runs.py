"""Run folders: what is read of one that was damaged or edited by hand, with and without the digests that tell it."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from example_search import example_search, example_specialization
from example_summary import example_config, example_mixed_summary, example_summary

from doors import files_in, register
from netsmith.files import to_json
from netsmith.jobs.compare import compare
from netsmith.jobs.export import export
from netsmith.report import show_comparison, write_report
from netsmith.runs.folder import Run


def _made(fill: Callable[[Run], object], digests: bool) -> Callable[[], Mapping[str, bytes]]:
    """A run folder; without digests its files may be edited unnoticed."""

    def make() -> Mapping[str, bytes]:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "run"
            with Run.create(folder, example_config()) as run:
                fill(run)
            if not digests:
                (folder / "artefacts.json").write_text("{}")
            return {name: content for name, content in files_in(folder).items() if name != ".lock"}

    return make


def _in_family() -> dict[str, Any]:
    """A summary with all that none of the others has."""
    members = [
        {"loss": 0.1 * i, "speed_up": {"latency": 1 + i, "size": 1.5}, "recipe": "r", "weights": None} for i in range(3)
    ]
    return example_summary() | {
        "family": members, "rule": "ratio", "additivity": {"n": 20, "spearman": 0.9}, "doubt": {"kind": "guess"},
        "fusion": {"fused": 3, "expected": 4}, "warnings": ["a warning"], "data_notes": ["a note"],
    }  # fmt: skip


def _read(folder: Path) -> None:
    write_report(folder)
    with contextlib.redirect_stdout(io.StringIO()):
        result = compare([folder])
        show_comparison(result)
        print(to_json(result))
    export(folder, out=folder / "copy.onnx")


for _name, _summary in {
    "": _in_family, ", mixed bits": example_mixed_summary, ", specialization": example_specialization,
}.items():  # fmt: skip

    def _fill(run: Run, summary: Callable[[], dict[str, Any]] = _summary) -> None:
        run.write_bytes("model.onnx", b"")
        run.finish(summary())

    register(f"summary.json, no digests{_name}", _made(_fill, digests=False), ("summary.json",))(_read)
    if not _name:
        register("a finished run", _made(_fill, digests=True), ("summary.json", "artefacts.json", "config.json"))(_read)


def _searching(run: Run) -> None:
    run.write_text("search.json", json.dumps(example_search(until=3.0)))


register("search.json", _made(_searching, digests=False), ("search.json",))(write_report)


def _begun(run: Run) -> None:
    run.pin({"the network": "abc", "the data": "def"})
    for i in range(8):
        run.log_trial([i, 0, 2], {"loss": 0.5 * i, "accuracy": 0.9}, {"latency": 1e-3})
    run.stage("baseline", lambda: {"accuracy": 0.5, "latency": [1e-3, 2e-3]})
    run.stage("build", lambda: run.write_json("recipe.json", {"a": 1}).name)


@register("a run that is resumed", _made(_begun, digests=True))
def _resume(folder: Path) -> None:
    with Run.resume(folder, example_config()) as run:
        run.pin({"the network": "abc", "the data": "def"})
        for row in run.trials():
            sum(row["design"])
            run.log_trial(row["design"], row["losses"], row["costs"])
        run.stored("baseline")
        run.stage("baseline", lambda: {"accuracy": 0.5, "latency": [1e-3, 2e-3]})
        run.stage("build", lambda: run.write_json("recipe.json", {"a": 1}).name)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from example_search import example_search, example_specialization

from netsmith.errors import InputError
from netsmith.runs.search_record import read_search
from netsmith.runs.summary import check_summary


def test_a_search_on_its_way_and_a_finished_one_pass() -> None:
    check_summary(example_specialization())
    bare = example_search(until=0)
    del bare["compared"]
    check_summary(example_specialization() | {"specialization": bare})


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Sets what lies at all but the last of ``path`` to the last."""
    *keys, last, value = path

    def change(found: dict[str, Any]) -> None:
        place: Any = found
        for key in keys:
            place = place[key]
        place[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_set("blocks", 3, "chosen", "k9e9"), r"blocks\[3\]\.chosen is 'k9e9', not one of 'skip, k3e3"),
        (_set("blocks", 3, "latency_s", [1e-6]), r"blocks\[3\]\.latency_s must have 7 numbers"),
        (_set("blocks", 0, "stage", "1"), r"blocks\[0\]\.stage is '1', not a whole number"),
        (_set("blocks", []), r"blocks has 0 entries, not 1 or more"),
        (_set("history", 2, "probabilities", []), r"history\[2\]\.probabilities must have 21 lists"),
        (_set("history", 2, "probabilities", 1, [0.5, 0.5]), r"history\[2\]\.probabilities\[1\] must have 7 numbers"),
        (_set("history", 2, "probabilities", 0, [1.5] * 6), r"history\[2\]\.probabilities\[0\]\[0\] is 1\.5, not"),
        (_set("history", 2, "expected", None), r"history\[2\]\.expected is None, not a mapping"),
        (_set("history", 2, "epoch", float("nan")), r"history\[2\]\.epoch is nan"),
        (_set("limits", "speed", 3.0), r"limits has 'speed', which is not one of latency"),
        (_set("stage", "training"), r"stage is 'training', not one of search, done"),
        (_set("epochs", 0), r"epochs is 0, not a number"),
        (_set("compared", 1, "blocks", ["k3e1"]), r"compared\[1\]\.blocks must have 22 choices"),
        (_set("compared", 1, "blocks", 0, "skip"), r"compared\[1\]\.blocks has 'skip' for 'stage1\.block1'"),
        (_set("compared", 0, "accuracy", "high"), r"compared\[0\]\.accuracy is 'high'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(change: Callable[[dict[str, Any]], None], problem: str) -> None:
    summary = example_specialization()
    change(summary["specialization"])
    with pytest.raises(InputError, match="no summary of a run: specialization." + problem):
        check_summary(summary)


def test_a_run_without_a_search_has_none(tmp_path: Path) -> None:
    assert read_search(tmp_path) is None

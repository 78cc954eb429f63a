"""A baseline that guesses, or whose classes come in another order, is never a success."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_summary import example_config, example_summary

from netsmith.data import load_data
from netsmith.report.figures import before_after, headline
from netsmith.report.page import render
from netsmith.runs.summary import check_summary
from netsmith.tasks.classification import Classification
from netsmith.tasks.doubt import guessed, misread, sentence

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 10, 500)


@pytest.mark.parametrize(
    ("right", "labels", "guess"),
    [
        (50, LABELS, True),  # a tenth of ten classes
        (60, LABELS, True),
        (90, LABELS, False),
        (0, LABELS, True),
        (3, LABELS, True),  # worse than a guess
        (90, np.repeat([0, 1], [90, 10]), True),  # nine tenths are of one class
        (99, np.repeat([0, 1], [90, 10]), False),
        (4, np.arange(5), False),
        (100, np.zeros(100, dtype=int), True),  # of one class nothing can be told
        (0, np.zeros(0, dtype=int), True),
    ],
)
def test_a_guess_is_told_from_knowledge(right: int, labels: Any, guess: bool) -> None:
    assert (guessed(right, labels) is not None) is guess


def test_another_order_of_classes_is_found() -> None:
    order = RNG.permutation(10)
    said = np.where(RNG.random(500) < 0.95, order[LABELS], RNG.integers(0, 10, 500))
    found = misread(said, LABELS)
    assert found and found["reordered"] > 0.9 and [2, int(order[2])] in found["moved"]
    assert "--classes FILE" in sentence(found, load_data("digits").classes, "search", True)
    assert misread(RNG.integers(0, 10, 500), LABELS) is None  # chance
    assert misread(np.where(RNG.random(500) < 0.6, LABELS, 0), LABELS) is None  # a poor network, in the right order
    assert misread(order[:5], np.arange(5)) is None  # too few to tell


def test_no_success_is_claimed_for_a_guess() -> None:
    summary = example_summary()
    assert "lost" in headline(summary) or "gained" in headline(summary)
    doubt = guessed(50, LABELS)
    assert doubt
    said = sentence(doubt, load_data("digits").classes, "search and test", False)
    assert "10.00% of 500" in said and "no more than a guess" in said and "--weights" in said
    summary |= {"doubt": doubt, "warnings": [said]}
    check_summary(summary)
    assert "not known" in headline(summary) and "points" not in headline(summary)
    row = before_after(summary)[0]
    assert "no better than a guess" in row.name and row.good is False
    page = render(summary, example_config())
    assert "Warning:" in page and "no more than a guess" in page and "no accuracy lost" not in page


def test_a_network_of_which_nothing_is_left_is_said_to_guess() -> None:
    task, who = Classification(load_data("digits")), "the network that came out"
    (said,) = task.ruined(who, {"test": 0.11}, "loosen the budget")
    assert "came out is right about" in said and "no more than a guess" in said and "loosen the budget" in said
    assert task.ruined(who, {"test": 0.5}, "loosen the budget") == []


def test_a_compression_without_weights_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from netsmith.jobs.compare import compare
    from netsmith.jobs.compress import compress
    from netsmith.progress import Lines
    from netsmith.report import show_comparison, show_summary

    summary = compress(
        "zoo:digits?channels=4&blocks=1", "digits", target="roofline-edge", macs="0.9x", methods="prune", epochs=0,
        out=tmp_path / "run", progress=Lines(),
    ).summary  # fmt: skip
    before = capsys.readouterr().err
    assert "warning: the network as given" in before and before.index("warning") < before.index(": sensitivity")
    numbered = re.findall(r"^stage (\d+) of (\d+): (\w+)$", before, re.MULTILINE)
    assert numbered[0] == ("2", numbered[-1][0], "baseline") and len({n for _, n, _ in numbered}) == 1
    assert (
        "allowed: MACs " in before
        and "images are normalised with mean 0.3" in before
        and "statistics of this data set" in before
    )
    assert summary["doubt"]["kind"] == "guess" and summary["doubt"]["images"] > 500
    show_summary(summary)
    shown = capsys.readouterr().out
    assert "no better than a guess" in shown and "no accuracy lost" not in shown and "warning: " in shown
    show_comparison(compare([tmp_path / "run"]))
    assert "warning: " in capsys.readouterr().out

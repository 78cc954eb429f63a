"""A specialization in a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_search import example_specialization
from example_summary import example_summary

from netsmith.jobs.compare import compare
from netsmith.report import show_comparison, show_specialization
from netsmith.report.networks import network_lines
from netsmith.runs.folder import Run


def test_shows_the_network_the_comparison_and_the_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    summary = example_specialization(accuracy=None)
    summary["specialization"]["compared"][1]["label"] = "[red]random[/]"
    show_specialization(summary)
    out = capsys.readouterr().out
    lines = network_lines(summary["specialization"]["blocks"])
    assert all(f"  {line}\n" in out for line in lines)
    row = next(line for line in out.splitlines() if line.startswith("width 0.75")).split()
    assert row[2:] == ["70.04%", "980", "us", "1.01", "ms", "5.00", "M", "300", "K", "0", "s", "640", "s"]
    assert "[red]random[/]" in out
    assert out.index("stage 7") < out.index("width 0.75") < out.index("before") < out.index("Every budget is met")
    assert "points" not in out and "accuracy 71.02%" in out


def test_comparison_prints_the_networks_of_specializations_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summaries = {"special": example_specialization(), "other": example_summary()}
    for name, summary in summaries.items():
        with Run.create(tmp_path / name, {}) as run:
            run.finish(summary)
    result = compare([tmp_path / name for name in summaries])
    assert result["rows"][1]["blocks"] is None
    show_comparison(result)
    out = capsys.readouterr().out
    assert out.count("network of ") == 1 and f"network of {tmp_path / 'special'}" in out
    assert all(f"  {line}\n" in out for line in network_lines(summaries["special"]["specialization"]["blocks"]))


def test_a_width_multiplier_has_no_blocks_to_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = example_specialization()
    summary["specialization"]["compared"].reverse()
    show_specialization(summary)
    out = capsys.readouterr().out
    assert "stage 2" not in out and out.index("width 0.75") < out.index("proxylessnas  ")
    with Run.create(tmp_path / "run", {}) as run:
        run.finish(summary)
    assert compare([tmp_path / "run"])["rows"][0]["blocks"] is None

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from example_summary import example_mixed_summary, example_summary

from netsmith.jobs.compare import compare
from netsmith.report import show_comparison, show_mapping, show_profile, show_summary, show_targets
from netsmith.runs.folder import Run


def test_summary_ends_with_the_verdict_and_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    show_summary(example_summary(str(tmp_path)))
    out = capsys.readouterr().out
    for part in ("accuracy (test)", "97.83%", "97.31%", "-0.52 points", "latency, measured", "0.48×", "960 us", "met"):
        assert part in out
    assert out.index("before") < out.index("budget") < out.index("Every budget is met")
    assert out.index("Every budget is met") < out.index("model.onnx")
    assert "model.pt2" not in out  # the run has none


def test_bits_and_what_training_gave_are_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_summary(example_mixed_summary())
    out = capsys.readouterr().out
    lines = {line.split("  ")[0]: line.split() for line in out.splitlines() if line}
    assert lines["search split, before training"][-4:] == ["99.53%", "90.21%", "-9.32", "points"]
    assert lines["search split, after training"][-4:] == ["99.53%", "98.12%", "-1.41", "points"]
    assert lines["packed size (model.nsw)"][-5:] == ["678", "KB", "98.8", "KB", "0.15×"]
    assert lines["mean bits of weights"][-3:] == ["32", "4.47", "0.14×"]
    assert lines["mean bits of activations"][-3:] == ["32", "4.17", "0.13×"]
    assert "4 layers have widths that are stored in 8 bits in model.onnx: simulated" in out
    assert "The budget is met, as predicted: 2.17 times as fast" in out
    assert "measured" not in out


def test_no_accuracy_before_training_where_nothing_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    show_summary(example_mixed_summary() | {"recovery": []})
    assert "training" not in capsys.readouterr().out


def test_square_brackets_of_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    parity = {"relative_error": 0.0123456, "agreement": 1.0, "ok": True, "jitter": 0.0}
    show_mapping({"file": "runs/[red]x[/red]", "parity": parity, "new_folder": True, "latency_s": 0.002})
    out = capsys.readouterr().out
    assert "runs/[red]x[/red]" in out and "new folder yes" in out and "latency 2.00 ms" in out
    assert "parity outputs differ by 1.2 % of their spread, the same class for every image that was compared" in out


def test_profile_shows_layers_totals_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    layer = {
        "name": "conv1", "kind": "conv", "in_shape": [3, 32, 32], "out_shape": [16, 32, 32], "macs": 442368,
        "params": 432, "latency_s": 1e-5, "share": 0.5, "energy_j": None, "bound": "memory",
        "frozen": "not pruned: it is the stem",
    }  # fmt: skip
    show_profile({
        "model": "zoo:resnet20", "target": "cpu", "layers": [layer],
        "glue": {"latency_s": 1e-5, "operators": 9, "params": 32}, "unknown": ["fft"],
        "warnings": ["nobody here knows what fft costs"],
        "totals": {"macs": 442368, "params": 464, "latency_s": 2e-5, "energy_j": None, "simulated": True},
    })  # fmt: skip
    out = capsys.readouterr().out
    for part in (
        "3×32×32", "442 K", "10.0 us", "50.0%", "memory", "9 operators between", "20.0 us",
        "simulated: latencies come from a model", "nobody here knows what fft costs",
        "* conv1: not pruned: it is the stem",
    ):  # fmt: skip
        assert part in out
    assert "energy" not in out


def test_comparison_of_finished_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, met in (("good", True), ("bad", False)):
        summary = example_summary(str(tmp_path / name))
        if not met:
            summary["budgets"][1] |= {"value": 400_000, "met": False}
        with Run.create(tmp_path / name, {}) as run:
            run.finish(summary)
    show_comparison(compare([tmp_path / "good", tmp_path / "bad"]))
    good, bad = (line for line in capsys.readouterr().out.splitlines() if str(tmp_path)[:20] in line)
    for part in ("97.31%", "97.83%", "930 us", "1.92 ms", "0.48×", "18.1 M", "121 K", "131 KB"):
        assert part in good and part in bad
    assert "not met" not in good
    assert "size not met" in bad


def test_comparison_says_which_latencies_are_predicted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = {"cpu": example_summary(str(tmp_path / "cpu")), "edge": example_mixed_summary(str(tmp_path / "edge"))}
    for name, summary in runs.items():
        with Run.create(tmp_path / name, {}) as run:
            run.finish(summary)
    show_comparison({"rows": _short(compare([tmp_path / name for name in runs]))})
    head, cpu, edge = capsys.readouterr().out.splitlines()
    assert "energy, predicted" in head and "mean bits" in head
    assert "0.48×  measured" in cpu and "–" in cpu
    assert "84.0 us" in edge and "182 us  0.46×  predicted" in edge and "142 uJ  0.35×" in edge
    assert "w4.47 a4.17" in edge and "98.8 KB" in edge
    show_comparison(compare([tmp_path / "cpu"]))
    assert "energy" not in capsys.readouterr().out  # no column of dashes


def _short(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows with names that leave room for every column."""
    return [row | {"run": Path(row["run"]).name} for row in result["rows"]]


def test_targets(capsys: pytest.CaptureFixture[str]) -> None:
    show_targets({
        "targets": [
            {"name": "cpu", "bits": ["8x8", "32x32"], "channels": 8, "measured": True, "energy": False, "roof": None,
             "native": [32, 32]},
            {"name": "array", "bits": [f"{w}x{a}" for w in range(1, 9) for a in range(1, 9)], "channels": 16,
             "measured": False, "energy": True, "roof": {"macs_per_s": 2.56e11, "bytes_per_s": 1.2e10},
             "native": [8, 8]},
            {"name": "roofline", "needs": "give peak and bandwidth"},
        ]
    })  # fmt: skip
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "latency, measured" in lines["cpu"] and "8×8, 32×32" in lines["cpu"] and "fp32" in lines["cpu"]
    assert "1..8 × 1..8" in lines["array"] and "256 GMAC/s" in lines["array"] and "12.0 GB/s" in lines["array"]
    assert "give peak and bandwidth" in out

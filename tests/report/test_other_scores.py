"""Pages and tables of tasks whose score is no accuracy: in its own unit, and with the better end up."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from example_front import example_front_summary
from example_summary import example_config, example_summary
from test_page import page

from netsmith.errors import InputError
from netsmith.jobs.result import Result
from netsmith.metrics import Metric
from netsmith.report import show_comparison, show_summary
from netsmith.report.front import picture_of
from netsmith.report.front_plot import WIDE, draw
from netsmith.report.page import render
from netsmith.report.pictures import shown_pictures
from netsmith.runs.folder import Run
from netsmith.runs.pictures import keep_pictures
from netsmith.runs.summary import check_summary

PSNR, MSE = Metric("psnr", "PSNR", "dB"), Metric("mse", "MSE", "", False)


def of(metric: Metric, summary: dict[str, Any]) -> dict[str, Any]:
    """The summary with all scores in another unit: 20 dB more than ten times a share, or what that lacks to one."""

    def made(share: float) -> float:
        return 20 + 10 * share if metric.higher_is_better else 1 - share

    def lost(loss: float) -> float:
        return 10 * loss if metric.higher_is_better else loss

    summary = copy.deepcopy(summary)
    summary["task"] = {"kind": "image-to-image", "metrics": [metric.to_dict()], "each": "pictures"}
    for side in ("baseline", "result"):
        summary[side][metric.key] = made(summary[side].pop("accuracy"))
    front = summary.get("front") or {"points": [], "marks": [], "baseline": {}, "asked": {}}
    for row in (*front["points"], *front["marks"], front["baseline"]):
        for key in row:
            if key in ("score", "score_bound"):
                row[key] = made(row[key])
            elif key in ("loss", "loss_bound"):
                row[key] = lost(row[key])
            elif key == "score_interval":
                row[key] = sorted(map(made, row[key]))
    sure = summary.get("certificate") or {}
    for key in sure:
        if key in ("score_before", "score_after", "score_bound"):
            sure[key] = made(sure[key])
        elif key in ("loss", "loss_bound"):
            sure[key] = lost(sure[key])
    if sure:
        sure |= {"method": "bootstrap", "worse": None, "better": None}
    for asked in (front["asked"], sure.get("asked") or {}):
        asked |= {key: lost(value) for key, value in asked.items()}
    return summary


def test_a_front_in_decibels(capsys: pytest.CaptureFixture[str]) -> None:
    summary = of(PSNR, example_front_summary())
    check_summary(summary)
    text = page(summary).text
    sure = "at 95 % confidence no more than 0.05 dB lost: certified on 10,000 test pictures"
    assert f"Certified 2.60 times as fast, as measured, and {sure}." in text
    assert "PSNR on test pictures, dB" in text and "accura" not in text.lower() and "points lost" not in text
    show_summary(summary)
    out = capsys.readouterr().out
    assert "dB lost" in out and "29.20 dB" in out and "at most 0.048" in out


def test_where_less_is_better_the_picture_is_that_of_what_is_lacking(capsys: pytest.CaptureFixture[str]) -> None:
    """Every mark lies where that of the share lies, its error 1 - share; the axis says which way is better."""
    usual, other = picture_of(example_front_summary()), picture_of(of(MSE, example_front_summary()))
    for one, two in zip([*usual.marks, *usual.others], [*other.marks, *other.others], strict=True):
        assert two.y == pytest.approx(one.y / 100 - 1) and two.style == one.style
        assert two.y_span[0] <= two.y <= two.y_span[1]
        assert one.low is None or two.low == pytest.approx(one.low / 100 - 1)
    svg = str(draw(other, WIDE))
    assert "MSE on test pictures (less is better)" in svg and "−0" not in re.sub(r'"[^"]*"', "", svg)
    summary = of(MSE, example_summary())
    check_summary(summary)
    text = page(summary).text
    assert "MSE 0.0052 worse" in text and "0.0217" in text and "accuracy" not in text
    show_comparison({"rows": [compared(summary)]})
    assert "0.0217" in capsys.readouterr().out
    summary["result"]["mse"] = 0.01
    assert "MSE 0.0117 better" in page(summary).text
    assert "MSE 0.0217 -> 0.01" in repr(Result.of_run(".", summary))


def compared(summary: dict[str, Any]) -> dict[str, Any]:
    before, after = (summary[side]["mse"] for side in ("baseline", "result"))
    figures = dict.fromkeys(("ratio", "energy_j", "energy_ratio", "mean_bits", "blocks", "chosen"))
    return {"run": "a", "target": "cpu", "task": summary["task"], "mse_before": before, "mse_after": after,
            "latency_before_s": 1.0, "latency_after_s": 0.5, "latency": "measured", "macs": 1, "params": 1,
            "size_bytes": 1, "budgets": [], "warnings": [], **figures}  # fmt: skip


def test_pictures_of_a_task_lie_in_the_page(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", {"job": "compress"}) as run:
        drawn = [("masks.png", b"\x89PNG", "masks <b>"), ("errors.svg", b"<svg/>", "errors")]
        run.stage("pictures", lambda: keep_pictures(run, drawn))
        with pytest.raises(InputError, match="small letters"):
            keep_pictures(run, [("../x.png", b"", "")])
    shown = shown_pictures(tmp_path / "run", {})
    assert [p.source for p in shown] == ["data:image/png;base64,iVBORw==", "data:image/svg+xml;base64,PHN2Zy8+"]
    html = render(example_summary(), example_config(), shown)
    assert "masks &lt;b&gt;" in html and html.count("<figure") == 2
    (tmp_path / "run/pictures/pictures.json").write_text(json.dumps([{"file": "/etc/x.png", "caption": ""}]))
    with pytest.raises(InputError, match="is no picture"):
        shown_pictures(tmp_path / "run", {})

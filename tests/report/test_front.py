from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from example_front import example_certificate, example_front, example_front_summary, example_simulated_front_summary
from example_summary import HOSTILE, example_config, example_summary
from test_page import page

from netsmith.errors import InputError
from netsmith.jobs.compare import compare
from netsmith.report import show_comparison, show_summary, write_report
from netsmith.report.certificate import sureness
from netsmith.report.front import picture_of
from netsmith.report.front_axes import is_even, score_scale
from netsmith.report.front_plot import NARROW, WIDE, best, draw
from netsmith.report.front_svg import front_svg
from netsmith.report.page import render
from netsmith.runs.folder import Run
from netsmith.runs.summary import check_summary

SENTENCE = (
    "2.60 times as fast, as measured, and at 95 % confidence no more than 0.50 points lost: certified on 10,000 test "
    "images"
)


def test_the_first_picture_of_a_page_is_the_front() -> None:
    html = render(example_front_summary(), example_config())
    assert html.index('class="plot front wide"') < html.index("Before and after")
    seen = page(example_front_summary())
    assert f"Certified {SENTENCE}." in seen.text
    assert "What follows is about the chosen network, points/3" in seen.text
    assert "front" not in page(example_summary()).text


def test_every_network_is_a_mark_with_what_is_known_of_it() -> None:
    svg = str(draw(picture_of(example_front_summary()), WIDE))
    assert svg.count('class="number"') == 6 and svg.count('class="network ') == 9
    assert svg.count('class="chosen"') == 1 and svg.count('class="sure"') == 8  # the network as given loses nothing
    said = "network 3, chosen: score 92.03% (91.50% to 92.56%); 0.32 points lost, at most 0.48; latency 739 us (730 us"
    assert said in svg and "none as good is below 724 us" in svg
    styles = re.findall(r'class="network (\S+)"', svg)
    assert (
        styles == ["soft-mark"] * 3 + ["good"] * 3 + ["bad"] + ["ink"] * 2
    )  # after the first that failed none is tested


def test_bar_of_a_network_is_above_the_line_of_what_is_allowed_just_where_it_is_certified() -> None:
    picture = picture_of(example_front_summary())
    (allowed,) = picture.levels
    above = [mark.low is not None and mark.low >= allowed.score for mark in picture.marks]
    assert above == [mark.style == "good" for mark in picture.marks]


def test_table_has_every_network_and_its_folder() -> None:
    text = page(example_front_summary()).text
    for part in (
        "as given 92.35%", "3 points/3, chosen 92.03% 91.50% to 92.56% 0.32 at most 0.48 yes 739 us 730 us to 748 us",
        "8-bit integers alone 92.21%", "uniform pruning 89.74%", "0.66×", "724 us 2.0% below", "4 points/4 91.57%",
        "At most: at 95 % confidence", "A loss of 0.50 points would be certified by about 9,100 test images",
        "allowed: 0.50 points lost", "no design of this space whose summed loss is as small can be cheaper, under the",
    ):  # fmt: skip
        assert part in text, part
    assert "peak memory" not in text and "energy" not in text  # nobody knows them


def test_what_nobody_measured_is_called_predicted() -> None:
    text = page(example_simulated_front_summary()).text
    assert "A front of 6 38 % of the energy, predicted for bismo-edge (simulated), and at 95 % confidence" in text
    assert "energy, predicted, µJ" in text and "of the energy as given" in text and "latency, predicted" in text
    assert "measured" not in text.split("Before and after")[0]
    summary = example_simulated_front_summary()
    for point in summary["front"]["points"]:
        point["certified"] = point["loss_bound"] <= 0.01
    assert "certified to lose no more than 1 point not certified to lose no more than 1 point" in re.sub(
        r"[^a-z0-9 ]| {2,}", "", page(summary).text.replace("● ", "")
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"met": None, "asked": {}}, "at 95 % confidence no more than 0.48 points lost, on 10,000 test images"),
        ({"met": False, "loss_bound": 0.0062, "asked": {"max_drop": 0.005}},
         "at 95 % confidence as much as 0.62 points lost, where 0.50 points were allowed: not certified on"),
        ({"asked": {"min_score": 0.915}}, "at 95 % confidence a score of 91.57 % or more: certified on 10,000"),
        ({"met": False, "asked": {"min_score": 0.92}}, "no more than a score of 91.57 %, where 92.00 % was asked for"),
        ({"loss_bound": None, "met": None}, "at 95 % confidence a score of 91.57 % or more, on 10,000"),
        ({"loss_bound": -0.001}, "at 95 % confidence at least 0.10 points gained"),
    ],
)  # fmt: skip
def test_certificates_in_words(change: dict[str, Any], words: str) -> None:
    assert words in sureness({"certificate": example_certificate() | change})


def test_a_certificate_that_fails_is_the_verdict() -> None:
    summary = example_front_summary(met=False)
    assert "Not certified: the score that was asked for" in page(summary).text
    assert "what was asked for would be certified by about" in page(summary).text.lower()
    summary["certificate"]["needed_examples"] = {"for": 0.004, "examples": None}
    assert "No number of test images would certify what was asked for at the loss that was seen" in page(summary).text
    one = example_summary() | {"certificate": example_certificate(False, {"max_drop": 0.005})}
    assert "Not certified: the score that was asked for" in page(one).text
    assert "At 95 % confidence as much as 0.48 points lost, where 0.50 points were allowed" in page(one).text
    one["certificate"] |= {"met": True}
    assert "Every budget is met, and the score is certified" in page(one).text


@pytest.mark.parametrize(
    "scores", [[92.0, 91.9, 91.5], [92.0, 91.9, 91.5, 10.0], [50.0], [100.0, 100.0], [0.0, 100.0, 99.9, 99.8]]
)
def test_axis_of_scores_keeps_their_order_and_holds_all(scores: list[float]) -> None:
    scale = score_scale(scores, scores, 400)
    places = [scale.place(score) for score in sorted(scores)]
    assert places == sorted(places) and all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    assert all(scale.low - 1e-9 <= tick <= scale.high + 1e-9 for tick in scale.ticks) and len(scale.ticks) >= 2
    gaps = [abs(scale.place(a) - scale.place(b)) * 400 for a, b in zip(scale.ticks, scale.ticks[1:], strict=False)]
    assert min(gaps) > 15
    assert is_even(scores) == (max(scores) - min(scores) < 4)


def test_the_line_of_a_front_goes_through_what_nothing_beats() -> None:
    assert best([(3.0, 1.0), (1.0, 9.0), (2.0, 9.5), (2.5, 4.0)]) == [(1.0, 9.0), (2.5, 4.0), (3.0, 1.0)]


def test_losses_of_found_networks_are_against_a_teacher() -> None:
    summary = example_front_summary()
    given = summary["front"]["baseline"]
    summary["front"] |= {
        "teacher": {"score": given["score"], "score_interval": given["score_interval"]},
        "baseline": given | {"score": None, "score_interval": None, "name": "the reference"},
    }
    check_summary(summary)
    picture = picture_of(summary)
    assert [level.name for level in picture.levels] == ["teacher: 92.35 %", "allowed: 0.50 points lost"]
    assert [mark.low for mark in picture.marks] == [mark.low for mark in picture_of(example_front_summary()).marks]
    assert "as given" not in {mark.label for mark in picture.others}
    assert picture.top[1] == "times as fast as the reference" and "the reference 1.92 ms" in page(summary).text
    assert "that of the teacher less the largest loss" in page(summary).text


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("case", ["plain", "bare", "one", "crowded", "wide"])
def test_any_front_is_drawn_within_the_picture(size: Any, case: str) -> None:
    summary = example_front_summary()
    front = summary["front"] = example_front()
    points = front["points"]
    if case == "bare":  # of an untrained reference, on a target that measures nothing and proves nothing
        front |= {"baseline": {"score": None, "costs": {"latency": 2e-3}}, "marks": None}
        keep = ("folder", "score", "loss", "loss_bound", "costs")
        front["points"] = [{k: p[k] for k in keep} | {"loss": None, "loss_bound": None} for p in points]
    elif case == "one":
        front |= {"points": points[:1], "chosen": "points/1", "marks": []}
    elif case == "crowded":
        front["points"] = [points[2] | {"folder": f"points/{i}"} for i in range(1, 65)]
    elif case == "wide":
        points[-1] |= {"score": 0.01, "score_interval": [0.0, 0.02], "loss_bound": 0.93}
        points[-1]["costs"]["latency"] = points[-1]["cost_bound"] = 1e-6
    svg = str(draw(picture_of(summary), size))
    for name, most in (("x", size.width), ("y", size.height)):
        values = [float(v) for v in re.findall(rf' c?{name}[12]?="([-0-9.]+)"', svg)]
        assert values and all(-10 <= value <= most for value in values)


def test_names_of_marks_are_escaped() -> None:
    summary = example_front_summary()
    summary["front"]["marks"][0]["name"] = HOSTILE
    assert HOSTILE not in render(summary, example_config())


def test_the_terminal_has_one_line_a_network_then_the_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "points/3").mkdir(parents=True)
    (tmp_path / "points/3/model.onnx").write_bytes(b"")
    show_summary(example_front_summary(str(tmp_path)))
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:10]] == ["as", *"123456", "8-bit", "uniform"]
    assert "points/3, chosen" in lines[4] and "at most 0.48" in lines[4] and "730 us to 748 us" in lines[4]
    assert out.index("uniform pruning") < out.index(f"Certified: {SENTENCE}.") < out.index("points/3/model.onnx")


def _front_folder(folder: Path, finished: bool) -> None:
    for i in (1, 2, 3, 4, 5, 6):
        point = folder / f"points/{i}"
        point.mkdir(parents=True)
        with Run.create(point, example_config()) as run:
            run.finish(example_summary(str(point)))
    run = Run.create(folder / "new", example_config())
    if finished:
        run.finish(example_front_summary(str(folder)))
    run.close()
    for path in (folder / "new").iterdir():
        path.rename(folder / path.name)


def test_a_comparison_has_all_networks_of_a_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _front_folder(tmp_path, finished=True)
    rows = compare([tmp_path, tmp_path / "points/1"])["rows"]
    assert [Path(row["run"]).name for row in rows] == [*"123456", "1"]
    assert [row["chosen"] for row in rows] == [False, False, True, False, False, False, None]
    show_comparison({"rows": [row | {"run": Path(row["run"]).name} for row in rows]})
    assert "3 (chosen)" in capsys.readouterr().out


def test_an_unfinished_front_says_which_networks_have_reports(tmp_path: Path) -> None:
    _front_folder(tmp_path, finished=False)
    with pytest.raises(InputError, match=r"6 of the networks of its front are done, .* \(points/1, .*--resume"):
        write_report(tmp_path)


def test_the_picture_stands_alone_as_svg() -> None:
    svg = front_svg(example_front_summary(), f"A title {HOSTILE}")
    ElementTree.fromstring(svg)
    assert HOSTILE not in svg and "http" not in svg.replace("http://www.w3.org/2000/svg", "") and "url(" not in svg
    assert f"{SENTENCE}." in svg and "prefers-color-scheme:dark" in svg and svg.count('class="number"') == 6
    known = set(re.findall(r"\.([a-z-]+)[{,]", svg))  # classes with a rule
    used = {name for names in re.findall(r'class="([^"]+)"', svg) for name in names.split()}
    assert used - known <= {"plot", "front", "wide", "network", "tick"}

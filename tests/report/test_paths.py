"""A search over a supernet on the page: what each block chose, what it was expected to cost, and what was found."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from example_search import OPERATORS, example_search, example_specialization
from example_summary import HOSTILE, example_summary

from netsmith.errors import InputError
from netsmith.report import write_report
from netsmith.report.networks import network_lines, networks_plot, paints
from netsmith.report.page import render, render_live
from netsmith.report.paths import paths_sections, search_state
from netsmith.runs.folder import Run

CONFIG = {"job": "specialize", "space": "mobile-small", "data": "digits", "budgets": {"latency": "1ms"}, "seed": 0}


def sections(found: dict[str, Any]) -> dict[str, Any]:
    drawn = paths_sections(found)
    assert drawn is not None
    return drawn


def areas(plot: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """Texts and corners of the areas of one block."""
    found = re.findall(r'<polygon [^>]*points="([^"]*)"><title>([^<]*)</title>', plot)
    return [(text, [tuple(map(float, p.split(","))) for p in points.split()]) for points, text in found]  # type: ignore[misc]


def test_every_block_that_chose_has_a_chart_with_its_choice_and_share() -> None:
    found = example_search()
    decided = sections(found)["decided"]
    searched = [b for b in found["blocks"] if len(b["choices"]) > 1]
    assert [d["name"] for d in decided] == [b["name"] for b in searched] and len(decided) == 21
    for block, drawn, last in zip(searched, decided, found["history"][-1]["probabilities"], strict=True):
        assert drawn["chosen"] == block["chosen"]
        assert drawn["share"] == f"{last[block['choices'].index(block['chosen'])]:.0%}"
        assert len(areas(drawn["plot"])) == len(block["choices"])
    html = render(example_specialization(), CONFIG)
    for block in searched:
        assert re.search(rf"<span>{block['name']}</span><b>.*?{block['chosen']}</b>", html)


def test_areas_are_as_high_as_the_probabilities() -> None:
    found = example_search()
    block = next(b for b in found["blocks"] if len(b["choices"]) == 7)
    index = [b["name"] for b in found["blocks"] if len(b["choices"]) > 1].index(block["name"])
    drawn = areas(sections(found)["decided"][index]["plot"])
    last = found["history"][-1]["probabilities"][index]
    tops = [100 - points[-2][1] for _, points in reversed(drawn)]  # of the last epoch, the lowest area first
    heights = [b - a for a, b in zip([0.0, *tops], tops, strict=False)]
    assert heights == pytest.approx([100 * share for share in (*last[1:], last[0])], abs=0.2)  # no block is on top
    assert all(points[-1] == (300, 100) for _, points in drawn)  # a finished search fills its chart
    shares = re.findall(r"(\S+): (\d+)% at first, (\d+)% at last", drawn[0][0])
    assert shares == [("skip", "14", f"{last[0] * 100:.0f}")]


def test_an_unfinished_search_fills_its_charts_as_far_as_it_is() -> None:
    drawn = sections(example_search(epochs=30, until=15))["decided"][0]["plot"]
    assert max(x for _, points in areas(drawn) for x, _ in points) == 150
    assert 'class="shade" x="0" y="0" width="60"' in drawn  # 6 of 30 epochs are warm-up


def test_a_long_history_is_thinned_and_keeps_its_ends() -> None:
    found = example_search()
    found["history"] = [h | {"epoch": h["epoch"] - 0.25 * (1 - i / 20)} for h in found["history"] for i in range(1, 21)]
    drawn = sections(found)
    corners = [points for block in drawn["decided"] for _, points in areas(block["plot"])]
    assert all(len(points) == 48 + 2 and (points[1][0], points[-2][0]) == (0, 300) for points in corners)
    line = re.search(r'class="curve" points="([^"]*)"', drawn["charts"][1]["plot"])
    assert line and len(line[1].split()) == 400
    assert len(render(example_specialization() | {"specialization": found}, CONFIG)) < 250_000


def test_a_choice_has_one_colour_everywhere_and_skip_is_grey() -> None:
    html = render(example_specialization(), CONFIG)
    keys = re.findall(r"<rect (class=\S+ c\d\" style=\S+) [^>]*/></svg> (\S+?)<", html)
    legend = {name: paint for paint, name in keys}
    assert set(legend) == {*OPERATORS, "skip"}
    assert len(set(legend.values())) == len(legend)
    assert "c4" in legend["skip"] and not any("c4" in legend[c] for c in OPERATORS)
    drawn = re.findall(r'<polygon (class="[^"]*" style="[^"]*")[^>]*><title>([^:]*):', html)
    drawn += re.findall(r'(class="paint[^"]*" style="[^"]*")[^>]*><text[^>]*>([^<]*)</text>', html)
    assert len(drawn) > 21 * 6 + 2 * 10
    assert all(legend[name] == paint for paint, name in drawn if name != "k3e1")


def test_kernels_have_hues_and_expansions_depths() -> None:
    found = paints(["k5e6", "k3e3", "k3e6", "k5e3", "skip"])
    assert found["k3e3"].hue == found["k3e6"].hue != found["k5e3"].hue == found["k5e6"].hue
    assert found["k3e3"].share == found["k5e3"].share < found["k3e6"].share == found["k5e6"].share == 100
    others = paints(["identity", "pool", *(f"op{i}" for i in range(8))])
    assert len(set(others.values())) == 10  # names that say no kernel differ too


def test_networks_are_drawn_in_one_scale_with_skipped_blocks_as_a_line() -> None:
    blocks = [
        {"stage": 2, "channels": 24, "side": 16, "chosen": c, "name": f"b{i}"}
        for i, c in enumerate(("k7e6", "skip", "k3e3"))
    ]
    plot = networks_plot([("one", blocks), ("two", [{**b, "chosen": "k3e6"} for b in blocks])])
    sizes = {
        name: (float(w), float(h))
        for w, h, name in re.findall(
            r'<rect class="paint.*?width="(\S+)" height="(\S+)" rx="3"/><text[^>]*>(\w+)<', plot
        )
    }
    assert set(sizes) == {"k7e6", "k3e3", "k3e6"}
    assert sizes["k7e6"][0] > sizes["k3e3"][0] == sizes["k3e6"][0]
    assert sizes["k7e6"][1] == sizes["k3e6"][1] > sizes["k3e3"][1]
    assert plot.count('class="skipped"') == 1 and plot.count('class="through"') == 2
    assert plot.count("stage 2") == 1  # the same stages are named once
    assert ">one<" in plot and ">two<" in plot and "b1: skip, 24 channels, 16×16" in plot


def test_networks_of_unlike_spaces_and_any_length_stay_within_the_drawing() -> None:
    long = [
        {"stage": s, "channels": 8 * s, "side": 64 >> s, "chosen": "k5e6"} for s in range(1, 6) for _ in range(9 * s)
    ]
    short = [{"stage": 1, "channels": 8, "side": 9, "chosen": "pool"}]
    plot = networks_plot([("long", long), ("short", short)])
    _, _, width, height = (float(v) for v in re.search(r'viewBox="([^"]*)"', plot)[1].split())  # type: ignore[index]
    boxes = re.findall(
        r'<rect class="(?:paint[^"]*|stage)"[^>]*?x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"', plot
    )
    assert plot.count('class="block"') == len(long) + 1
    for x, y, w, h in (map(float, box) for box in boxes):
        assert 0 <= x <= width - w and 0 <= y <= height - h
    assert "9×9" in plot
    assert networks_plot([]).endswith("</svg>")


def test_networks_that_were_compared_are_drawn_if_they_are_of_this_space() -> None:
    drawn = sections(example_search())
    names = re.findall(r'class="network"[^>]*>([^<]*)<', drawn["networks"])
    assert names == ["proxylessnas", "random"]
    assert [row[0] for row in drawn["rows"]] == ["proxylessnas", "random", "width 0.75"]
    assert drawn["rows"][1][1:4] == ["69.11%", "980 us", "1.01 ms"]
    found = example_search()
    for row in found["compared"]:
        row["latency_measured_s"] = None
    assert "latency, measured" in drawn["head"] and "latency, measured" not in sections(found)["head"]


def test_a_width_multiplier_is_not_drawn_as_a_choice_of_blocks() -> None:
    found = example_search()
    found["compared"] = [found["compared"][2]]
    html = render(example_specialization() | {"specialization": found}, CONFIG)
    assert "width 0.75" in html and 'class="network"' not in html and "A box a block" not in html


def test_expected_costs_with_a_limit_and_entropy_have_a_chart_each() -> None:
    found = example_search()
    titles = [chart["title"] for chart in sections(found)["charts"]]
    assert titles == ["Expected latency", "How undecided the blocks were"]
    plot = sections(found)["charts"][0]["plot"]
    assert "limit 1.00 ms" in plot and "expected latency, ms" in plot and "warm-up" in plot
    found["limits"]["macs"] = 4e6
    drawn = sections(found)["charts"]
    assert [chart["title"] for chart in drawn][1] == "Expected MACs" and "expected MACs, M" in drawn[1]["plot"]
    limit, line = re.search(r'class="limit"[^>]*y1="(\S+)"', plot), re.search(r'class="curve" points="([^"]*)"', plot)
    assert limit and line
    above = [float(p.split(",")[1]) < float(limit[1]) - 0.1 for p in line[1].split()]  # SVG counts from the top
    assert sum(above) == pytest.approx(sum(h["expected"]["latency"] > 1e-3 for h in found["history"]), abs=1)
    assert any(above) and not all(above)


def test_one_line_a_stage() -> None:
    lines = network_lines(example_search()["blocks"])
    assert lines[0] == "stage 1: 16 channels, 32x32: k3e1"
    assert len(lines) == 7
    assert re.fullmatch(r"stage 3: 40 channels, 8x8: k\de\d( k\de\d| skip){3}", lines[2])


def test_texts_are_escaped() -> None:
    found = json.loads(json.dumps(example_search()).replace("k5e3", HOSTILE.replace('"', "'")))
    found |= {"space": HOSTILE, "system": HOSTILE, "target": HOSTILE}
    found["compared"][1]["label"] = HOSTILE
    for block in found["blocks"]:
        block["name"] = HOSTILE
    for html in (
        render(example_specialization() | {"specialization": found}, CONFIG),
        render_live(found, CONFIG, HOSTILE, "12:00:00"), networks_plot([(HOSTILE, found["blocks"])]),
    ):  # fmt: skip
        assert "<script" not in html and "&lt;script&gt;" in html


def test_a_reference_without_an_accuracy_loses_no_points() -> None:
    html = render(example_specialization(accuracy=None), CONFIG)
    assert "points" not in re.sub(r"points=", "", html)
    assert "as measured; accuracy 71.02%" in html
    assert "(k3e6 wherever a block may be that), which was not trained: its accuracy is not known" in html
    trained = render(example_specialization(accuracy=0.724), CONFIG)
    assert "1.38 points of accuracy lost" in trained and "not trained" not in trained


def test_the_command_of_a_specialization_has_no_model() -> None:
    html = render(example_specialization(), CONFIG)
    plain = re.sub("</?span>", "", html)
    assert "netsmith specialize --space mobile-small --data digits --latency 1ms --seed 0" in plain
    assert "<h1>mobile-small on cpu</h1>" in html


def test_other_runs_have_nothing_of_it() -> None:
    html = render(example_summary(), {})
    assert "How each block decided" not in html and 'http-equiv="refresh"' not in html


# --- live -------------------------------------------------------------------------------------------------------------


def test_a_search_on_its_way_has_a_page_that_reloads_itself(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", CONFIG) as run:
        run.write_json("search.json", example_search(until=12.5))
    html = write_report(tmp_path / "run").read_text()
    assert '<meta http-equiv="refresh" content="10">' in html
    assert re.search(r"epoch 12\.5 of 30, expected latency 1\.\d\d ms of 1\.00 ms", html)
    assert html.count("<figure>") == 21 and "most probable so far" in html
    assert re.search(r"as it stood at \d\d:\d\d:\d\d\.", html)
    assert "Before and after" not in html and "Budgets" not in html
    with Run.resume(tmp_path / "run", CONFIG) as run:
        run.finish(example_specialization(str(tmp_path / "run")))
    html = write_report(tmp_path / "run").read_text()
    assert "refresh" not in html and "Before and after" in html and html.count("<figure>") == 21


def test_a_search_that_has_only_begun_says_so() -> None:
    html = render_live(example_search(until=0), CONFIG, "runs/x", "12:00:00")
    assert "nothing is known of its paths yet" in html and "<figure>" not in html and "runs/x" in html
    assert render_live(example_search(until=0.25), CONFIG, "runs/x", "12:00:00").count("<figure>") == 21


def test_states() -> None:
    assert search_state(example_search(until=2)).startswith("warm-up, epoch 2 of 30, expected latency 1.")
    early = example_search(until=12)
    early["history"][-1]["allowed"] = {c: 1.5 * v for c, v in early["limits"].items()}
    assert search_state(early).endswith(" so far)") and " so far" not in search_state(example_search(until=12))
    assert search_state(example_search(until=30)) == search_state(example_search())
    assert search_state(example_search()) == "the search of 30 epochs is done, networks are being built and trained"
    found = example_search(until=12.5)
    found["history"][-1]["epoch"] = 12.4719
    assert search_state(found).startswith("epoch 12.5 of 30, expected latency 1.")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"space": "s"}'])
def test_a_damaged_search_is_one_sentence(tmp_path: Path, content: str) -> None:
    with Run.create(tmp_path / "run", CONFIG) as run:
        run.write_text("search.json", content)
    with pytest.raises(
        InputError, match=r"search\.json is damaged, .*; repeat the run's command with --resume"
    ) as error:
        write_report(tmp_path / "run")
    assert "\n" not in str(error.value) and ". " not in str(error.value)
    assert not (tmp_path / "run" / "report.html").exists()

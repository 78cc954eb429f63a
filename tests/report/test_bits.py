"""The picture of the bits of every layer."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest
from example_summary import HOSTILE, example_mixed_summary, example_summary

from netsmith.report.bits import bits_plot
from netsmith.report.charts import log, tick_text

NAMES = ["stem", "a.expand", "a.depth", "a.project", "b.expand", "b.mix", "fc"]


def drawn(summary: dict[str, Any]) -> ET.Element:
    found = bits_plot(summary)
    assert found is not None
    return ET.fromstring(str(found["plot"]))


def groups(svg: ET.Element) -> dict[str, ET.Element]:
    """Layers by the first word of their text."""
    return {(g.findtext("title") or "").split(" ")[0]: g for g in svg.iter("g")}


def bars(group: ET.Element) -> list[dict[str, float]]:
    found = [r for r in group.iter("rect") if r.get("class") != "hit"]
    return [{k: float(r.get(k) or "nan") for k in ("x", "y", "width", "height")} for r in found]


def test_weights_stand_and_activations_hang_from_one_axis() -> None:
    layers = groups(drawn(example_mixed_summary()))
    assert list(layers) == NAMES  # in the order of execution
    up, down = bars(layers["a.expand"])
    zero, unit = up["y"] + up["height"], up["height"] / 6
    assert down["y"] == pytest.approx(zero, abs=0.11) and down["height"] / unit == pytest.approx(4, rel=0.02)
    for name, (w, a) in {"stem": (8, 8), "a.depth": (4, 5), "a.project": (4, 3), "b.mix": (5, 5)}.items():
        up, down = bars(layers[name])
        assert (up["height"] / unit, down["height"] / unit) == pytest.approx((w, a), rel=0.02)
        assert up["y"] + up["height"] == pytest.approx(zero, abs=0.11)
        assert [t.text for t in layers[name].iter("text") if t.get("class") == "value"] == [str(w), str(a)]
    assert not bars(layers["b.expand"]) and "removed" in (layers["b.expand"].findtext("title") or "")


def test_kinds_have_colours_and_pinned_layers_are_lighter() -> None:
    found = bits_plot(example_mixed_summary())
    assert found is not None
    colour = {kind: f"c{c}" for kind, c, _ in found["legend"]}
    assert {kind: n for kind, _, n in found["legend"]} == {"conv": 2, "depthwise": 1, "pointwise": 2, "linear": 1}
    layers = groups(ET.fromstring(str(found["plot"])))
    assert len(set(colour.values())) == 4
    for name, kind in {"stem": "conv", "a.expand": "pointwise", "a.depth": "depthwise", "fc": "linear"}.items():
        assert (layers[name].get("class") or "").split() == ["layer", colour[kind]]
    styles = {n: {r.get("class") for r in g.iter("rect")} - {"hit"} for n, g in layers.items()}
    assert styles["stem"] == styles["fc"] == {"pinned"} and styles["a.depth"] == {"chosen-bits"}
    assert found["pinned"] and not found["floats"]


def test_texts_say_what_is_simulated() -> None:
    texts = {name: g.findtext("title") or "" for name, g in groups(drawn(example_mixed_summary())).items()}
    assert texts["a.project"] == (
        "a.project (conv); weights 4 bits, activations 3 bits; stored in 8 bits in model.onnx: simulated; "
        "55 MACs/byte, ridge at 133"
    )
    assert "simulated" not in texts["stem"] and "no choice of bits" in texts["stem"]


def test_intensity_as_run_stands_below_with_the_ridge_of_its_bits() -> None:
    summary = example_mixed_summary()
    after = {r["name"]: r for r in summary["roofline"]["layers"] if r["network"] == "after"}
    ridges = {tuple(r["bits"]): r["macs_per_s"] / r["bytes_per_s"] for r in summary["roofline"]["roofs"]}
    layers = groups(drawn(summary))
    points = []
    for name, row in after.items():
        (circle,), (line,) = layers[name].iter("circle"), layers[name].iter("line")
        assert circle.get("class") == "dot" and line.get("class") == "ridge"
        assert float(line.get("x1") or 0) < float(circle.get("cx") or 0) < float(line.get("x2") or 0)
        assert float(circle.get("cy") or 0) > max(b["y"] + b["height"] for b in bars(layers[name]))
        points += [(row["intensity"], float(circle.get("cy") or "nan"))]
        points += [(ridges[tuple(row["bits"])], float(line.get("y1") or "nan"))]
    (v0, y0), (v1, y1) = min(points), max(points)
    for value, y in points:  # one logarithmic axis for both
        share = math.log(value / v0) / math.log(v1 / v0)
        assert y == pytest.approx(y0 + share * (y1 - y0), abs=0.2)
    assert not list(layers["b.expand"].iter("circle"))


def test_without_traffic_there_are_bits_alone() -> None:
    summary = example_mixed_summary() | {"roofline": None}
    found = bits_plot(summary)
    assert found is not None and not found["intensity"] and not found["ridge"]
    svg = ET.fromstring(str(found["plot"]))
    assert not list(svg.iter("circle")) and len(bars(svg)) == 12


def test_drawn_only_if_layers_differ() -> None:
    summary = example_mixed_summary()
    for row in summary["layers"]:
        if row["choice"]["width"]:
            row["choice"] |= {"bits": 8, "a_bits": 8}
    assert bits_plot(summary) is None  # a removed layer is no width of its own
    summary["layers"][3]["choice"]["a_bits"] = 7
    assert bits_plot(summary) is not None
    assert bits_plot(summary | {"layers": []}) is None


def test_bars_of_floats_are_much_taller_and_broken() -> None:
    summary = example_summary()  # 8 bits and 32, of older runs that have one figure for both
    found = bits_plot(summary)
    assert found is not None and found["floats"]
    svg = ET.fromstring(str(found["plot"]))
    low, high = sorted({b["height"] for b in bars(svg)})
    assert high == pytest.approx(1.5 * low)
    for name, group in groups(svg).items():
        height, gaps = {b["height"] for b in bars(group)}, [p for p in group.iter("path") if p.get("class") == "gap"]
        assert len(gaps) == 2 * (height == {high}), name
    ends = [b["y"] for b in bars(svg)] + [b["y"] + b["height"] for b in bars(svg)]
    assert min(ends) > 0 and max(ends) < float((svg.get("viewBox") or "").split()[3])


@pytest.mark.parametrize("count", [2, 20, 60, 140])
def test_any_number_of_layers_is_legible(count: int) -> None:
    summary = example_mixed_summary()
    row = summary["layers"][1]
    summary["layers"] = [
        row | {"name": f"features.{i}.block.conv.{HOSTILE}", "choice": row["choice"] | {"bits": 2 + i % 7}}
        for i in range(count)
    ]
    svg = drawn(summary)
    width, height = (float(v) for v in (svg.get("viewBox") or "").split()[2:])
    found = [b for g in svg.iter("g") for b in bars(g)[:1]]
    assert len(found) == count
    assert all(b["width"] >= 11 for b in found)
    assert all(p["x"] + p["width"] < q["x"] for p, q in pairwise(found))
    assert found[0]["x"] > 0 and found[-1]["x"] + found[-1]["width"] <= width
    assert all(b["y"] > 0 and b["y"] + b["height"] < height for g in svg.iter("g") for b in bars(g))
    names = [t.text or "" for t in svg.iter("text") if (t.get("class") or "").startswith("name")]
    assert max(map(len, names)) <= 24 and HOSTILE in (next(svg.iter("g")).findtext("title") or "")
    assert f"min-width:{width:.0f}px" in (svg.get("style") or "")  # a narrow page scrolls it, and does not shrink it


def test_ticks() -> None:
    values = (0.0, 1e-4, -2.5e-4, 1e-5, 0.05, 12.5, 1e10)
    assert [tick_text(v) for v in values] == ["0", "1e−4", "−2.5e−4", "1e−5", "0.05", "12.5", "1e10"]
    assert log([12.0, 95.0]).ticks == [20, 50, 100]  # a scale without a power of ten in it still has ticks
    assert log([0.5, 2e4]).ticks == pytest.approx([1, 10, 100, 1000, 10000])

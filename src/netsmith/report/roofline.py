"""The roofline of a run as a picture: the layers under the roofs of the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netsmith.report.charts import Point, Series, log, scatter
from netsmith.report.marks import KINDS, kind_shown
from netsmith.report.widths import in_words


def roofline_plot(roofline: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The plot and its legend, from what ``netsmith.jobs.roofline`` gives; None if there is nothing to show.

    Layers as given are hollow, those of the result are filled; a layer below the slope of its roof is bound by memory,
    one below the flat part by compute.
    """
    if not roofline or not roofline["layers"]:
        return None
    layers, roofs = roofline["layers"], roofline["roofs"]
    series = []
    for kind in (kind for kind in KINDS if any(kind_shown(layer) == kind for layer in layers)):
        points = []
        for layer in (one for one in layers if kind_shown(one) == kind):
            w, a = layer["bits"]
            text = (
                f"{layer['name']}, {layer['network']}, {_bits(w, a)}: {layer['intensity']:.3g} MACs/byte, "
                f"{layer['macs_per_s'] / 1e9:.3g} GMAC/s"
            )
            points.append(Point(layer["intensity"], layer["macs_per_s"] / 1e9, text, layer["network"] == "before"))
        series.append(Series(kind, points, f"c{KINDS[kind]}"))
    ridges = [roof["macs_per_s"] / roof["bytes_per_s"] for roof in roofs]
    xs = [p.x for s in series for p in s.points] + ridges
    low, high = min(xs), max(xs) * 2
    lines = []
    for roof, ridge in zip(roofs, ridges, strict=True):
        peak, slope = roof["macs_per_s"] / 1e9, roof["bytes_per_s"] / 1e9
        lines.append((_bits(*roof["bits"]), [(low, low * slope), (ridge, peak), (high, peak)]))
    ys = [p.y for s in series for p in s.points] + [y for _, line in lines for _, y in line]
    plot = scatter(
        series, log([low, high]), log(ys), x_label="multiply-accumulates a byte of traffic", y_label="GMAC/s",
        title="Layers under the roofs of the target", lines=lines,
    )  # fmt: skip
    legend = [(s.name, s.style, len(s.points)) for s in series]
    return {"plot": plot, "legend": legend, "short": roofline.get("short", 0)}


def _bits(w: int, a: int) -> str:
    return "fp32" if w == a == 32 else f"{w}-bit" if w == a else in_words(w, a)

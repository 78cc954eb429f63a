"""Bits of every layer as a picture, and how much each layer computes for what it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from netsmith.report.charts import Scale, log, tick_text
from netsmith.report.marks import KINDS, kind_shown
from netsmith.report.widths import in_words, simulated, widths

_LEFT, _RIGHT, _TOP, _GAP = 78.0, 16.0, 22.0, 34.0
_BARS, _DOTS = 216.0, 130.0  #: heights of the two panels
_LEAST_W, _LEAST_BAND = 1036.0, 16.0  #: of the picture, and of one layer in it
_NAME = 24  #: letters of a layer's name that fit below
_FLOAT = 16  #: bits above which numbers are floating point
_TALLER = 1.5  #: how much taller than the widest integers their bars are, with a gap that says that it is not to scale


@dataclass(frozen=True)
class Column:
    """One layer: bits of weights and activations (None if it was removed), MACs a byte, and what a pointer shows."""

    name: str
    kind: str
    bits: tuple[int, int] | None
    pinned: bool
    intensity: float | None
    ridge: float | None
    text: str


def bits_plot(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """The picture and its legend; None unless the layers of a run differ in their bits.

    Weights stand up and activations hang down from a common axis. Below, on the same axis, is the arithmetic intensity
    of each layer as it runs; above the ridge of its bits a layer can be bound by compute (Williams, Waterman,
    Patterson 2009). That part is left out for targets that know no traffic.
    """
    columns = _columns(summary)
    if len({c.bits for c in columns if c.bits}) < 2:
        return None
    kinds = [c.kind for c in columns if c.bits]
    return {
        "plot": _draw(columns),
        "legend": [(k, colour, kinds.count(k)) for k, colour in KINDS.items() if k in kinds],
        "pinned": any(c.pinned for c in columns if c.bits), "intensity": any(c.intensity for c in columns),
        "floats": any(max(c.bits) > _FLOAT for c in columns if c.bits),
        "ridge": any(c.ridge for c in columns if c.intensity),
    }  # fmt: skip


def _columns(summary: Mapping[str, Any]) -> list[Column]:
    roofline = summary.get("roofline") or {"layers": [], "roofs": []}
    moved = {one["name"]: one for one in roofline["layers"] if one["network"] == "after"}
    ridges = {tuple(r["bits"]): r["macs_per_s"] / r["bytes_per_s"] for r in roofline["roofs"]}
    columns = []
    for row in summary.get("layers") or []:
        choice = row.get("choice") or {}
        bits, under = widths(choice), moved.get(row["name"])
        pinned = bool(choice.get("pinned"))
        said = [f"{row['name']} ({row.get('kind', 'layer')})", "removed"]
        if bits:
            said = [said[0], f"weights {_number(bits[0])}, activations {_number(bits[1])}", simulated(choice)]
            said += ["no choice of bits"] if pinned else []
        ridge = None
        if under:
            ridge = ridges.get(tuple(under["bits"]))
            said.append(f"{under['intensity']:.3g} MACs/byte" + (f", ridge at {ridge:.3g}" if ridge else ""))
        intensity = under["intensity"] if under else None
        columns.append(
            Column(row["name"], kind_shown(row), bits, pinned, intensity, ridge, "; ".join(filter(None, said)))
        )
    return columns


def _number(bits: int) -> str:
    return "in floating point" if bits > _FLOAT else in_words(bits, bits)


def _draw(columns: Sequence[Column]) -> Markup:
    width = max(_LEAST_W, _LEFT + _RIGHT + _LEAST_BAND * len(columns))
    band = (width - _LEFT - _RIGHT) / len(columns)
    values = [v for c in columns if c.intensity for v in (c.intensity, c.ridge) if v]
    bottom = _TOP + _BARS + (_GAP + _DOTS if values else 0.0)
    height = bottom + 16 + 6.6 * min(_NAME, max(len(c.name) for c in columns))
    out = [
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="min-width:{width:.0f}px" role="img" '
        'aria-label="Bits of the weights and activations of every layer" class="plot bits">'
    ]
    most = max([8, *(b for c in columns for b in c.bits or () if b <= _FLOAT)])
    floats = any(b > _FLOAT for c in columns for b in c.bits or ())
    unit = _BARS / 2 / ((most * _TALLER if floats else most) + 1.5)  # room for numbers
    zero = _TOP + _BARS / 2
    for bits in range(2, most + 1, 2):
        for sign in (-1, 1):
            out += _grid(width, zero + sign * bits * unit, str(bits))
    out.append(_title("weights, bits", (_TOP + zero) / 2) + _title("activations, bits", (zero + _TOP + _BARS) / 2))
    scale = log(values) if values else None
    top = _TOP + _BARS + _GAP
    if scale:
        for tick in scale.ticks:
            out += _grid(width, top + _DOTS * (1 - scale.place(tick)), tick_text(tick))
        out.append(_title("MACs a byte", top + _DOTS / 2))
    for i, column in enumerate(columns):
        x = _LEFT + i * band
        out.append(f'<g class="layer c{KINDS[column.kind]}"><title>{escape(column.text)}</title>')
        out.append(f'<rect class="hit" x="{x:.1f}" y="{_TOP}" width="{band:.1f}" height="{height - _TOP:.1f}"/>')
        if column.bits:
            out += _bars(column, x + band / 2, min(band * 0.72, 44.0), zero, unit, most)
        if scale and column.intensity:
            out += _dot(column, x, band, top, scale)
        out.append(_name(column, x + band / 2, bottom + 10) + "</g>")
    out.append(f'<line class="zero" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{zero:.1f}" y2="{zero:.1f}"/>')
    return Markup("".join(out) + "</svg>")  # every text in it went through escape()


def _bars(column: Column, x: float, wide: float, zero: float, unit: float, most: int) -> list[str]:
    assert column.bits is not None
    out = []
    for bits, sign in zip(column.bits, (-1, 1), strict=True):
        long = unit * (bits if bits <= _FLOAT else most * _TALLER)
        kind = "pinned" if column.pinned else "chosen-bits"
        out.append(
            f'<rect class="{kind}" x="{x - wide / 2:.1f}" y="{zero - long if sign < 0 else zero:.1f}" '
            f'width="{wide:.1f}" height="{long:.1f}"/>'
        )
        if bits > _FLOAT:  # a gap in the bar, between the widest integers and its end
            at = zero + sign * unit * most * (1 + _TALLER) / 2
            out.append(
                f'<path class="gap" d="M{x - wide / 2 - 3:.1f},{at + 3:.1f}L{x + wide / 2 + 3:.1f},{at - 3:.1f}"/>'
            )
        y = zero + sign * (long + 3) + (10 if sign > 0 else 0)
        out.append(f'<text class="value" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{bits}</text>')
    return out


def _dot(column: Column, x: float, band: float, top: float, scale: Scale) -> list[str]:
    assert column.intensity is not None
    y = top + _DOTS * (1 - scale.place(column.intensity))
    out = []
    if column.ridge:
        at = top + _DOTS * (1 - scale.place(column.ridge))
        out.append(f'<line class="ridge" x1="{x:.1f}" x2="{x + band:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>')
    return [*out, f'<circle class="dot" cx="{x + band / 2:.1f}" cy="{y:.1f}" r="4.5"/>']


def _grid(width: float, y: float, text: str) -> list[str]:
    return [
        f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<text class="tick" x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>',
    ]


def _title(text: str, y: float) -> str:
    return (
        f'<text class="axis" transform="rotate(-90 15 {y:.1f})" x="15" y="{y:.1f}" text-anchor="middle">{text}</text>'
    )


def _name(column: Column, x: float, y: float) -> str:
    name, kind = column.name, "name" if column.bits else "name gone"
    short = name if len(name) <= _NAME else f"{name[: _NAME // 2 - 1]}…{name[-_NAME // 2 :]}"
    return (
        f'<text class="{kind}" transform="rotate(-90 {x + 4:.1f} {y:.1f})" x="{x + 4:.1f}" y="{y:.1f}" '
        f'text-anchor="end">{escape(short)}</text>'
    )

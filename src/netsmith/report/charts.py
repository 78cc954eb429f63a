"""Scatter and line plots as SVG text: no script, no network, colours from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from markupsafe import Markup, escape

from netsmith.report.marks import mark

_W, _H, LOW = 520.0, 340.0, 250.0  #: width of a plot, height of a scatter plot and of a line plot
_LEFT, _RIGHT, _TOP, BOTTOM = 78.0, 16.0, 14.0, 50.0
MAX_POINTS = 3000  #: of one series; more would only make the page slow
MAX_LINE = 400  #: points of one line
SECONDS = (("s", 1.0), ("ms", 1e3), ("µs", 1e6))
JOULES = (("J", 1.0), ("mJ", 1e3), ("µJ", 1e6), ("nJ", 1e9))
COUNTS = (("G", 1e-9), ("M", 1e-6), ("K", 1e-3), ("1", 1.0))
BYTES = (("GB", 1e-9), ("MB", 1e-6), ("KB", 1e-3), ("B", 1.0))

_T = TypeVar("_T")


@dataclass(frozen=True)
class Point:
    """A mark with the text that a pointer at rest shows."""

    x: float
    y: float
    text: str
    hollow: bool = False
    chosen: bool = False


@dataclass(frozen=True)
class Series:
    """Points of one colour and shape; ``style`` is a class of the page's style sheet, ``c0`` for its first colour."""

    name: str
    points: list[Point] = field(default_factory=list)
    style: str = "ink"
    shape: str = "circle"


@dataclass(frozen=True)
class Scale:
    """A mapping of ``low``..``high`` to 0..1, and where its ticks are."""

    place: Callable[[float], float]
    ticks: list[float]
    low: float
    high: float


def linear(low: float, high: float, count: int = 5) -> Scale:
    """An even scale; its ends are ``low`` and ``high``."""
    if not high > low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    step = _nice((high - low) / count)
    first = math.ceil(low / step - 1e-9)
    ticks = [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]
    return Scale(lambda v: (v - low) / (high - low), ticks, low, high)


def log(values: Sequence[float]) -> Scale:
    """A logarithmic scale over positive values, with ticks at powers of ten, or at 1, 2 and 5 times these if few."""
    low, high = (math.log10(v) for v in (min(values), max(values)))
    pad = max((high - low) * 0.05, 0.05)
    low, high = low - pad, high + pad
    step = math.ceil((high - low) / 6)
    ticks = [10.0**p for p in range(math.ceil(low), math.floor(high) + 1, step)]
    if len(ticks) < 3:
        powers = range(math.floor(low), math.floor(high) + 1)
        ticks = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= math.log10(m * 10.0**p) <= high]
    return Scale(lambda v: (math.log10(max(v, 1e-300)) - low) / (high - low), ticks, 10.0**low, 10.0**high)


def wide(values: Sequence[float]) -> Scale:
    """An even scale, or one that is logarithmic away from 0 if the values span several powers of ten."""
    low, high = min(values), max(values)
    sizes = sorted(abs(v) for v in values if v)
    middle = sizes[len(sizes) // 2] if sizes else 0.0
    if not sizes or max(abs(low), abs(high)) < 30 * middle:
        pad = (high - low) * 0.06
        return linear(low - pad, high + pad)
    unit = max(sizes[len(sizes) // 10], middle / 1000)

    def bend(v: float) -> float:
        return math.asinh(v / unit)

    a, b = bend(low), bend(high)
    a, b = a - (b - a) * 0.06, b + (b - a) * 0.06
    powers = range(math.ceil(math.log10(unit)), math.floor(math.log10(sizes[-1])) + 1)
    candidates = [0.0] + [s * 10.0**p for p in powers for s in (-1, 1)]
    ticks = [t for t in sorted(candidates) if a <= bend(t) <= b]
    return Scale(lambda v: (bend(v) - a) / (b - a), ticks, low, high)


def scatter(
    series: Sequence[Series], x: Scale, y: Scale, *, x_label: str, y_label: str, title: str, diagonal: bool = False,
    limit: tuple[float, str] | None = None, lines: Sequence[tuple[str, Sequence[tuple[float, float]]]] = (),
) -> Markup:  # fmt: skip
    """A scatter plot.

    Args:
        title: for those who cannot see it.
        diagonal: draw where both axes are equal.
        limit: a vertical line at this x, and its name.
        lines: names and points of polygonal lines; the name stands at the last point, above or below the line, or
            only in the text that a pointer shows if there is room for it at neither side.
    """
    at, out = frame(x, y, x_label, y_label, title, _H)
    bottom = _H - BOTTOM
    if diagonal:
        ends = max(x.low, y.low), min(x.high, y.high)
        (x1, y1), (x2, y2) = at(ends[0], ends[0]), at(ends[1], ends[1])
        out.append(f'<line class="diagonal" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
    if limit is not None and 0 <= x.place(limit[0]) <= 1:
        sx = at(limit[0], y.low)[0]
        side, dx = ("end", -6) if x.place(limit[0]) > 0.5 else ("start", 6)
        out.append(f'<line class="limit" x1="{sx}" x2="{sx}" y1="{_TOP}" y2="{bottom}"/>')
        out.append(
            f'<text class="limit-name" x="{sx + dx}" y="{_TOP + 11}" text-anchor="{side}">{escape(limit[1])}</text>'
        )
    last, taken = [at(*points[-1])[1] for _, points in lines], list[float]()
    for name, points in lines:
        path = " ".join(f"{px},{py}" for px, py in (at(*p) for p in points))
        px, py = at(*points[-1])
        out.append(f'<polyline class="roof" points="{path}"><title>{escape(name)}</title></polyline>')
        others = taken + [y for y in last if abs(y - py) > 0.5]
        room = next((y for y in (py - 9.5, py + 9.5) if all(abs(y - other) > 11 for other in others)), None)
        if room is not None:
            taken.append(room)
            out.append(f'<text class="roof-name" x="{px - 4}" y="{room + 4.5}" text-anchor="end">{escape(name)}</text>')
    for s in series:
        out.append(f'<g class="{s.style}">')
        for p in thinned(s.points, MAX_POINTS):
            out.append(mark(s.shape, *at(p.x, p.y), "hollow" if p.hollow else "dot", escape(p.text)))
        out.append("</g>")
    for s in series:  # on top of all others
        for p in (p for p in s.points if p.chosen):
            px, py = at(p.x, p.y)
            out.append(f'<circle class="chosen" cx="{px}" cy="{py}" r="9"><title>{escape(p.text)}</title></circle>')
    return Markup("".join(out) + "</svg>")  # every text in it went through escape()


def curve(
    points: Sequence[tuple[float, float]], x: Scale, y: Scale, *, x_label: str, y_label: str, title: str,
    level: tuple[float, str] | None = None, shaded: tuple[float, float, str] | None = None,
) -> Markup:  # fmt: skip
    """One quantity over another as a line; a dot marks the last point.

    Args:
        level: a horizontal line at this y, and its name.
        shaded: from this x to that, and what it is there.
    """
    at, out = frame(x, y, x_label, y_label, title, LOW)
    bottom, right = LOW - BOTTOM, _W - _RIGHT
    if shaded is not None:
        left, end = at(shaded[0], y.low)[0], at(shaded[1], y.low)[0]
        marks = [at(x.low, v)[1] for v in (points[0][1] if points else y.low, level[0] if level else y.low)]
        name_y = max((_TOP + 14, (_TOP + bottom) / 2, bottom - 6), key=lambda v: min(abs(v - 4 - m) for m in marks))
        out.append(
            f'<rect class="shade" x="{left}" y="{_TOP}" width="{max(end - left, 0):.1f}" height="{bottom - _TOP}"/>'
            f'<text class="shade-name" x="{left + 5}" y="{name_y}">{escape(shaded[2])}</text>'
        )
    if level is not None and 0 <= y.place(level[0]) <= 1:
        sy = at(x.low, level[0])[1]
        out.append(f'<line class="limit" x1="{_LEFT}" x2="{right}" y1="{sy}" y2="{sy}"/>')
        ends = [at(*p)[1] for p in (points[0], points[-1])] if points else [_TOP, _TOP]
        left_end = abs(ends[0] - sy) > abs(ends[1] - sy)  # the name stands where the line is far, off its side
        under = bottom - sy > 18 if ends[0 if left_end else 1] <= sy else sy < _TOP + 16
        out.append(
            f'<text class="limit-name" x="{_LEFT + 5 if left_end else right - 4}" y="{sy + (14 if under else -5):.1f}" '
            f'text-anchor="{"start" if left_end else "end"}">{escape(level[1])}</text>'
        )
    if points:
        kept = thinned(points, MAX_LINE)
        line = " ".join(f"{px},{py}" for px, py in (at(*p) for p in kept))
        px, py = at(*points[-1])
        out.append(f'<g class="ink"><polyline class="curve" points="{line}"/>')
        out.append(f'<circle class="dot" cx="{px}" cy="{py}" r="4"/></g>')
    return Markup("".join(out) + "</svg>")  # every text in it went through escape()


def thinned(points: Sequence[_T], most: int) -> list[_T]:
    """At most ``most`` (2 or more) of the points, evenly chosen, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def unit_of(values: Sequence[float], units: Sequence[tuple[str, float]]) -> tuple[str, float]:
    """The largest unit of which the largest value has one or more, and how many of it make the SI unit."""
    return next(((u, f) for u, f in units if max(values) * f >= 1), units[-1])


def frame(
    x: Scale, y: Scale, x_label: str, y_label: str, title: str, height: float
) -> tuple[Callable[[float, float], tuple[float, float]], list[str]]:
    """Where a point lies in a plot, and the plot's opening tag, grid and axes."""

    def at(px: float, py: float) -> tuple[float, float]:
        sx = _LEFT + x.place(px) * (_W - _LEFT - _RIGHT)
        return round(sx, 1), round(height - BOTTOM - y.place(py) * (height - _TOP - BOTTOM), 1)

    bottom, right = height - BOTTOM, _W - _RIGHT
    out = [f'<svg viewBox="0 0 {_W:.0f} {height:.0f}" role="img" aria-label="{escape(title)}" class="plot">']
    for t in x.ticks:
        sx = at(t, y.low)[0]
        out.append(f'<line class="grid" x1="{sx}" x2="{sx}" y1="{_TOP}" y2="{bottom}"/>')
        out.append(f'<text class="tick" x="{sx}" y="{bottom + 17}" text-anchor="middle">{tick_text(t)}</text>')
    for t in y.ticks:
        sy = at(x.low, t)[1]
        out.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{sy}" y2="{sy}"/>')
        out.append(f'<text class="tick" x="{_LEFT - 7}" y="{sy + 4}" text-anchor="end">{tick_text(t)}</text>')
    middle = (_TOP + bottom) / 2
    out.append(
        f'<text class="axis" x="{(_LEFT + right) / 2}" y="{height - 8}" text-anchor="middle">{escape(x_label)}</text>'
    )
    out.append(
        f'<text class="axis" transform="rotate(-90 15 {middle})" x="15" y="{middle}" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    return at, out


def _nice(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return float(next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= step * (1 - 1e-9)))


def tick_text(value: float) -> str:
    """A number at an axis."""
    short = f"{value:.1e}".replace(".0e", "e") if 0 < abs(value) < 1e-3 else f"{value:.4g}"
    return short.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-").replace("-", "−")

"""A front as SVG: costs with their intervals against scores with theirs, and what is proven and allowed beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from netsmith.metrics import ACCURACY, Metric
from netsmith.report.charts import Scale, linear, log, tick_text
from netsmith.report.front_axes import score_scale
from netsmith.report.labels import Box, long_of, place_label, segments
from netsmith.report.marks import mark

Span = tuple[float, float]

_TOP, _BOTTOM, _RIGHT = 44.0, 54.0, 18.0
_CAP, _BAR = 4.0, 14.0  #: halves of a whisker's end and of the bar of what is certified
_R, _RING = 9.0, 4.5  #: radius of a mark, and how far around the chosen one its ring is
_LOG = 12.0  #: ratio of the greatest to the least cost from which on its axis is logarithmic


@dataclass(frozen=True)
class Mark:
    """One network: where it is, how sure that is, and how it looks.

    ``x`` is a cost in the unit of the axis, ``y`` how high the score lies; ``low`` is the score that is certified, a
    bar of its own. ``style`` is a class of the style sheet, ``number`` stands in the mark and ``label`` beside it,
    ``text`` is what a pointer shows.
    """

    x: float
    y: float
    x_span: Span | None
    y_span: Span | None
    low: float | None
    style: str
    shape: str
    number: str
    label: str
    text: str
    chosen: bool = False


@dataclass(frozen=True)
class Level:
    """A score that has a line across the picture; ``style`` is a class of the style sheet."""

    score: float
    name: str
    style: str


@dataclass(frozen=True)
class Picture:
    """What is drawn: ``marks`` of the front and ``others``; ``bound`` are costs and scores, ``levels`` lines.

    Heights are scores as they are shown, by the ``metric``, with the other sign where less is better.

    ``top`` are costs and their texts for the upper edge, and what these are.
    """

    marks: Sequence[Mark]
    others: Sequence[Mark]
    bound: Sequence[tuple[float, float]]
    proven: str
    top: tuple[Sequence[tuple[float, str]], str]
    levels: Sequence[Level]
    x_label: str
    y_label: str
    title: str
    metric: Metric = ACCURACY


@dataclass(frozen=True)
class Size:
    """Of a drawing: width and height, and the letters that its labels are made room for."""

    width: float
    height: float
    letters: float
    name: str


WIDE = Size(1036.0, 500.0, 13.0, "wide")
NARROW = Size(520.0, 520.0, 17.0, "narrow")  #: shown at about two thirds on a phone


def draw(picture: Picture, size: Size) -> Markup:
    """The picture at one size. Texts in it are escaped."""
    every = [*picture.marks, *picture.others]
    left = 30 + size.letters * 3.2
    right, bottom = size.width - _RIGHT, size.height - _BOTTOM
    x, y = (
        _cost_scale(picture, every),
        score_scale(_scores(picture, every), [m.y for m in every], bottom - _TOP, picture.metric.unit == "%"),
    )

    def at(cost: float, score: float) -> tuple[float, float]:
        px = left + x.place(cost) * (right - left)
        return round(min(max(px, left), right), 1), round(bottom - y.place(score) * (bottom - _TOP), 1)

    out = [
        f'<svg viewBox="0 0 {size.width:.0f} {size.height:.0f}" role="img" aria-label="{escape(picture.title)}" '
        f'class="plot front {size.name}">'
    ]
    least = min([*(m.x for m in every), *(cost for cost, _ in picture.bound)])
    ticks = [(at(cost, y.low)[0], text) for cost, text in picture.top[0] if x.high >= cost >= 0.8 * least]
    heights = [(at(x.low, t)[1], picture.metric.rank(t) + 0.0) for t in y.ticks]  # a zero without a sign
    out += _grid([(at(t, y.low)[0], t) for t in x.ticks], heights, (left, right), size)
    out += _names(picture, (left + right) / 2, size) + _upper_edge(ticks, picture.top[1], (left + right) / 2, size)
    taken: list[Box] = []
    if picture.bound:
        line = _staircase([at(cost, score) for cost, score in picture.bound], up_first=True)
        area, said = [*line, (line[-1][0], _TOP), (left, _TOP), (left, line[0][1])], escape(picture.proven)
        out.append(f'<polygon class="beyond" points="{_path(area)}"><title>{said}</title></polygon>')
        out.append(f'<polyline class="bound" points="{_path(line)}"><title>{said}</title></polyline>')
        taken += segments(line)
    places = [at(m.x, m.y) for m in picture.marks]
    line = _staircase(best(places), up_first=False)
    out.append(f'<polyline class="frontier" points="{_path(line)}"/>')
    taken += segments(line)
    for level in picture.levels:
        out += _level(level, at(x.low, level.score)[1], left, right, size, taken)
    for m in (*picture.others, *picture.marks):  # the front on top
        drawn, boxes = _mark(m, at)
        out += drawn
        taken += boxes
    limits = (left, _TOP, right, bottom)
    for m in sorted((m for m in every if m.label), key=lambda m: not m.chosen):
        near = _R + _RING if m.chosen else _R
        px, py = place_label(m.label, at(m.x, m.y), near, size.letters, taken, limits)
        kind = "name of-chosen" if m.chosen else "name"
        out.append(f'<text class="{kind}" x="{px:.1f}" y="{py:.1f}">{escape(m.label)}</text>')
    return Markup("".join(out) + "</svg>")  # every text in it went through escape()


def best(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of places in a picture, where up is less, those with none that is both further left and higher; left to right."""
    found = list[tuple[float, float]]()
    for px, py in sorted(places):
        if not found or py < found[-1][1]:
            found.append((px, py))
    return found


def _cost_scale(picture: Picture, every: Sequence[Mark]) -> Scale:
    values = [m.x for m in every] + [v for m in every for v in m.x_span or ()] + [cost for cost, _ in picture.bound]
    low, high = min(values), max(values)
    if low > 0 and high / low > _LOG:
        return log(values)
    pad = (high - low) * 0.05
    return linear(0.0 if low < 0.45 * high else low - pad, high + max(pad, high * 0.02), 8)


def _scores(picture: Picture, every: Sequence[Mark]) -> list[float]:
    values = [v for m in every for v in (m.y, *(m.y_span or ()), *([] if m.low is None else [m.low]))]
    return values + [level.score for level in picture.levels]


def _staircase(places: Sequence[tuple[float, float]], *, up_first: bool) -> list[tuple[float, float]]:
    """Steps through places from the left to the right."""
    ordered = sorted(places)
    line = ordered[:1]
    for px, py in ordered[1:]:
        before = line[-1]
        line += [(before[0], py) if up_first else (px, before[1]), (px, py)]
    return line


def _path(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{px},{py}" for px, py in places)


def _grid(
    across: Sequence[tuple[float, float]], up: Sequence[tuple[float, float]], ends: tuple[float, float], size: Size
) -> list[str]:
    """Lines at the ticks of both axes, each a place and its value."""
    (left, right), bottom, out = ends, size.height - _BOTTOM, list[str]()
    for px, t in across:
        out.append(f'<line class="grid" x1="{px}" x2="{px}" y1="{_TOP}" y2="{bottom}"/>')
        out.append(
            f'<text class="tick" x="{px}" y="{bottom + size.letters + 5}" text-anchor="middle">{tick_text(t)}</text>'
        )
    for py, t in up:
        out.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{py}" y2="{py}"/>')
        out.append(f'<text class="tick" x="{left - 8}" y="{py + 4}" text-anchor="end">{tick_text(t)}</text>')
    return out


def _names(picture: Picture, across: float, size: Size) -> list[str]:
    """What the axes are, at their middles."""
    up, x = (_TOP + size.height - _BOTTOM) / 2, size.letters + 2
    return [
        f'<text class="axis" x="{across}" y="{size.height - 9}" text-anchor="middle">{escape(picture.x_label)}</text>',
        f'<text class="axis" transform="rotate(-90 {x} {up})" x="{x}" y="{up}" text-anchor="middle">'
        f"{escape(picture.y_label)}</text>",
    ]


def _upper_edge(ticks: Sequence[tuple[float, str]], name: str, middle: float, size: Size) -> list[str]:
    """The same costs against the network as given, at the upper edge, as many as there is room for."""
    out, taken = list[str](), list[float]()
    for px, text in ticks:
        if all(abs(px - other) > 3.4 * size.letters for other in taken):
            taken.append(px)
            out.append(f'<line class="tock" x1="{px}" x2="{px}" y1="{_TOP - 5}" y2="{_TOP}"/>')
            out.append(f'<text class="tick" x="{px}" y="{_TOP - 9}" text-anchor="middle">{escape(text)}</text>')
    if out:
        out.append(f'<text class="axis" x="{middle}" y="{size.letters}" text-anchor="middle">{escape(name)}</text>')
    return out


def _level(level: Level, py: float, left: float, right: float, size: Size, taken: list[Box]) -> list[str]:
    """A line with its name at the right end, below it, where a front leaves room."""
    box = (right - long_of(level.name, size.letters) - 4, py + 3, right, py + 5 + size.letters)
    taken += [(left, py - 1, right, py + 1), box]
    return [
        f'<line class="{level.style}" x1="{left}" x2="{right}" y1="{py}" y2="{py}"/>',
        f'<text class="{level.style}-name" x="{right - 4}" y="{py + 3 + size.letters}" text-anchor="end">'
        f"{escape(level.name)}</text>",
    ]


def _mark(m: Mark, at: Callable[[float, float], tuple[float, float]]) -> tuple[list[str], list[Box]]:
    """Whiskers, the bar of what is certified, the mark itself; and what room they take."""
    px, py = at(m.x, m.y)
    r = _R if m.number else _R * 0.7
    out, boxes = [f'<g class="network {m.style}"><title>{escape(m.text)}</title>'], [(px - r, py - r, px + r, py + r)]
    if m.x_span is not None:
        a, b = (at(v, m.y)[0] for v in m.x_span)
        out.append(
            f'<path class="whisker" d="M{a},{py}H{b}M{a},{py - _CAP}v{2 * _CAP:g}M{b},{py - _CAP}v{2 * _CAP:g}"/>'
        )
        boxes.append((a, py - 2, b, py + 2))
    if m.y_span is not None:
        a, b = (at(m.x, v)[1] for v in m.y_span)
        out.append(
            f'<path class="whisker" d="M{px},{a}V{b}M{px - _CAP},{a}h{2 * _CAP:g}M{px - _CAP},{b}h{2 * _CAP:g}"/>'
        )
        boxes.append((px - _CAP, b, px + _CAP, a))
    out.append(mark(m.shape, px, py, "dot", escape(m.text), r))
    if m.chosen:
        out.append(
            f'<circle class="chosen" cx="{px}" cy="{py}" r="{r + _RING}"><title>{escape(m.text)}</title></circle>'
        )
        boxes.append((px - r - _RING, py - r - _RING, px + r + _RING, py + r + _RING))
    if m.low is not None:
        low, half = at(m.x, m.low)[1], _BAR if m.number else _BAR * 0.7
        out.append(f'<line class="sure" x1="{px - half}" x2="{px + half}" y1="{low}" y2="{low}"/>')
        boxes.append((px - half, low - 2, px + half, low + 2))
    if m.number:
        out.append(f'<text class="number" x="{px}" y="{py + 4}" text-anchor="middle">{escape(m.number)}</text>')
    return [*out, "</g>"], boxes

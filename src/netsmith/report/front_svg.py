"""The picture of a front as an SVG file that needs nothing else, light or dark as its reader has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import escape

from netsmith.metrics import metric_of
from netsmith.report.front import front_sentence, legend, picture_of
from netsmith.report.front_plot import WIDE, draw
from netsmith.report.labels import long_of

_LIGHT = {
    "card": "#ffffff", "ink": "#1c2430", "soft": "#5d6878", "line": "#e1e5eb", "good": "#12784a", "bad": "#b3261e",
    "proven": "#0e7490",
}  # fmt: skip
_DARK = {
    "card": "#0d1117", "ink": "#e6eaf0", "soft": "#9aa6b6", "line": "#2c3542", "good": "#5fd39b", "bad": "#ff8d84",
    "proven": "#5bc8e0",
}  # fmt: skip
_RULES = """text{{font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:{soft}}}.back{{fill:{card}}}
.head{{font-size:19px;font-weight:700;fill:{ink}}}.says{{font-size:15px;fill:{ink}}}.axis{{fill:{ink}}}.grid{{stroke:{line}}}
.tock{{stroke:{soft}}}.frontier{{fill:none;stroke:{ink};stroke-opacity:.45;stroke-width:2}}.bound-key,.bound{{fill:none;
stroke:{proven};stroke-width:1.6;stroke-dasharray:6 4}}.beyond{{fill:{proven};fill-opacity:.07}}.level{{stroke:{soft};
stroke-width:1.5;stroke-dasharray:1 4}}.limit{{stroke:{bad};
stroke-width:1.5;stroke-dasharray:2 3}}.limit-name{{fill:{bad}}}.good{{color:{good}}}.bad{{color:{bad}}}
.ink{{color:{ink}}}.soft-mark{{color:{soft}}}.dot{{fill:currentColor;stroke:{card};stroke-width:1.5}}.whisker{{fill:none;
stroke:currentColor;stroke-opacity:.6;stroke-width:1.4}}.sure{{stroke:currentColor;stroke-width:4}}.chosen,.ring{{fill:none;stroke:{ink};
stroke-width:2.5}}.number{{fill:{card};font-size:12px;font-weight:700}}.name,.level-name,.limit-name{{paint-order:stroke;stroke:{card};
stroke-width:4px;stroke-linejoin:round}}.name{{fill:{ink}}}.of-chosen{{font-weight:700}}.sign{{fill:currentColor}}"""
_MARGIN, _HEAD, _LETTERS, _LINE = 20.0, 62.0, 13.0, 22.0


def front_svg(summary: Mapping[str, Any], title: str = "") -> str:
    """A front as SVG: a title, the outcome in one sentence, the picture and what it means.

    Args:
        summary: of a run with a front.
        title: by default the network and the target.
    """
    picture, sentence = picture_of(summary), front_sentence(summary)
    title = title or f"{summary.get('model', 'a network')} on {summary.get('target', 'its target')}"
    rows = _rows(legend(summary["front"], picture, metric_of(summary)))
    width, height = WIDE.width + 2 * _MARGIN, _HEAD + WIDE.height + _LINE * len(rows) + 18
    svg = str(draw(picture, WIDE)).replace("<svg ", f'<svg x="{_MARGIN}" y="{_HEAD}" width="{WIDE.width:.0f}" ', 1)
    svg = svg.replace(' role="img"', f' height="{WIDE.height:.0f}"', 1)
    rules = _RULES.format(**_LIGHT) + "@media(prefers-color-scheme:dark){" + _RULES.format(**_DARK) + "}"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}">'
        f"<title>{escape(picture.title)}</title><style>{rules}</style>",
        f'<rect class="back" width="{width:.0f}" height="{height:.0f}" rx="10"/>',
        f'<text class="head" x="{_MARGIN}" y="30">{escape(title)}</text>',
        f'<text class="says" x="{_MARGIN}" y="52">{escape(sentence[:1].upper() + sentence[1:])}.</text>{svg}',
    ]
    for i, row in enumerate(rows):
        y = _HEAD + WIDE.height + 16 + _LINE * i
        for x, (style, sign, what) in row:
            out.append(_key(style, sign, x, y))
            out.append(f'<text x="{x + 28}" y="{y}">{escape(what)}</text>')
    return "".join(out) + "</svg>\n"


def _rows(entries: Sequence[tuple[str, str, str]]) -> list[list[tuple[float, tuple[str, str, str]]]]:
    """Entries of a legend in rows that fit, each with its place."""
    rows, x = [list[tuple[float, tuple[str, str, str]]]()], _MARGIN
    for entry in entries:
        long = 28 + long_of(entry[2], _LETTERS) + 22
        if rows[-1] and x + long > WIDE.width + _MARGIN:
            rows.append([])
            x = _MARGIN
        rows[-1].append((x, entry))
        x += long
    return rows


def _key(style: str, sign: str, x: float, y: float) -> str:
    """The sign of an entry."""
    if style == "ring":
        return f'<circle class="ring" cx="{x + 11}" cy="{y - 4.5}" r="6"/>'
    if not sign:
        return f'<path class="{style}" d="M{x},{y - 4.5}h22"/>'
    return f'<g class="{style}"><text class="sign" x="{x + 11}" y="{y}" text-anchor="middle">{sign}</text></g>'

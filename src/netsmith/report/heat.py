"""Heat maps as SVG text: a cell for each pair of values, deeper where less is needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_LEFT, _TOP, _BELOW, _RIGHT = 96.0, 8.0, 46.0, 8.0
_WIDE, _HIGH, _MOST = 88.0, 40.0, 900.0  #: of a cell; of the picture
_PALE, _DEEP = 8.0, 82.0  #: per cent of the colour, of the dearest and the cheapest
_LIGHT = 50.0  #: from here on a text is light


@dataclass(frozen=True)
class Cell:
    """A value, how it is written, the text that a pointer at rest shows, and whether it is framed."""

    value: float
    written: str
    text: str
    framed: bool = False


@dataclass(frozen=True)
class Axis:
    """What is along it, and its values in order."""

    name: str
    values: Sequence[str]


def heat_map(cells: Mapping[tuple[str, str], Cell], x: Axis, y: Axis, title: str) -> Markup:
    """The picture; ``cells`` are by (value of y, value of x), and a pair without one stays empty.

    Rows go upwards, as an axis does. Colours are even in the logarithm of the values.
    """
    wide = min(_WIDE, (_MOST - _LEFT - _RIGHT) / len(x.values))
    width, height = _LEFT + wide * len(x.values) + _RIGHT, _TOP + _HIGH * len(y.values) + _BELOW
    logs = [math.log(max(cell.value, 1e-300)) for cell in cells.values()]
    low, high = min(logs), max(logs)
    size = min(13.0, wide / 6)
    out = [
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}" class="plot" '
        f'style="max-width:{1.15 * width:.0f}px">'
    ]
    framed = []
    for j, of_y in enumerate(y.values):
        top = _TOP + (len(y.values) - 1 - j) * _HIGH
        out.append(
            f'<text class="tick" x="{_LEFT - 8}" y="{top + _HIGH / 2 + 4}" text-anchor="end">{escape(of_y)}</text>'
        )
        for i, of_x in enumerate(x.values):
            cell = cells.get((of_y, of_x))
            if cell is None:
                continue
            depth = (high - math.log(max(cell.value, 1e-300))) / (high - low) if high > low else 1.0
            share, left = _PALE + depth * (_DEEP - _PALE), _LEFT + i * wide
            ink = "var(--card)" if share >= _LIGHT else "var(--ink)"
            out.append(
                f'<g class="c0"><rect class="paint" style="--share:{share:.0f}%" x="{left + 1:.1f}" y="{top + 1:.1f}" '
                f'width="{wide - 2:.1f}" height="{_HIGH - 2:.1f}" rx="3"><title>{escape(cell.text)}</title></rect>'
                f'<text x="{left + wide / 2:.1f}" y="{top + _HIGH / 2 + 4:.1f}" text-anchor="middle" '
                f'style="fill:{ink};font-size:{size:.1f}px;pointer-events:none">{escape(cell.written)}</text></g>'
            )
            if cell.framed:
                framed.append(
                    f'<rect class="chosen" x="{left + 1.5:.1f}" y="{top + 1.5:.1f}" width="{wide - 3:.1f}" '
                    f'height="{_HIGH - 3:.1f}" rx="3" style="pointer-events:none"/>'
                )
    out += framed
    bottom = _TOP + _HIGH * len(y.values)
    for i, of_x in enumerate(x.values):
        middle = _LEFT + (i + 0.5) * wide
        out.append(f'<text class="tick" x="{middle:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(of_x)}</text>')
    out.append(
        f'<text class="axis" x="{_LEFT + wide * len(x.values) / 2:.1f}" y="{bottom + 38}" text-anchor="middle">'
        f"{escape(x.name)}</text>"
    )
    middle = _TOP + _HIGH * len(y.values) / 2
    out.append(
        f'<text class="axis" transform="rotate(-90 14 {middle:.1f})" x="14" y="{middle:.1f}" text-anchor="middle">'
        f"{escape(y.name)}</text>"
    )
    return Markup("".join(out) + "</svg>")  # every text in it went through escape()

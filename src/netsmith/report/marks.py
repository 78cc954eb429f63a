"""What colours and shapes mean, the same in every chart of a page: colours are kinds of layers, shapes are changes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

#: kind of layer -> a number of the page's palette
KINDS = MappingProxyType({
    "conv": 0, "pointwise": 2, "depthwise": 1, "grouped conv": 5, "linear": 3, "matmul": 6, "other": 7,
})  # fmt: skip
#: what was tried -> shape of its marks; whole designs are circles
SHAPES = MappingProxyType({
    "one group narrower": "square", "one branch dropped": "triangle", "one layer int8": "diamond",
    "weights of one layer in fewer bits": "diamond", "input of one layer in fewer bits": "cross",
})  # fmt: skip
SIGNS = MappingProxyType({"circle": "●", "square": "■", "triangle": "▲", "diamond": "◆", "cross": "✚"})


def kind_shown(row: Mapping[str, Any]) -> str:
    """The kind of a layer that has a colour, from its ``kind`` and, where it is known, its ``kernel``."""
    kind = str(row.get("kind", "other"))
    if kind == "conv" and row.get("kernel") == [1, 1]:
        return "pointwise"
    return kind if kind in KINDS else "other"


def mark(shape: str, x: float, y: float, kind: str, title: str, size: float = 4.0) -> str:
    """One mark of a scatter plot as SVG; ``title`` is escaped."""
    if shape == "circle":
        return f'<circle class="{kind}" cx="{x}" cy="{y}" r="{size:g}"><title>{title}</title></circle>'
    a, b = size * 0.9, size * 0.4
    paths = {
        "square": f"M{x - a:.1f},{y - a:.1f}h{2 * a:.1f}v{2 * a:.1f}h{-2 * a:.1f}z",
        "triangle": f"M{x},{y - 1.2 * size:.1f}l{1.1 * size:.1f},{2 * size:.1f}h{-2.2 * size:.1f}z",
        "diamond": f"M{x},{y - 1.3 * size:.1f}l{size:.1f},{1.3 * size:.1f}l{-size:.1f},{1.3 * size:.1f}"
                   f"l{-size:.1f},{-1.3 * size:.1f}z",
        "cross": f"M{x - b:.1f},{y - size - b:.1f}h{2 * b:.1f}v{size:.1f}h{size:.1f}v{2 * b:.1f}h{-size:.1f}v{size:.1f}"
                 f"h{-2 * b:.1f}v{-size:.1f}h{-size:.1f}v{-2 * b:.1f}h{size:.1f}z",
    }  # fmt: skip
    return f'<path class="{kind}" d="{paths[shape]}"><title>{title}</title></path>'

"""Layer tables of networks of inverted residual blocks, written from their description: nothing is built or traced.

A search prices blocks by the hundred, and a trace takes seconds. ``blocks.block_network`` builds what these tables say;
a test holds the two together, row for row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netsmith.network.layers import ACTIVATION, KIND, MAPS, PLAIN, LayerTable
from netsmith.network.zoo.blocks import Block, Description

Row = dict[str, Any]
PARTS = ("expand", "depthwise", "project", "add")  #: of a block, in order; not every block has the first and the last


@dataclass(frozen=True)
class Map:
    """Image maps between two layers: channels, height and width."""

    channels: int
    height: int
    width: int

    def strided(self, channels: int, stride: int) -> Map:
        """What a convolution makes of them; an odd kernel, padded by half of it, halves a side upwards at stride 2."""
        return Map(channels, -(-self.height // stride), -(-self.width // stride))


def network_rows(description: Description) -> LayerTable:
    """The layer table of ``block_network(description)``, as tracing would read it, names included."""
    rows, x = stem_rows(description)
    for i, block in enumerate(description.blocks, 1):
        own, x = block_rows(block, x, f"features.{i}")
        rows += own
    return LayerTable.from_rows(rows + head_rows(description, x))


def stem_rows(description: Description) -> tuple[list[Row], Map]:
    """Rows before the first block, and the maps that enter it."""
    x = Map(*description.input_shape)
    y = x.strided(description.stem, description.stem_stride)
    return [_conv("features.0.0", x, y, 3, description.stem_stride)], y


def block_rows(block: Block, x: Map, name: str) -> tuple[list[Row], Map]:
    """Rows of a block that reads the maps ``x``, and the maps that leave it; ``name`` is its path in the network."""
    wide = Map(x.channels * block.expansion, x.height, x.width)
    narrow = wide.strided(wide.channels, block.stride)
    y = Map(block.channels, narrow.height, narrow.width)
    rows, n = [], 0
    if block.expansion != 1:
        rows, n = [_conv(f"{name}.conv.0.0", x, wide)], 1
    rows.append(_conv(f"{name}.conv.{n}.0", wide, narrow, block.kernel, block.stride, groups=wide.channels))
    rows.append(_conv(f"{name}.conv.{n + 1}", narrow, y, active=False))
    if block.stride == 1 and x.channels == y.channels:
        rows.append(_row(f"{name}/add", "add", y, y))
    return rows, y


def block_roles(block: Block, x: Map, name: str) -> tuple[dict[str, Row], Map]:
    """:func:`block_rows`, each row under its part in the block: blocks of other sizes have rows of the same parts."""
    rows, y = block_rows(block, x, name)
    parts = PARTS if block.expansion != 1 else PARTS[1:]
    return dict(zip(parts, rows, strict=False)), y


def head_rows(description: Description, x: Map) -> list[Row]:
    """Rows behind the last block, which leaves the maps ``x``."""
    rows = []
    if description.head:
        y = Map(description.head, x.height, x.width)
        rows.append(_conv(f"features.{len(description.blocks) + 1}.0", x, y))
        x = y
    mean, logits = Map(x.channels, 1, 1), Map(description.classes, 1, 1)
    rows.append(_row("adaptive_avg_pool2d", "avgpool", x, mean, kernel_h=x.height, kernel_w=x.width))
    flat = {"layout": PLAIN}
    return [
        *rows,
        _row("flatten", "reshape", mean, mean, **flat),
        _row("classifier.1", "linear", mean, logits, bias=1, **flat),
    ]


def _conv(name: str, x: Map, y: Map, kernel: int = 1, stride: int = 1, groups: int = 1, active: bool = True) -> Row:
    """A convolution, its batch norm folded and its ReLU6 fused."""
    own = {"kernel_h": kernel, "kernel_w": kernel, "stride": stride, "groups": groups, "bias": 1}
    return _row(name, "conv", x, y, activation=ACTIVATION["relu6" if active else "none"], **own)


def _row(name: str, kind: str, x: Map, y: Map, **columns: int) -> Row:
    sizes = {"h_in": x.height, "w_in": x.width, "h_out": y.height, "w_out": y.width}
    return {"name": name, "kind": KIND[kind], "c_in": x.channels, "c_out": y.channels, "layout": MAPS} | sizes | columns

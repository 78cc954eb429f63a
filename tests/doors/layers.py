"""The layers of a network that a run keeps, to be priced on other hardware."""

from __future__ import annotations

import json
from pathlib import Path

from doors import register
from netsmith.files import read_json
from netsmith.hardware import get_target, price
from netsmith.network.layers import LayerTable
from netsmith.testing.targets import example_table


@register("layers.json", lambda: {"layers.json": json.dumps(example_table((8, 8)).to_dict()).encode()})
def _layers(folder: Path) -> object:
    table = LayerTable.from_dict(read_json(folder / "layers.json", "repeat the run"))
    return table.macs.sum(), price(get_target("roofline-edge"), table)

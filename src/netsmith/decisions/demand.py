"""Which rows a search asks a target for: what has to be measured before the search, or on another device."""

from __future__ import annotations

import numpy as np

from netsmith.decisions.between import IntegerPlacement
from netsmith.decisions.pricing import Pricing
from netsmith.hardware.target import Cost, Target
from netsmith.network.layers import LayerTable


def rows_asked(pricing: Pricing) -> LayerTable:
    """Rows that cost tables are made of, each once, around the designs that a search begins with.

    Around the designs that it finds, glue and conversions of other widths may be wanted as well.
    """
    recorder = _Recorder(pricing.target)
    shadow = Pricing(pricing.space, recorder, pricing.batch)
    for start in pricing.space.reference[None] if pricing.around is None else pricing.around.starts:
        shadow.table("latency", start)
    return LayerTable.distinct(recorder.tables)


def rows_possible(pricing: Pricing) -> LayerTable:
    """:func:`rows_asked`, and what lies between layers, wherever the search ends."""
    between = pricing.around.possible() if isinstance(pricing.around, IntegerPlacement) else []
    return LayerTable.distinct([rows_asked(pricing), *between])


class _Recorder:
    """A target that notes what it is asked and charges nothing."""

    def __init__(self, target: Target) -> None:
        self.name, self.capabilities = target.name, target.capabilities
        self.tables: list[LayerTable] = []

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        self.tables.append(table)
        return Cost(np.zeros(table.kind.shape))

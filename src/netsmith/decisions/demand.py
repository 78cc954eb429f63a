"""Which rows a search asks a target for: what has to be measured before the search, or on another device."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from netsmith.compression.placement import place
from netsmith.decisions.choices import WIDTH, Designs
from netsmith.decisions.pricing import CELLS, Pricing
from netsmith.hardware.target import Cost, Target
from netsmith.network.layers import KIND, LayerTable


def rows_asked(pricing: Pricing) -> LayerTable:
    """Rows that cost tables around the network as given, and around it with the least bits, are made of, each once.

    Around the designs that a search finds, glue and conversions of other widths may be wanted as well.
    """
    recorder = _Recorder(pricing.target)
    shadow = Pricing(pricing.choices, recorder)
    start = pricing.choices.reference.copy()
    shadow.table("latency", start)
    start[len(pricing.choices.groups) + len(pricing.choices.branches) :] = 0
    shadow.table("latency", start)
    return LayerTable.distinct(recorder.tables)


def rows_possible(pricing: Pricing) -> LayerTable:
    """:func:`rows_asked`, and glue and conversions in every width and at both precisions, wherever the search ends.

    Rows that depend on so many groups that not all combinations can be listed have them changed one at a time.
    """
    choices, graph = pricing.choices, pricing.choices.graph
    integer = place(graph, choices.layers)  # no other placement has an integer where this one has none
    glue = {graph.node_names[n] for n in integer.glue if n in graph.node_names}
    tables = [rows_asked(pricing)]
    for r in np.flatnonzero(~choices.table.is_compute):
        rows = choices.columns(_widths(pricing, int(r))).take([r])
        for bits in (32, 8) if choices.table.names[r] in glue else (32,):
            tables.append(rows.replace(w_bits=bits, a_bits=bits))
    layers = [graph.nodes[graph.node_of[n]] for n in choices.layers]
    read = {m.name for n in layers for m in n.all_input_nodes if m.op != "get_attr"}
    read |= {m.name for n in integer.glue for m in graph.nodes[n].all_input_nodes}
    for kind, names in (("quantize", read), ("dequantize", set(integer.anchors))):
        for row in sorted({pricing.shape_rows[n] for n in names if n in pricing.shape_rows}):
            tables.append(_conversions(pricing, row, KIND[kind]))
    return LayerTable.distinct(tables)


def _widths(pricing: Pricing, r: int) -> Designs:
    """Designs in which the groups that row ``r`` depends on have every combination of widths, ``(N, D)``."""
    choices, space = pricing.choices, pricing.choices.decisions
    into, out_of = choices.coupling
    groups = [d for d, x in enumerate(space.decisions) if x.kind == WIDTH and into[d, r] + out_of[d, r] > 0]
    sizes = [int(space.sizes[d]) for d in groups]
    if np.prod(sizes, dtype=float) <= CELLS:
        found = list(product(*(range(n) for n in sizes)))
    else:
        last = [n - 1 for n in sizes]
        found = [(*last[:i], k, *last[i + 1 :]) for i, n in enumerate(sizes) for k in range(n)]
    designs = np.tile(choices.reference, (len(found), 1))
    designs[:, groups] = np.array(found).reshape(len(found), len(groups))
    return designs


def _conversions(pricing: Pricing, r: int, kind: int) -> LayerTable:
    """Conversions of the output of row ``r``, or of the input for -1, in every width, ``(N, 1)``."""
    table = pricing.choices.columns(_widths(pricing, max(r, 0))).take([max(r, 0)])
    shape = pricing.choices.graph.input_shape if r < 0 else (table.c_out, table.h_out, table.w_out)
    values: dict[str, Any] = {"kind": kind, "w_bits": 8, "a_bits": 8, "bias": 0} | dict.fromkeys(
        ("activation", "shared", "entries"), 0
    )
    for size, axis in zip(shape, "chw", strict=False):
        values |= {f"{axis}_in": size, f"{axis}_out": size}
    columns: dict[str, Any] = {k: np.ones_like(v) * values.get(k, 1) for k, v in table.columns.items()}
    return LayerTable(names=("conversion",), **columns)


class _Recorder:
    """A target that notes what it is asked and charges nothing."""

    def __init__(self, target: Target) -> None:
        self.name, self.capabilities = target.name, target.capabilities
        self.tables: list[LayerTable] = []

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        self.tables.append(table)
        return Cost(np.zeros(table.kind.shape))

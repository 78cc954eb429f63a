"""What lies in memory while the network as given runs, and the one that was built: counted on the graph of its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netsmith.decisions.peak import Peak
from netsmith.hardware.target import Target
from netsmith.network.graph import Graph
from netsmith.network.layers import LayerTable

MEMORY_FILE = "memory.json"


def memory_of(graph: Graph, target: Target, table: LayerTable, mixed: bool = False) -> dict[str, Any] | None:
    """Peak memory of a traced network whose rows have the widths of ``table (R,)``, with every step of its run.

    Returns:
        ``peak_bytes``, ``step`` (what runs where it is), ``at`` (its place), ``held`` (what lives there, in bytes),
        ``steps`` and ``bytes`` in use at each; None where nobody knows what an operator does.
    """
    return None if table.unknown else dict(Peak(graph, target, mixed).record(table))


def built_memory(
    graph: Graph, target: Target, bits: Mapping[str, tuple[int, int]], mixed: bool
) -> dict[str, Any] | None:  # fmt: skip
    """The same of a network that was built, whose layers have ``bits`` of weights and input."""
    w, a = (np.array([bits.get(name, (32, 32))[side] for name in graph.layers.names]) for side in (0, 1))
    return memory_of(graph, target, graph.layers.replace(w_bits=w, a_bits=a), mixed)

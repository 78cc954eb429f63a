"""A traced network with its operators in the order of least peak memory, as its exported file then has them."""

from __future__ import annotations

from itertools import pairwise

from torch import fx

from netsmith.compression.activations import Activations
from netsmith.network.graph import Graph
from netsmith.network.ordering import least_peak_order


def best_order(graph: Graph) -> tuple[tuple[str, ...], bool]:
    """Names of all nodes of a graph in the order of least peak memory in floating point, and whether that is proven.

    The order as it is stands where none has a lower peak.
    """
    steps, sizes, outputs = Activations(graph).program(graph.layers)
    order, proven = least_peak_order(steps, sizes, outputs)
    nodes, placed = graph.nodes, dict[str, None]()

    def place(node: fx.Node) -> None:
        """A node behind everything that it needs."""
        waiting = [node]
        while waiting:
            if waiting[-1].name in placed:
                waiting.pop()
            elif missing := [m for m in waiting[-1].all_input_nodes if m.name not in placed]:
                waiting += missing[::-1]
            else:
                placed[waiting.pop().name] = None

    if order != list(range(len(steps))):
        for node in nodes.values():
            if node.op == "placeholder":
                place(node)
        for step in order:
            place(nodes[steps[step].name.partition(" (")[0]])
    for node in nodes.values():
        place(node)
    return tuple(placed), proven


def reordered(graph: Graph) -> Graph:
    """The network in that order; itself where it is in it."""
    order, _ = best_order(graph)
    if list(order) == list(graph.nodes):
        return graph
    out = graph.copy()
    nodes = out.nodes
    for before, name in pairwise(order):
        nodes[before].append(nodes[name])
    out.module.graph.lint()
    out.module.recompile()
    return out

"""Which tensors are integers, given the layers that run in int8.

The rule follows what integer runtimes execute: an int8 convolution reads and writes integers and swallows a rectifier
behind it; an int8 linear layer reads integers and writes floats, unless its kernel would be lost by that: runtimes
merge a rectifier behind it into a product of floats, and have no kernel that writes integers for some readers and
floats for others; there it writes integers, as a convolution does. An addition runs on integers when one operand is an
integer (the other is converted), products, concatenations and average pools when all are; max pools and reshapes pass
integers through unchanged. Everything else computes in floating point, with a conversion on each crossing. Latency,
fake quantization and ONNX all read this one placement, so that they speak of the same network.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import fx

from netsmith.network.graph import Graph
from netsmith.network.passes import CONVS
from netsmith.network.rows import fused_activation

aten = torch.ops.aten

INTEGER_GLUE = (
    aten.add.Tensor, aten.mul.Tensor, aten.cat.default, aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default,
    aten.mean.dim,
)  # fmt: skip
PASS_THROUGH = (
    aten.max_pool2d.default, aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.permute.default,
    aten.transpose.int, aten.squeeze.dim, aten.unsqueeze.default, aten._unsafe_view.default,
)  # fmt: skip


@dataclass(frozen=True)
class Placement:
    """Where quantizers stand.

    Attributes:
        anchors: node whose output is an integer tensor -> the node that owns its scale (itself, or the producer that a
            max pool or reshape passes through).
        inputs: node with a float output -> consumers that read it through a quantizer.
        glue: nodes other than layers that run on integers.
    """

    anchors: dict[str, str]
    inputs: dict[str, tuple[str, ...]]
    glue: frozenset[str]

    @property
    def scaled(self) -> set[str]:
        """Nodes that need a scale of their own."""
        return set(self.anchors.values()) | set(self.inputs)


def quantizable(graph: Graph) -> dict[str, str]:
    """Layers that can run in int8: row name -> node name; shared or computed weights stay floating point."""
    found, nodes = {}, graph.nodes
    for name, node_name in graph.node_of.items():
        node = nodes[node_name]
        if node.target in (*CONVS, aten.linear.default) and name not in graph.layers.frozen:
            found[name] = node_name
    return found


def layer_inputs(graph: Graph, layers: Iterable[str]) -> dict[str, str]:
    """The node that each layer (row name) reads."""
    return {layer: graph.node(layer).all_input_nodes[0].name for layer in layers}


def place(graph: Graph, int8_layers: Collection[str]) -> Placement:
    """Place quantizers for the given layers (row names)."""
    nodes = graph.nodes
    layers = {graph.node_of[name] for name in int8_layers}
    products = [nodes[n] for n in nodes if n in layers and _is_product(nodes[n])]
    writers = {n.name for n in products if fused_activation(n) is not None}
    while True:
        placement = _placed(nodes, layers, writers)
        torn = {n.name for n in products if n.name not in writers and len(_readings(n, placement)) > 1}
        if not torn:
            return placement
        writers |= torn


def _is_product(node: fx.Node) -> bool:
    """Whether a node is a linear layer that runtimes compute as one product, with its bias if it has one.

    Over tokens a bias is added behind the product, in floating point, and nothing merges with that.
    """
    has_bias = len(node.args) > 2 and node.args[2] is not None
    return node.target is aten.linear.default and (node.meta["val"].dim() == 2 or not has_bias)


def _readings(node: fx.Node, placement: Placement) -> set[str]:
    """How the output of a node without a scale is read: by names of the quantizers behind it, "" for as floats."""
    found: set[str] = set()
    for user in node.users:
        if user.name in placement.inputs.get(node.name, ()):
            found.add(node.name)
        elif user.target in PASS_THROUGH:
            found |= _readings(user, placement)
        else:
            found.add("")
    return found


def _placed(nodes: Mapping[str, fx.Node], layers: Collection[str], writers: Collection[str]) -> Placement:
    """The placement for layers (node names), of which ``writers`` write integers though they are linear."""
    anchors: dict[str, str] = {}
    inputs: dict[str, list[str]] = {}
    glue: set[str] = set()

    def integer(node: fx.Node) -> None:
        sink = fused_activation(node) or node
        anchors[sink.name] = sink.name

    for node in nodes.values():
        if node.op != "call_function" or node.name in anchors:
            continue
        if node.name in layers:
            source = node.args[0]
            assert isinstance(source, fx.Node)
            if source.name not in anchors:
                inputs.setdefault(source.name, []).append(node.name)
            if node.target in CONVS or node.name in writers:
                integer(node)
            continue
        operands = [n for n in node.all_input_nodes if isinstance(n.meta.get("val"), torch.Tensor)]
        floats = [n for n in operands if n.name not in anchors]
        if not operands or len(floats) == len(operands) or any(n.op == "get_attr" for n in operands):
            continue
        binary = node.target in (aten.add.Tensor, aten.mul.Tensor)
        if node.target is aten.add.Tensor and len(operands) == 2:
            # one conversion here keeps the whole residual stream behind it in integers
            for n in floats:
                inputs.setdefault(n.name, []).append(node.name)
            floats = []
        if floats:
            continue
        if node.target in INTEGER_GLUE and (len(operands) > 1 or not binary):
            glue.add(node.name)
            integer(node)
        elif node.target in PASS_THROUGH:
            glue.add(node.name)
            anchors[node.name] = anchors[operands[0].name]
    return Placement(anchors, {k: tuple(v) for k, v in inputs.items()}, frozenset(glue))

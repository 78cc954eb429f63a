"""Layers whose input shrinks with a channel group and whose weights can make up for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.nn.modules.conv import _ConvNd

from netsmith.compression.channels import ChannelGroup, Member
from netsmith.network.graph import Graph
from netsmith.network.passes import CONVS, get_parameter

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Consumer:
    """A layer that reads prunable channels.

    Attributes:
        layer: row name in the graph, and path of the user's module.
        parameter: name of its weight in the graph, ``(C_out, C_in, ...)``.
        bias: name of its bias in the graph, if the module can take a change of it: it has a bias of its own, or a batch
            norm behind it that serves no other layer.
        norm: name of that norm's running mean, if the module has no bias of its own.
        cells: columns of the weight, as a matrix ``(C_out, p)``, for each input channel.
        sources: group name -> which of the layer's input channels follow which channel of the group.
    """

    layer: str
    parameter: str
    bias: str | None
    norm: str | None
    cells: int
    sources: dict[str, Member]

    def weight(self, graph: Graph) -> torch.Tensor:
        """The weight as a matrix ``(C_out, p)`` in double."""
        return get_parameter(graph.module, self.parameter).detach().double().flatten(1)

    def columns(self, channels: IntArray) -> IntArray:
        """Columns of input channels, ``(n * cells,)``, channel by channel."""
        return np.asarray((channels[:, None] * self.cells + np.arange(self.cells)).reshape(-1), dtype=np.int64)


def find_consumers(
    graph: Graph, model: nn.Module, groups: Sequence[ChannelGroup]
) -> tuple[dict[str, Consumer], dict[str, str]]:
    """Find the layers that read the channels of ``groups``.

    Args:
        graph: the trace of ``model``.

    Returns:
        Layers that can be repaired by name, and the others that read the channels -> why they cannot.
    """
    calls = Counter(n.split("#")[0] for n in graph.node_of)
    norms = Counter(str(n.meta["norm"]) for n in graph.module.graph.nodes if "norm" in n.meta)
    sources: dict[str, dict[str, Member]] = {}
    for group in groups:
        for m in group.inputs:
            if m.dim is None:
                sources.setdefault(m.layer, {})[group.name] = m
    found: dict[str, Consumer] = {}
    skipped: dict[str, str] = {}
    for layer, members in sources.items():
        reason = _reason(graph, model, layer, calls[layer])
        if reason is not None:
            skipped[layer] = reason
            continue
        node, module = graph.node(layer), model.get_submodule(layer)
        bias = node.args[2] if len(node.args) > 2 else None
        norm = node.meta.get("norm")
        own = getattr(module, "bias", None) is not None
        free = isinstance(bias, fx.Node) and (own or (norm is not None and norms[str(norm)] == 1))
        weight = module.weight
        assert isinstance(weight, torch.Tensor) and isinstance(node.args[1], fx.Node)
        found[layer] = Consumer(
            layer, str(node.args[1].target), str(bias.target) if free else None,  # type: ignore[union-attr]
            None if own or not free else str(norm), int(weight[0, 0].numel()), members,
        )  # fmt: skip
    return found, skipped


def _reason(graph: Graph, model: nn.Module, layer: str, calls: int) -> str | None:
    """Why a layer cannot be repaired, or None."""
    try:
        module = model.get_submodule(layer)
    except AttributeError:
        return "it is no module of its own"
    if not isinstance(module, (_ConvNd, nn.Linear)) or layer not in graph.node_of:
        return f"it is a {type(module).__name__} that the trace does not have as one convolution or linear layer"
    if calls > 1:
        return "it is called several times, on different inputs"
    node = graph.node(layer)
    if node.target not in (*CONVS, torch.ops.aten.linear.default):
        return f"it is a {type(module).__name__}, which is not traced as a convolution or linear layer"
    if isinstance(module, _ConvNd) and module.groups > 1:
        return "its convolution groups each read a part of the channels, and are masked only"
    weight = node.args[1]
    if "weight" not in module._parameters or not isinstance(weight, fx.Node) or weight.op != "get_attr":
        return "its weight is computed in the forward"
    if len(weight.users) > 1 or get_parameter(graph.module, str(weight.target)).shape != module.weight.shape:
        return "its weight is used more than once"
    return None

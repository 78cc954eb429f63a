"""Sparsity: which share of the numbers of each layer's weight stays, the largest ones; the others are zero.

It takes bytes out of a file and no work out of a machine: no kernel here skips single zeros, so MACs stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from netsmith.compression.placement import quantizable
from netsmith.compression.sparsify import SparseStep, entries_of, kept_numbers
from netsmith.compression.steps import Step
from netsmith.decisions.kind import Deltas, Designs, FloatArray, Kind, Stage, on_top
from netsmith.decisions.registry import Given
from netsmith.decisions.tools import Tools
from netsmith.network.copying import copy_network
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import Graph
from netsmith.network.passes import get_parameter
from netsmith.space import Decision

DENSITY = "density"
CHOICES = 7  #: densities of a layer, at equal ratios from the least to 1


def densities(most: float) -> tuple[float, ...]:
    """Shares of a weight that may stay, ascending, where at most a share ``most`` of it becomes zero."""
    least = 1 - most
    return tuple(round(least ** (1 - i / (CHOICES - 1)), 4) for i in range(CHOICES))


class Sparsity(Kind):
    """Decisions ``LAYER.density``: the share of numbers of a weight that stay, 1 for all.

    Numbers that stay are those of largest magnitude, as in Deep Compression (Han et al., ICLR 2016). Where channels go
    too, the numbers are counted among what is left of a weight; an edit, which knows no channels that go behind a
    layer, ranks theirs as well.

    Args:
        graph: the traced network, whose norms are not folded, so that its weights are those of the module.
        most: the largest share of a weight that may become zero, less than 1.
    """

    name: ClassVar[str] = "sparsity"
    stage: ClassVar[Stage] = "structure"
    graded = True
    additive = False

    def __init__(self, graph: Graph, most: float) -> None:
        self.graph = graph
        table = graph.layers
        own = {n for n, weights, shared in zip(table.names, table.weights, table.shared) if weights and not shared}
        nodes = {n: graph.node(n).args[1] for n in quantizable(graph) if n in own}
        self.parameters = {
            layer: str(node.target)
            for layer, node in nodes.items()
            if isinstance(node, fx.Node) and node.op == "get_attr"
        }
        self.sparse = tuple(self.parameters)
        self.decisions = tuple(Decision(f"{n}.{DENSITY}", DENSITY, densities(most)) for n in self.sparse)
        self._masked: dict[tuple[int, int], torch.Tensor] = {}

    def layers(self, d: int) -> tuple[str, ...]:
        return (self.sparse[d],)

    # --- prices ------------------------------------------------------------------------------------------------------

    @cached_property
    def _decision(self) -> NDArray[np.int64]:
        """``(R,)``: the decision about a row, or the one past the last, which keeps everything."""
        index = {name: d for d, name in enumerate(self.sparse)}
        return np.array([index.get(name, len(index)) for name in self.graph.layers.names], dtype=np.int64)

    def columns(self, designs: Designs, rows: NDArray[np.intp]) -> Deltas:
        share = self.values[np.arange(len(self.decisions)), designs]
        share = np.concatenate([share, np.ones((len(designs), 1))], axis=1)
        return Deltas(entries=share[:, self._decision[rows]])

    def bearing(self) -> FloatArray:
        """Little: a file alone depends on it, and tables of other costs spend their cells on other decisions first."""
        found = self._decision == np.arange(len(self.decisions))[:, None]
        return np.asarray(found * 1e-6)

    # --- evaluation --------------------------------------------------------------------------------------------------

    def edit(self, design: Designs, so_far: GraphEdit, tools: Tools) -> GraphEdit:
        weights = dict[str, torch.Tensor]()
        for d, (layer, name) in enumerate(self.parameters.items()):
            share = float(self.values[d, design[d]])
            if share == 1 or layer in so_far.gone:
                continue
            if name in so_far.weights:
                weight = so_far.weights[name]  # what is zero there has gone
                entries = int(entries_of(int((weight != 0).sum()), share))
                weights[name] = weight * kept_numbers(weight, entries)
            else:
                weights[name] = self._alone(d, int(design[d]))
        return on_top(so_far, weights=weights, refit=frozenset(weights))

    def _alone(self, d: int, k: int) -> torch.Tensor:
        """The weight as given with what stays of it: always the same tensor, for which grids are then fitted once."""
        if (d, k) not in self._masked:
            weight = get_parameter(self.graph.module, self.parameters[self.sparse[d]]).detach()
            entries = int(entries_of(weight.numel(), self.values[d, k]))
            self._masked[d, k] = weight * kept_numbers(weight, entries)
        return self._masked[d, k]

    # --- the module --------------------------------------------------------------------------------------------------

    def apply(self, model: nn.Module, design: Designs, before: tuple[Step, ...], tools: Tools) -> SparseStep | None:
        """Zeros are written, where earlier steps leave the numbers at all; how many stay is noted."""
        left, kept = _places(model, before) if before else {}, dict[str, int]()
        for d, name in enumerate(self.parameters.values()):
            share = float(self.values[d, design[d]])
            if share == 1 or (before and name not in left):
                continue
            weight = model.get_parameter(name)
            flat = weight.detach().reshape(-1)
            where = left[name] if before else torch.arange(weight.numel())
            kept[name] = int(entries_of(len(where), share))
            stays = kept_numbers(flat[where], kept[name])
            with torch.no_grad():
                flat[where[~stays]] = 0.0
                weight.copy_(flat.reshape(weight.shape))
        return SparseStep(kept) if kept else None

    # --- words -------------------------------------------------------------------------------------------------------

    def trial(self, d: int) -> str:
        return "one layer sparse"

    def says(self) -> str:
        return f"sparsity of {len(self.sparse)} layers"


def _places(model: nn.Module, steps: tuple[Step, ...]) -> Mapping[str, torch.Tensor]:
    """For each parameter that steps leave, where its numbers stand in the parameter before them, ``(n,)`` ascending."""
    places = copy_network(model).double()  # whole numbers of 53 bits are exact
    for parameter in places.parameters():
        parameter.data = torch.arange(parameter.numel(), dtype=torch.float64).reshape(parameter.shape)
    for step in steps:
        step.apply(places)
    return {name: p.detach().reshape(-1).long() for name, p in places.named_parameters()}


def sparsity_of(given: Given, method: Any) -> Sparsity:
    """Densities of the layers whose weights are stored."""
    return Sparsity(given.graph, method.most_zeros)

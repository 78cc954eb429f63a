"""Integers: which layers run in 8-bit integers as runtimes place them, and which in floating point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch

from netsmith.compression.placement import place
from netsmith.compression.quantize import Calibration, input_grid, layer_scale, quantize_weight
from netsmith.decisions.bits import BITS, Bits, Pairs
from netsmith.decisions.kind import Designs, on_top
from netsmith.decisions.tools import Tools
from netsmith.network.edit import GraphEdit
from netsmith.network.rows import fused_activation


class Integers(Bits):
    """Decisions ``LAYER.bits``, of weights and input together; integers stay integers between neighbours.

    Args:
        graph, pairs, pinned: as for ``Bits``; of every pair both sides are equal.
    """

    name: ClassVar[str] = BITS
    additive: ClassVar[bool] = True
    scale: ClassVar[str] = "structure"  # 8-bit integers lose so little that it does not matter

    def _sides(self, pairs: Pairs) -> tuple[str, ...]:
        return (BITS,)

    def edit(self, design: Designs, so_far: GraphEdit, tools: Tools) -> GraphEdit:
        layers = [layer for layer in self.widths(design) if layer not in so_far.gone]
        if not layers:
            return so_far
        repaired = {name: so_far.weights[name] for name in so_far.refit}
        return self._placed(layers, so_far, repaired, tools.calibration)

    def alone(self, d: int, k: int, tools: Tools) -> GraphEdit:
        """One layer in integers; glue that follows it into integers is not its doing."""
        layer = self.layer(d)
        placed = self._placed([layer], GraphEdit(), {}, tools.calibration)
        node = self.graph.node(layer)
        own, reader = (fused_activation(node) or node).name, node.name
        inputs = {edge: grid for edge, grid in placed.inputs.items() if edge[1] == reader}
        return GraphEdit(placed.weights, {n: g for n, g in placed.outputs.items() if n == own}, inputs)

    def _placed(
        self, layers: Sequence[str], so_far: GraphEdit, repaired: Mapping[str, torch.Tensor], grids: Calibration
    ) -> GraphEdit:
        """Layers in int8 as runtimes run them, with integers between neighbours where the placement has them."""
        placement = place(self.graph, layers)
        weights = dict(so_far.weights)
        for layer in layers:
            grid = input_grid(self.graph.node(layer), placement, grids)
            name, weight, scale = layer_scale(self.graph, self.graph.node(layer), grid, repaired)
            weights[name] = quantize_weight(weights.get(name, weight), scale)
        inputs = {(n, reader): grids[n] for n, readers in placement.inputs.items() for reader in readers}
        outputs = {n: grids[n] for n, owner in placement.anchors.items() if n == owner}
        return on_top(so_far, weights=weights, inputs=inputs, outputs=outputs)

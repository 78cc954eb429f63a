"""Bits: how wide the numbers of each layer are, its weights and its input each on their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.placement import layer_inputs, quantizable
from netsmith.compression.steps import Step
from netsmith.decisions.kind import BoolArray, Deltas, Designs, FloatArray, Kind, Stage, on_top
from netsmith.decisions.rows import Rows
from netsmith.decisions.tools import Tools
from netsmith.network.edit import GraphEdit, QuantParams
from netsmith.network.graph import Graph
from netsmith.network.layers import FLOAT
from netsmith.space import Decision

BITS, W_BITS, A_BITS = "bits", "w_bits", "a_bits"  #: weights and input together, or each on its own
Pairs = Sequence[tuple[int, int]]
_SIDES = {BITS: (0, 1), W_BITS: (0,), A_BITS: (1,)}
_TRIALS = {
    BITS: "one layer int8", W_BITS: "weights of one layer in fewer bits", A_BITS: "input of one layer in fewer bits",
}  # fmt: skip


class Bits(Kind):
    """Decisions ``LAYER.w_bits`` and ``LAYER.a_bits``; of weights alone where inputs stay floating point.

    Every layer reads its input through a grid of its own, and nothing between layers is rounded.

    Args:
        graph: the traced network.
        pairs: (weight, activation) widths to choose from; every combination of both sides is offered.
        pinned: layers that keep the widest bits.
        codebooks: weights of few bits are indices into a codebook of their layer, and layers compute in floats.
        layers: that are decided about; by default all that can have few bits.
    """

    name: ClassVar[str] = "widths"
    additive: ClassVar[bool] = False
    stage: ClassVar[Stage] = "numbers"

    def __init__(
        self, graph: Graph, pairs: Pairs, pinned: Sequence[str] = (), codebooks: bool = False,
        layers: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        self.graph, self.codebooks = graph, codebooks
        self.quantized = tuple(quantizable(graph) if layers is None else layers)
        self.sides = self._sides(pairs)
        offered = {side: tuple(sorted({pair[_SIDES[side][0]] for pair in pairs})) for side in self.sides}
        self.decisions = tuple(
            Decision(f"{layer}.{side}", side, offered[side][-1:] if layer in pinned else offered[side])
            for layer in self.quantized
            for side in self.sides
        )
        self.tied = self._shared_inputs() if A_BITS in self.sides else ()

    def _sides(self, pairs: Pairs) -> tuple[str, ...]:
        return (W_BITS,) if all(a == FLOAT for _, a in pairs) else (W_BITS, A_BITS)

    def _shared_inputs(self) -> tuple[tuple[int, ...], ...]:
        """Decisions about the width of one and the same tensor."""
        source = layer_inputs(self.graph, self.quantized)
        readers: dict[tuple[str, int], list[int]] = {}
        for d, decision in enumerate(self.decisions):
            if decision.kind == A_BITS:
                readers.setdefault((source[self.layer(d)], len(decision.choices)), []).append(d)
        return tuple(tuple(group) for group in readers.values() if len(group) > 1)

    def layer(self, d: int) -> str:
        """The layer whose bits decision ``d`` sets."""
        return self.quantized[d // len(self.sides)]

    def layers(self, d: int) -> tuple[str, ...]:
        return (self.layer(d),)

    # --- prices ------------------------------------------------------------------------------------------------------

    @cached_property
    def precision(self) -> NDArray[np.int64]:
        """``(2, R)`` decisions that set the bits of a row's weights and of its input, or -1."""
        index = Rows(self.graph).index
        out = np.full((2, len(self.graph.layers)), -1)
        for d, decision in enumerate(self.decisions):
            out[_SIDES[decision.kind], index[self.layer(d)]] = d
        return out

    def columns(self, designs: Designs, rows: NDArray[np.intp]) -> Deltas:
        picked = self.values[np.arange(len(self.decisions)), designs].astype(np.int64)
        wide = np.concatenate([picked, np.full((len(designs), 1), FLOAT)], axis=1)
        w_bits, a_bits = np.moveaxis(wide[:, self.precision[:, rows]], 1, 0)
        return Deltas(most={"w_bits": w_bits, "a_bits": a_bits})

    def bearing(self) -> FloatArray:
        return np.where(self.sets(), 2e6, 0.0)

    def sets(self) -> BoolArray:
        return np.asarray((self.precision[:, None] == np.arange(len(self.decisions))[:, None]).any(axis=0))

    # --- evaluation --------------------------------------------------------------------------------------------------

    def widths(self, design: Designs) -> dict[str, tuple[int, int]]:
        """(Weight, activation) widths under a design ``(D_k,)`` of the layers whose weights have few bits."""
        own = {layer: [FLOAT, FLOAT] for layer in self.quantized}
        for d, decision in enumerate(self.decisions):
            for side in _SIDES[decision.kind]:
                own[self.layer(d)][side] = int(self.values[d, design[d]])
        return {layer: (w, a) for layer, (w, a) in own.items() if w < FLOAT}

    def edit(self, design: Designs, so_far: GraphEdit, tools: Tools) -> GraphEdit:
        quantizer = tools.quantizer
        assert quantizer is not None, "bits need grids or codebooks"
        weights, inputs = dict(so_far.weights), dict[tuple[str, str], QuantParams]()
        for layer, (w_bits, a_bits) in self.widths(design).items():
            if layer in so_far.gone:
                continue
            name = quantizer.parameter(layer)
            if name in so_far.refit:
                weights[name] = quantizer.weight(layer, w_bits, so_far.weights[name])
            else:
                rounded = quantizer.weight(layer, w_bits)
                # what is pruned does not move the grid of what stays
                weights[name] = rounded * (weights[name] != 0) if name in weights else rounded
            if a_bits < FLOAT:
                inputs[quantizer.source(layer), self.graph.node_of[layer]] = quantizer.grid(layer, a_bits)
        return on_top(so_far, weights=weights, inputs=inputs)

    def alone(self, d: int, k: int, tools: Tools) -> GraphEdit:
        """One side of one layer in few bits and everything else in floating point, not at the widest bits there are."""
        quantizer, layer, bits = tools.quantizer, self.layer(d), int(self.values[d, k])
        assert quantizer is not None, "bits need grids or codebooks"
        if self.decisions[d].kind == A_BITS:
            edge = quantizer.source(layer), self.graph.node_of[layer]
            return GraphEdit(inputs={edge: quantizer.grid(layer, bits)})
        return GraphEdit(weights={quantizer.parameter(layer): quantizer.weight(layer, bits)})

    def changes(self, d: int, k: int) -> bool:
        return self.decisions[d].choices[k] != FLOAT

    def apply(self, model: nn.Module, design: Designs, before: tuple[Step, ...], tools: Tools) -> Step | None:
        return None  # numbers are rounded where a network is exported or trained, in graphs of its own

    # --- words -------------------------------------------------------------------------------------------------------

    def trial(self, d: int) -> str:
        return _TRIALS[self.decisions[d].kind]

    def says(self) -> str:
        return f"bits of {len(self.quantized)} layers"

    @property
    def frozen(self) -> dict[str, str]:
        return {layer: f"not quantized: {reason}" for layer, reason in self.graph.layers.frozen.items()}

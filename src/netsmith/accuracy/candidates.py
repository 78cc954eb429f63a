"""Choices and whole designs as changes of the traced network, to be evaluated without building anything."""

from __future__ import annotations

from collections.abc import Container, Mapping
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from netsmith.accuracy.incremental import Candidate
from netsmith.compression.branches import Branch
from netsmith.compression.calibrate import QuantParams
from netsmith.compression.channels import ChannelGroup
from netsmith.compression.kept import keep_indices
from netsmith.compression.mixed import LayerQuantizer
from netsmith.compression.placement import place
from netsmith.compression.prune import without_inputs, without_outputs
from netsmith.compression.quantize import Calibration, input_grid, layer_scale, quantize_weight
from netsmith.compression.reconstruct import Repair
from netsmith.decisions.choices import A_BITS, BITS, DEPTH, WIDTH, Choices, Designs
from netsmith.network.layers import FLOAT
from netsmith.network.passes import get_parameter
from netsmith.network.rows import fused_activation

Importance = Mapping[str, NDArray[np.float64]]


class Candidates:
    """Makes candidates of choices and designs.

    Args:
        choices: the decisions.
        calibration: 8-bit grids of the tensors that integer layers read or write; for layers whose weights and
            activations have one width.
        quantizer: grids or codebooks at every width; for layers whose weights have a width of their own.
        importance: group name -> score of each channel; the best stay.
        repair: gives the layers that read pruned channels weights that make up for them; None leaves them masked.
        settle: judge what prunes with its batch norms estimated again, as networks are built.
    """

    def __init__(
        self, choices: Choices, calibration: Calibration, quantizer: LayerQuantizer, importance: Importance,
        repair: Repair | None = None, settle: bool = False,
    ) -> None:  # fmt: skip
        self.choices, self.calibration, self.quantizer, self.importance = choices, calibration, quantizer, importance
        self.repair, self.settle = repair, settle

    def of_choice(self, decision: int, k: int) -> Candidate:
        """The network as given with one choice taken."""
        choices = self.choices
        kind, value = choices.decisions.decisions[decision].kind, choices.decisions.decisions[decision].choices[k]
        if kind == WIDTH:
            weights = self._pruned({choices.groups[decision].name: int(value)})[0]
            return Candidate(weights, norms=weights if self.settle else None)
        if kind == DEPTH:
            zeros = self._zeros([choices.branches[decision - len(choices.groups)]])
            return Candidate(zeros=zeros, norms={} if self.settle else None)
        layer = choices.layer_of(decision)
        if kind == BITS:
            placed = self._placed([layer], {}, {})
            node = choices.graph.node(layer)  # glue that follows it into integers is not this layer's doing
            own, reader = (fused_activation(node) or node).name, node.name
            inputs = {edge: grid for edge, grid in placed.inputs.items() if edge[1] == reader}
            return Candidate(placed.weights, {n: g for n, g in placed.outputs.items() if n == own}, inputs)
        quantizer, bits = self.quantizer, int(value)
        if kind == A_BITS:
            return Candidate(inputs={self._edge(layer): quantizer.grid(layer, bits)})
        return Candidate(weights={quantizer.parameter(layer): quantizer.weight(layer, bits)})

    def of_design(self, design: Designs) -> Candidate:
        """The network with every choice of a design ``(D,)`` taken."""
        choices = self.choices
        pruned, repaired = self._pruned(choices.kept(design))
        weights, zeros = pruned, self._zeros(choices.dropped(design))
        bits = choices.bits(design)
        inputs: dict[tuple[str, str], QuantParams] = {}
        outputs: dict[str, QuantParams] = {}
        if choices.is_mixed:
            weights = dict(pruned)
            for layer, (w_bits, a_bits) in bits.items():
                name = self.quantizer.parameter(layer)
                if name in repaired:
                    weights[name] = self.quantizer.weight(layer, w_bits, repaired[name])
                else:
                    rounded = self.quantizer.weight(layer, w_bits)
                    # channels that go do not move the grid of those that stay
                    weights[name] = rounded * (weights[name] != 0) if name in weights else rounded
                if a_bits < FLOAT:
                    inputs[self._edge(layer)] = self.quantizer.grid(layer, a_bits)
        elif bits:
            placed = self._placed(list(bits), weights, repaired)
            weights, inputs, outputs = dict(placed.weights), dict(placed.inputs), dict(placed.outputs)
        norms = pruned if self.settle and (pruned or zeros) else None
        return Candidate(weights, outputs, inputs, zeros, norms)

    def _edge(self, layer: str) -> tuple[str, str]:
        return self.quantizer.source(layer), self.choices.graph.node_of[layer]

    def _placed(
        self, layers: list[str], pruned: Mapping[str, torch.Tensor], repaired: Mapping[str, torch.Tensor]
    ) -> Candidate:
        """Layers in int8 as runtimes run them, with integers between neighbours where the placement has them."""
        graph = self.choices.graph
        placement = place(graph, layers)
        weights = dict(pruned)
        for layer in layers:
            grid = input_grid(graph.node(layer), placement, self.calibration)
            name, weight, scale = layer_scale(graph, graph.node(layer), grid, repaired)
            weights[name] = quantize_weight(weights.get(name, weight), scale)
        inputs = {(n, reader): self.calibration[n] for n, readers in placement.inputs.items() for reader in readers}
        outputs = {n: self.calibration[n] for n, owner in placement.anchors.items() if n == owner}
        return Candidate(weights, outputs, inputs)

    def _pruned(self, kept: Mapping[str, int]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The masked parent of a pruned network: consumers' weights for the channels that go are zero.

        Returns:
            All parameters that differ, and those among them that were repaired.
        """
        groups = {g.name: g for g in self.choices.groups}
        keep = {name: keep_indices(self.importance[name], n, groups[name].unit) for name, n in kept.items()}
        repaired = {} if self.repair is None else self.repair.weights(keep)
        weights = dict(repaired)
        for name, channels in keep.items():
            self._mask(groups[name], channels, weights, repaired)
        return weights, repaired

    @cached_property
    def _transposed(self) -> frozenset[str]:
        """Weights of transposed convolutions, which have their inputs first."""
        weights = [n for n in self.choices.graph.module.graph.nodes if n.op == "get_attr"]
        return frozenset(str(n.target) for n in weights if any("conv_transpose" in str(u.target) for u in n.users))

    def _mask(
        self, group: ChannelGroup, keep: list[int], weights: dict[str, torch.Tensor], done: Container[str]
    ) -> None:
        """Zero what the consumers of a group do with the channels that go, but for those that are ``done``.

        Channels that meet each other elsewhere are zero where they are produced, too.
        """
        gone = np.ones(group.channels, dtype=bool)
        gone[keep] = False
        sides = [(m, False) for m in group.inputs] + [(m, True) for m in group.outputs if group.meeting]
        for m, out in sides:
            for leaf in ("weight", "bias") if out else ("weight",):
                name = m.layer if m.dim is not None else f"{m.layer}.{leaf}"
                if name in done or (m.dim is not None and not out):
                    continue
                try:
                    weight = weights.get(name, get_parameter(self.choices.graph.module, name).detach())
                except AttributeError:
                    continue
                which = m.index[gone[m.root]].tolist()
                if m.dim is not None:
                    weights[name] = weight.index_fill(m.dim, torch.tensor(which), 0.0)
                elif out:
                    weights[name] = without_outputs(weight, which, m.size, name in self._transposed)
                elif weight.dim() > 1:
                    weights[name] = without_inputs(weight, which, m.size, name in self._transposed)

    def _zeros(self, branches: list[Branch]) -> frozenset[str]:
        """The operands of additions that dropped branches leave zero."""
        nodes = list(self.choices.graph.module.graph.nodes)

        def inside(path: str) -> list[str]:
            return [
                n.name
                for n in nodes
                if n.op == "call_function"
                and any(str(v[0]) == path for v in (n.meta.get("nn_module_stack") or {}).values())
            ]

        found = set[str]()
        for branch in branches:  # a folded norm has no node
            found |= set((inside(branch.zero) or [n for layer in branch.layers for n in inside(layer)])[-1:])
        return frozenset(found)

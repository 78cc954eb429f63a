"""Channels: how many of each group of channels stay."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.channels import ChannelGroup, GroupReport
from netsmith.compression.kept import keep_indices, widths
from netsmith.compression.prune import plan, without_inputs, without_outputs
from netsmith.compression.slicing import LayerKeep
from netsmith.compression.steps import DropStep, PruneStep, Step
from netsmith.decisions.coupling import coupling_of, whole_of
from netsmith.decisions.kind import BoolArray, Deltas, Designs, FloatArray, Kind, Stage, on_top
from netsmith.decisions.registry import Given
from netsmith.decisions.rows import Rows
from netsmith.decisions.tools import Scores, Tools
from netsmith.errors import InputError
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import Graph
from netsmith.network.passes import get_parameter
from netsmith.space import Decision

CHANNELS = "channels"
WIDTHS = 8  #: channel counts of a group to choose from, unless the user asks for more


def group_widths(group: ChannelGroup, multiple: int, count: int = WIDTHS) -> tuple[int, ...]:
    """At most ``count`` channel counts, ascending: equal shares of the group in steps that the target likes."""
    if count < 2:
        raise InputError(f"a group with {count} widths leaves nothing to choose: ask for 2 or more")
    every = widths(group.channels, multiple, unit=group.unit)
    return every if len(every) <= count else widths(
        group.channels, multiple, [i / count for i in range(1, count)], group.unit
    )  # fmt: skip


class Channels(Kind):
    """Decisions ``GROUP.channels``.

    Args:
        graph: the traced network.
        report: its channel groups.
        multiple: granularity of channel counts that the target likes.
        most: most channel counts of a group; where its multiples are fewer, all of them.
    """

    name = CHANNELS
    stage: ClassVar[Stage] = "structure"
    scale: ClassVar[str] = "structure"
    graded = True

    def __init__(self, graph: Graph, report: GroupReport, multiple: int = 1, most: int = WIDTHS) -> None:
        self.graph, self.report, self.scored = graph, report, tuple(report.groups)
        offered = {g.name: group_widths(g, multiple, most) for g in report.groups}
        self.groups = tuple(g for g in report.groups if len(offered[g.name]) > 1)
        self.decisions = tuple(Decision(f"{g.name}.{CHANNELS}", CHANNELS, offered[g.name]) for g in self.groups)
        self._named = {g.name: g for g in self.groups}

    # --- prices ------------------------------------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> Rows:
        return Rows(self.graph)

    @cached_property
    def coupling(self) -> tuple[FloatArray, FloatArray]:
        """``(D, R)`` each: input and output channels that row r loses for each channel that decision d removes."""
        return coupling_of(self._rows, self.groups, self.whole)

    @cached_property
    def whole(self) -> BoolArray:
        """``(D, R)``: whether what a decision removes of a row with groups (or heads) are whole ones."""
        return whole_of(self._rows, self.groups, frozenset(self.report.counts))

    def columns(self, designs: Designs, rows: NDArray[np.intp]) -> Deltas:
        full = np.array([g.channels for g in self.groups], dtype=float)
        removed = full - self.values[np.arange(len(self.groups)), designs]
        into, out_of = (side[:, rows] for side in self.coupling)
        # grouped convolutions lose whole groups or channels of each, products whole heads or parts of each
        share = removed @ (into * self.whole[:, rows]) / np.maximum(self.graph.layers.c_in[rows], 1)
        return Deltas({"c_in": removed @ into, "c_out": removed @ out_of, "groups": share})

    def bearing(self) -> FloatArray:
        into, out_of = self.coupling
        return np.asarray(into + 1.001 * out_of)

    def sets(self) -> BoolArray:
        return np.asarray(self.coupling[1] > 0)

    def layers(self, d: int) -> tuple[str, ...]:
        group = self.groups[d]
        # channels that a shortcut pads are there for whoever reads them, even where nothing else makes them
        members = (*group.outputs, *(group.inputs if group.padded else ()))
        return tuple(m.layer for m in members if m.layer in self.report.counts)

    # --- evaluation --------------------------------------------------------------------------------------------------

    def kept(self, design: Designs) -> dict[str, int]:
        """Group -> kept channels, for the groups that a design ``(D_k,)`` makes smaller."""
        found = {g.name: int(self.values[d, design[d]]) for d, g in enumerate(self.groups)}
        return {name: n for name, n in found.items() if n < self._named[name].channels}

    def _keep(self, design: Designs, importance: Scores) -> dict[str, list[int]]:
        """Group -> the channels that stay, for the groups that become smaller."""
        return {
            name: keep_indices(importance[name], n, self._named[name].unit) for name, n in self.kept(design).items()
        }

    def edit(self, design: Designs, so_far: GraphEdit, tools: Tools) -> GraphEdit:
        """The masked parent of a pruned network: consumers' weights for the channels that go are zero."""
        keep = self._keep(design, tools.importance) if self.kept(design) else {}
        repaired = {} if not keep or tools.repair is None else tools.repair.weights(keep)
        weights = {**so_far.weights, **repaired}
        for name, channels in keep.items():
            self._mask(self._named[name], channels, weights, repaired)
        return on_top(so_far, weights=weights, refit=frozenset(repaired))

    @cached_property
    def _transposed(self) -> frozenset[str]:
        """Weights of transposed convolutions, which have their inputs first."""
        weights = [n for n in self.graph.module.graph.nodes if n.op == "get_attr"]
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
                    weight = weights.get(name, get_parameter(self.graph.module, name).detach())
                except AttributeError:
                    continue
                which = m.index[gone[m.root]].tolist()
                if m.dim is not None:
                    weights[name] = weight.index_fill(m.dim, torch.tensor(which), 0.0)
                elif out:
                    weights[name] = without_outputs(weight, which, m.size, name in self._transposed)
                elif weight.dim() > 1:
                    weights[name] = without_inputs(weight, which, m.size, name in self._transposed)

    # --- the smaller module ------------------------------------------------------------------------------------------

    def apply(self, model: nn.Module, design: Designs, before: tuple[Step, ...], tools: Tools) -> PruneStep | None:
        """Repaired weights are written; layers of branches that were dropped before are left out of the step."""
        branches = [b for step in before if isinstance(step, DropStep) for b in step.branches]
        gone = frozenset(layer for b in branches for layer in b.layers)
        removed = {path for b in branches for path, _ in b.passes}
        keep = self._keep(design, tools.importance) if self.kept(design) else {}
        keep = {n: k for n, k in keep.items() if not all(m.layer in gone for m in self._named[n].outputs)}
        if not keep:
            return None
        if tools.repair is not None:
            tools.repair.write(model, keep)
        step = plan(self.report, keep)
        zeros = {b.zero: b.layers[-1] for b in branches}  # a zero may be a container: it is as wide as its last layer

        def stays(name: str) -> bool:
            return not any(name == p or name.startswith(f"{p}.") for p in (*removed, *zeros))

        layers: dict[str, LayerKeep] = {name: k for name, k in step.layers.items() if stays(name)}
        padding = {name: cut for name, cut in step.padding.items() if stays(name)}
        for zero, last in zeros.items():
            own = step.layers.get(zero) or step.layers.get(last)
            if own is not None and own.outputs is not None:
                layers[zero] = LayerKeep(outputs=own.outputs)
        return replace(step, layers=layers, padding=padding)

    # --- words -------------------------------------------------------------------------------------------------------

    def trial(self, d: int) -> str:
        return "one group narrower"

    def says(self) -> str:
        return f"{len(self.groups)} channel groups"

    @property
    def frozen(self) -> Mapping[str, str]:
        return {layer: f"not pruned: {reason}" for layer, reason in self.report.frozen.items()}


def channels_of(given: Given, method: Any) -> Channels:
    """Channel counts that the target likes."""
    return Channels(given.graph, given.report, given.capabilities.channel_multiple, method.widths)

"""Heads: how many of each packed attention (``nn.MultiheadAttention``) stay; it gets an inner width of its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.heads import Attention, HeadReport, HeadsStep, find_heads
from netsmith.compression.kept import keep_indices
from netsmith.compression.prune import without_inputs
from netsmith.compression.steps import DropStep, Step
from netsmith.decisions.kind import Deltas, Designs, FloatArray, Kind, Stage, on_top
from netsmith.decisions.registry import Given
from netsmith.decisions.rows import is_part
from netsmith.decisions.tools import Tools
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import Graph
from netsmith.network.passes import get_parameter, weight_name
from netsmith.space import Decision

HEADS = "heads"


class Heads(Kind):
    """Decisions ``ATTENTION.heads``.

    Args:
        graph: the traced network.
        report: its attentions that can lose heads.
    """

    name: ClassVar[str] = HEADS
    stage: ClassVar[Stage] = "structure"
    scale: ClassVar[str] = "structure"
    graded: ClassVar[bool] = True

    def __init__(self, graph: Graph, report: HeadReport) -> None:
        self.graph, self.report, self.attentions = graph, report, report.attentions
        self.decisions = tuple(
            Decision(f"{a.path}.{HEADS}", HEADS, tuple(range(1, a.heads + 1))) for a in self.attentions
        )
        self.scored = tuple(a.group for a in self.attentions)

    # --- prices ------------------------------------------------------------------------------------------------------

    @cached_property
    def lost(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``(D, R)`` each: input channels, output channels and share of the groups that row r loses with a head.

        Queries, keys and values lose outputs, the output projection inputs, and whatever stands between them the
        share of a head: products have a group for each head of each sample, glue moves that much less.
        """
        table = self.graph.layers
        c_in, c_out, groups = np.zeros((3, len(self.attentions), len(table)))
        for d, attention in enumerate(self.attentions):
            share, inside = 1 / attention.heads, False
            for r, name in enumerate(table.names):
                layer = name.split("#")[0]
                if layer == attention.output:
                    c_in[d, r], inside = attention.size, False
                elif not is_part(layer, (attention.path,)):
                    continue
                elif layer in (attention.path, f"{attention.path}/linear"):
                    c_out[d, r], inside = table.c_out[r] * share, True
                elif inside:
                    c_in[d, r], c_out[d, r] = table.c_in[r] * share, table.c_out[r] * share
                    groups[d, r] = share
        return c_in, c_out, groups

    def columns(self, designs: Designs, rows: NDArray[np.intp]) -> Deltas:
        gone = np.array([a.heads for a in self.attentions]) - self._heads(designs)
        c_in, c_out, groups = (gone @ side[:, rows] for side in self.lost)
        return Deltas({"c_in": c_in, "c_out": c_out, "groups": groups})

    def bearing(self) -> FloatArray:
        c_in, c_out, _ = self.lost
        return np.asarray(c_in + c_out)

    def layers(self, d: int) -> tuple[str, ...]:
        return (self.attentions[d].path,)

    # --- evaluation --------------------------------------------------------------------------------------------------

    def _heads(self, designs: Designs) -> FloatArray:
        """How many heads the attentions have under designs ``(..., D_k)``."""
        return np.asarray(self.values[np.arange(len(self.attentions)), designs])

    def _kept(self, design: Designs, tools: Tools) -> dict[Attention, list[int]]:
        """The heads that stay, by the sums of the scores of their channels, of each attention that loses some."""
        return {
            a: [c // a.size for c in keep_indices(tools.importance[a.path], int(n) * a.size, a.size)[:: a.size]]
            for a, n in zip(self.attentions, self._heads(design), strict=True)
            if n < a.heads
        }

    def edit(self, design: Designs, so_far: GraphEdit, tools: Tools) -> GraphEdit:
        """Output projections read zeros where heads go, or have the weights that make up for them."""
        kept = self._kept(design, tools)
        keep = {a.path: a.channels(heads) for a, heads in kept.items()}
        repaired = tools.repair.weights(keep) if keep and tools.repair is not None else {}
        weights = dict(repaired)
        for attention in kept:
            name = weight_name(self.graph.node(attention.output))
            if name not in repaired:
                width = attention.heads * attention.size
                gone = sorted(set(range(width)) - set(keep[attention.path]))
                weight = so_far.weights.get(name, get_parameter(self.graph.module, name).detach())
                weights[name] = without_inputs(weight, gone, width, transposed=False)
        return on_top(so_far, weights=weights, refit=frozenset(repaired))

    # --- the smaller module ------------------------------------------------------------------------------------------

    def apply(self, model: nn.Module, design: Designs, before: tuple[Step, ...], tools: Tools) -> HeadsStep | None:
        """Repaired weights are written; attentions in branches that were dropped before are left out."""
        branches = [b for step in before if isinstance(step, DropStep) for b in step.branches]
        gone = {layer for b in branches for layer in b.layers}
        kept = {a: heads for a, heads in self._kept(design, tools).items() if a.path not in gone}
        if not kept:
            return None
        if tools.repair is not None:
            tools.repair.write(model, {a.path: a.channels(heads) for a, heads in kept.items()})
        return HeadsStep({a.path: tuple(heads) for a, heads in kept.items()})

    # --- words -------------------------------------------------------------------------------------------------------

    def trial(self, d: int) -> str:
        return "one attention with fewer heads"

    def says(self) -> str:
        return f"heads of {len(self.attentions)} attentions"

    @property
    def frozen(self) -> Mapping[str, str]:
        return {path: f"keeps its heads: {reason}" for path, reason in self.report.frozen.items()}


def heads_of(given: Given, method: Any) -> Heads | None:
    """The heads of every attention that can lose some."""
    report = find_heads(given.model, given.example)
    return Heads(given.graph, report) if report.attentions or report.frozen else None

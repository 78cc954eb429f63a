"""Residual branches: which of them stay."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.branches import Branch
from netsmith.compression.steps import DropStep, Step
from netsmith.decisions.kind import Deltas, Designs, FloatArray, Kind, Stage, on_top
from netsmith.decisions.registry import Given
from netsmith.decisions.rows import Rows, is_part
from netsmith.decisions.tools import Tools
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import Graph
from netsmith.space import Decision

BRANCH = "branch"
KEEP, DROP = "keep", "drop"


class Branches(Kind):
    """Decisions ``BRANCH.branch``: the rows of a dropped one never run."""

    name = BRANCH
    stage: ClassVar[Stage] = "topology"
    scale: ClassVar[str] = "structure"
    monotone = False  # without a branch that does harm a network is better

    def __init__(self, graph: Graph, branches: Sequence[Branch]) -> None:
        self.graph, self.branches = graph, tuple(branches)
        self.decisions = tuple(Decision(f"{b.name}.{BRANCH}", BRANCH, (DROP, KEEP)) for b in self.branches)

    @cached_property
    def presence(self) -> NDArray[np.int64]:
        """``(R,)`` decision whose branch holds the row, or -1; the addition behind a branch goes with it."""
        rows = Rows(self.graph)
        out = np.full(len(rows.table), -1)
        for d, branch in enumerate(self.branches):
            for node in self._vanishing(rows, branch):
                if (row := rows.of_node(node)) >= 0:
                    out[row] = d
        return out

    def _vanishing(self, rows: Rows, branch: Branch) -> set[str]:
        """Nodes that a dropped branch leaves without use: its own, and the addition that joined it."""
        nodes = list(self.graph.module.graph.nodes)
        own = {self.graph.node_of[n] for n in rows.index if is_part(n, branch.layers)}
        node = next((n for n in reversed(nodes) if n.name in own), None)
        if node is None:
            return set()
        dead = {node}
        while len(node.users) == 1:
            node = next(iter(node.users))
            if sum(n.op != "get_attr" for n in node.all_input_nodes) > 1:
                break
            dead.add(node)
        for n in reversed(nodes):  # the addition itself stays alive here: it is what keeps the shortcut in use
            if n.op == "call_function" and n.users and all(u in dead for u in n.users):
                dead.add(n)
        return {n.name for n in dead} | {node.name}

    def columns(self, designs: Designs, rows: NDArray[np.intp]) -> Deltas:
        there = np.concatenate([designs, np.ones((len(designs), 1), dtype=np.int64)], axis=1)[:, self.presence[rows]]
        return Deltas(most={"calls": self.graph.layers.calls[rows] * there})

    def bearing(self) -> FloatArray:
        # a row that is not there costs nothing, however wide it were
        return np.where(self.presence == np.arange(len(self.branches))[:, None], 1e6, 0.0)

    def layers(self, d: int) -> tuple[str, ...]:
        return ()  # a branch stands for itself, even where one that holds it goes

    def gone(self, d: int, k: int) -> frozenset[str]:
        return frozenset(self.branches[d].layers) if k < 1 else frozenset()

    def dropped(self, design: Designs) -> tuple[Branch, ...]:
        """Branches that a design ``(D_k,)`` removes."""
        return tuple(b for b, k in zip(self.branches, design, strict=True) if k < 1)

    def edit(self, design: Designs, so_far: GraphEdit, tools: Tools) -> GraphEdit:
        """The operands of additions that dropped branches leave are zero."""
        there = np.append(design, 1)[self.presence]
        gone = frozenset(name for name, k in zip(self.graph.layers.names, there, strict=True) if k < 1)
        return on_top(so_far, zeros=frozenset(z for b in self.dropped(design) for z in self._ends(b)), gone=gone)

    def _ends(self, branch: Branch) -> list[str]:
        """The last node of a branch; a folded norm has none."""
        return (self._inside(branch.zero) or [n for layer in branch.layers for n in self._inside(layer)])[-1:]

    def _inside(self, path: str) -> list[str]:
        return [
            n.name
            for n in self.graph.module.graph.nodes
            if n.op == "call_function"
            and any(str(v[0]) == path for v in (n.meta.get("nn_module_stack") or {}).values())
        ]

    def apply(self, model: nn.Module, design: Designs, before: tuple[Step, ...], tools: Tools) -> DropStep | None:
        dropped = self.dropped(design)
        return DropStep(dropped) if dropped else None

    def trial(self, d: int) -> str:
        return "one branch dropped"

    def says(self) -> str:
        return f"{len(self.branches)} residual branches"


def branches_of(given: Given, method: Any) -> Branches:
    """Every branch that the network can do without."""
    return Branches(given.graph, given.branches)

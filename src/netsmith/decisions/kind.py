"""A kind of decisions: one thing that can be chosen about a network, and everything that its choices do.

Whoever adds a kind writes one class: which decisions there are, what a choice does to the table of layers, to the
traced graph (to be evaluated without building anything) and to the user's module. Prices, sensitivities, every
strategy, the build, the recipe and the report follow from these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.channels import ChannelGroup
from netsmith.compression.sparsify import entries_of
from netsmith.compression.steps import Step
from netsmith.decisions.tools import Tools
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import Graph
from netsmith.network.layers import LayerTable
from netsmith.space import Decision

Designs = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: What is edited and applied first: what goes altogether, what shrinks, and what numbers the rest is made of.
STAGES = ("topology", "structure", "numbers")
Stage = Literal["topology", "structure", "numbers"]


@dataclass(frozen=True)
class Deltas:
    """What N designs of one kind change of a table of R rows.

    Attributes:
        removed: column of channels (``c_in``, ``c_out``) -> how many of them go, ``(N, R)``; of ``groups`` the share
            that goes. What several kinds remove adds up.
        most: any other column -> what it has at most, ``(N, R)``, of ``calls`` 0 for what is gone. Of several kinds the
            least counts.
        entries: the share of a row's numbers that are not zero, of what is left of its weight, ``(N, R)``; None for
            all. Shares of several kinds multiply.
    """

    removed: Mapping[str, FloatArray] = field(default_factory=dict)
    most: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    entries: FloatArray | None = None


def merged(given: LayerTable, deltas: Sequence[Deltas]) -> LayerTable:
    """The table ``(R,)`` as the designs of several kinds make it, ``(N, R)``."""
    columns: dict[str, Any] = {}
    removed: dict[str, Any] = {}
    for delta in deltas:
        for name, gone in delta.removed.items():
            removed[name] = removed.get(name, 0.0) + gone
        for name, most in delta.most.items():
            columns[name] = np.minimum(columns.get(name, getattr(given, name)), most)
    for name in ("c_in", "c_out"):
        if name in removed:
            columns[name] = np.maximum(1, getattr(given, name) - np.rint(removed[name])).astype(np.int64)
    if "groups" in removed:
        left = np.maximum(1, np.rint(given.groups * (1 - removed["groups"])))
        columns["groups"] = np.where(given.groups > 1, left, 1).astype(np.int64)
    table = given.replace(**columns)
    shares = [delta.entries for delta in deltas if delta.entries is not None]
    return table.replace(entries=entries_of(table.weights, np.prod(shares, axis=0))) if shares else table


class Kind:
    """The decisions of one kind about one network; D_k of them, numbered from 0.

    A subclass sets ``decisions`` and gives ``columns``, ``edit`` and ``apply``; ``check_kind`` of ``netsmith.testing``
    proves that the three agree.

    Attributes:
        name: what it is called, such as ``channels``.
        stage: see ``STAGES``.
        scale: kinds that name the same one have losses that can be added up; by default it is one of its own. What is
            pruned hurts more than the sum of its parts, bits do not: a search weighs scales against each other by
            what whole designs lose.
        monotone: whether a choice farther from the reference cannot truly lose less, so that what says so is noise.
        additive: whether losses of single choices add up so well that designs need not be run.
        graded: whether losses of choices lie between those of their neighbours, so that some may be interpolated.
        graph: the traced network that is decided about.
        decisions: what is to be chosen, choices in ascending order of cost where they have one.
        tied: positions among ``decisions`` that always share one choice index.
        scored: channels that may go, of which its tools have scores, and repair of the layers that read them.
    """

    name: ClassVar[str] = ""
    stage: ClassVar[Stage] = "structure"
    scale: ClassVar[str] = ""
    monotone: ClassVar[bool] = True
    graded: ClassVar[bool] = False
    additive: ClassVar[bool] = True
    graph: Graph
    decisions: tuple[Decision, ...]
    tied: tuple[tuple[int, ...], ...] = ()
    scored: tuple[ChannelGroup, ...] = ()

    # --- what must be said -------------------------------------------------------------------------------------------

    def columns(self, designs: Designs, rows: NDArray[np.intp]) -> Deltas:
        """What designs ``(N, D_k)`` change of some rows of the network's layer table, ``(R,)``."""
        raise NotImplementedError

    def edit(self, design: Designs, so_far: GraphEdit, tools: Tools) -> GraphEdit:
        """The traced network under a design ``(D_k,)``, on top of what earlier kinds change; no shape changes."""
        raise NotImplementedError

    def apply(self, model: nn.Module, design: Designs, before: tuple[Step, ...], tools: Tools) -> Step | None:
        """Make a design ``(D_k,)`` true of a module.

        Numbers may be written into ``model``, all of whose shapes are still as given; what changes shapes is returned
        as a step, which the recipe replays after those that are in ``before``.
        """
        raise NotImplementedError

    # --- what has a usual answer -------------------------------------------------------------------------------------

    @property
    def reference(self) -> Designs:
        """The design that changes nothing, ``(D_k,)``."""
        return np.array([len(d.choices) - 1 for d in self.decisions], dtype=np.int64)

    @cached_property
    def values(self) -> FloatArray:
        """``(D_k, K)`` numeric value of each choice, padded with the last one; positions where choices are words."""
        k = max((len(d.choices) for d in self.decisions), default=1)
        out = np.zeros((len(self.decisions), k))
        for i, decision in enumerate(self.decisions):
            own = [float(j if isinstance(c, str) else c) for j, c in enumerate(decision.choices)]
            out[i] = own + [own[-1]] * (k - len(own))
        return out

    def layers(self, d: int) -> tuple[str, ...]:
        """The layers that decision ``d`` is about: where all of them are gone, it has nothing to decide."""
        return ()

    def gone(self, d: int, k: int) -> frozenset[str]:
        """The layers that choice ``k`` of decision ``d`` takes out of the network."""
        return frozenset()

    def sets(self) -> BoolArray:
        """``(D_k, R)``: rows whose outputs, bits or presence a decision sets, beside those that merely follow."""
        return self.bearing() > 0

    def bearing(self) -> FloatArray:
        """``(D_k, R)``: how much a decision has to say in what a row costs, 0 for nothing.

        Where a row depends on more decisions than one table can hold, those that have most to say are exact. The usual
        answer is found by taking every choice alone.
        """
        table, rows = self.graph.layers, np.arange(len(self.graph.layers))
        out = np.zeros((len(self.decisions), len(table)))
        for d, decision in enumerate(self.decisions):
            designs = np.tile(self.reference, (len(decision.choices), 1))
            designs[:, d] = np.arange(len(decision.choices))
            alone = merged(table, [self.columns(designs, rows)])
            for column in alone.columns.values():
                out[d] = np.maximum(out[d], (column != column[self.reference[d]]).any(axis=0))
        return out

    def alone(self, d: int, k: int, tools: Tools) -> GraphEdit:
        """The network as given with choice ``k`` of decision ``d`` and nothing else taken."""
        design = self.reference.copy()
        design[d] = k
        return self.edit(design, GraphEdit(), tools)

    def changes(self, d: int, k: int) -> bool:
        """Whether a choice alone changes what the network as given computes."""
        return k != int(self.reference[d])

    def trial(self, d: int) -> str:
        """What a report calls a trial of one choice of decision ``d`` alone."""
        return f"one choice of {self.name}"

    def says(self) -> str:
        """How much there is to choose, in the words of the first screen."""
        return f"{len(self.decisions)} of {self.name}"

    @property
    def frozen(self) -> Mapping[str, str]:
        """Layers that it leaves alone, and why."""
        return {}


def on_top(so_far: GraphEdit, **changes: Any) -> GraphEdit:
    """An edit with some fields replaced and its mappings joined with what is new."""
    joined: dict[str, Any] = {
        name: {**getattr(so_far, name), **value} if isinstance(value, Mapping) else getattr(so_far, name) | value
        for name, value in changes.items()
    }
    return replace(so_far, **joined)

"""The search space of a given network: decisions of several kinds, and what they do to its table, graph and module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from netsmith.decisions.between import IntegerPlacement
from netsmith.decisions.bits import Bits
from netsmith.decisions.integers import Integers
from netsmith.decisions.kind import STAGES, BoolArray, Designs, FloatArray, Kind, merged
from netsmith.decisions.peak import Peak, PeakMemory
from netsmith.decisions.rows import is_part
from netsmith.decisions.search_space import Storage
from netsmith.decisions.tools import Tools
from netsmith.export.packed import Scheme
from netsmith.hardware.target import Target
from netsmith.network.edit import GraphEdit
from netsmith.network.graph import Graph
from netsmith.network.layers import FLOAT, LayerTable
from netsmith.space import Space

K = TypeVar("K", bound=Kind)


@dataclass(frozen=True)
class GivenSpace:
    """The decisions of one network; the reference is the network as given, at the widest bits there are.

    Attributes:
        graph: the network as given.
        kinds: of decisions, in the order of the space; those without a decision do no harm.
        order: names of the graph's nodes in the order in which designs run them; None for that of the graph.
    """

    graph: Graph
    kinds: tuple[Kind, ...]
    order: tuple[str, ...] | None = None

    # --- decisions ---------------------------------------------------------------------------------------------------

    @cached_property
    def decisions(self) -> Space:
        """All decisions; designs are ``(N, D)`` choice indices."""
        tied = [
            tuple(int(i) for i in np.array(group) + own.start)
            for kind, own in self._parts
            for group in kind.tied
        ]  # fmt: skip
        return Space(tuple(d for kind in self.kinds for d in kind.decisions), tuple(tied))

    @cached_property
    def _parts(self) -> tuple[tuple[Kind, slice], ...]:
        """Each kind with its part of a design."""
        ends = np.cumsum([0, *(len(kind.decisions) for kind in self.kinds)]).tolist()
        return tuple((kind, slice(a, b)) for kind, a, b in zip(self.kinds, ends, ends[1:], strict=False))

    @cached_property
    def staged(self) -> tuple[tuple[Kind, slice], ...]:
        """Each kind with its part of a design, in the order in which they are edited and applied."""
        return tuple(sorted(self._parts, key=lambda part: STAGES.index(part[0].stage)))

    def kind(self, kind: type[K]) -> K | None:
        """The decisions of one kind, if there are any."""
        return next((k for k in self.kinds if isinstance(k, kind) and k.decisions), None)

    def kind_of(self, decision: int) -> tuple[Kind, int]:
        """The kind of a decision, and which of its own it is."""
        kind, own = next((k, own) for k, own in self._parts if own.start <= decision < own.stop)
        return kind, decision - own.start

    @property
    def changes(self) -> bool:
        """Whether some choice changes what the network as given computes, be it the only one of its decision."""
        return any(
            kind.changes(d, k)
            for kind in self.kinds
            for d, decision in enumerate(kind.decisions)
            for k in range(len(decision.choices))
        )

    def of_stage(self, *stages: str) -> NDArray[np.bool_]:
        """``(D,)``: which decisions are made in one of the stages."""
        found = [np.full(len(k.decisions), k.stage in stages) for k in self.kinds]
        return np.concatenate([np.zeros(0, dtype=bool), *found])

    @cached_property
    def scales(self) -> list[list[int]]:
        """The decisions of each scale on which losses add up, in order; see ``Kind.scale``."""
        found: dict[str, list[int]] = {}
        for kind, own in self._parts:
            if kind.decisions:
                found.setdefault(kind.scale or kind.name, []).extend(range(own.start, own.stop))
        return list(found.values())

    @cached_property
    def reference(self) -> Designs:
        """The design that changes nothing, ``(D,)``."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *(kind.reference for kind in self.kinds)])

    @cached_property
    def values(self) -> FloatArray:
        """``(D, K)`` numeric value of each choice, padded with the last one."""
        k = int(self.decisions.sizes.max()) if len(self.decisions) else 1
        rows = [np.pad(kind.values, ((0, 0), (0, k - kind.values.shape[1])), mode="edge") for kind in self.kinds]
        return np.concatenate([np.zeros((0, k)), *rows])

    def layer_of(self, decision: int) -> str:
        """The first layer that a decision is about."""
        kind, d = self.kind_of(decision)
        return kind.layers(d)[0]

    @property
    def frozen(self) -> dict[str, str]:
        """Layer -> why some kind leaves it alone."""
        found = dict[str, str]()
        for kind in self.kinds:
            for layer, reason in kind.frozen.items():  # beside what another says of it, not instead
                found[layer] = "; ".join(filter(None, (found.get(layer), reason)))
        return found

    # --- what designs make of the table ------------------------------------------------------------------------------

    @cached_property
    def table(self) -> LayerTable:
        """The layer table of the network as given, ``(R,)``."""
        return self.graph.layers

    def rows(self, designs: Designs, at: Sequence[int] | NDArray[np.int64] | None = None) -> LayerTable:
        """Layer tables of designs ``(N, D)`` as arrays ``(N, R)``; rows of dropped branches have no ``calls``.

        Conversions between integer and floating point are not rows here; they depend on the placement.

        Args:
            at: only these rows, ``(R,)``.
        """
        rows = np.arange(len(self.table)) if at is None else np.asarray(at, dtype=np.intp)
        designs = np.atleast_2d(designs)
        given = self.table if at is None else self.table.take(rows)
        full = np.zeros((len(designs), 1), dtype=np.int64)  # so that the columns are those of a population in any case
        deltas = [kind.columns(designs[:, own], rows) for kind, own in self._parts if kind.decisions]
        return merged(given.replace(calls=given.calls + full), deltas)

    @cached_property
    def bearing(self) -> FloatArray:
        """``(D, R)``: how much a decision has to say in what a row costs, 0 for nothing."""
        return np.concatenate([np.zeros((0, len(self.table))), *(k.bearing() for k in self.kinds if k.decisions)])

    def depends(self) -> BoolArray:
        """``(D, R)``: which rows a decision changes."""
        return self.bearing > 0

    def deciding(self, row: int) -> list[int]:
        """Decisions that a row depends on, first those that have most to say."""
        bearing = self.bearing[:, row]
        return [int(d) for d in np.argsort(-bearing, kind="stable") if bearing[d] > 0]

    @cached_property
    def between(self) -> IntegerPlacement:
        """What lies between layers."""
        return IntegerPlacement(self, self.graph)

    def peak(self, target: Target) -> PeakMemory:
        """What designs hold in memory while they run on a target."""
        between = self.between
        return PeakMemory(self, Peak(self.graph, target, self.is_mixed, self.order), between.neighbours, between.moves)

    @cached_property
    def storage(self) -> Storage:
        """How the network is stored."""
        return Storage.of(self.graph, self.scheme)

    @cached_property
    def sets(self) -> BoolArray:
        """``(D, R)``: rows whose outputs, bits or presence a decision sets."""
        none = np.zeros((0, len(self.table)), dtype=bool)
        return np.concatenate([none, *(k.sets() for k in self.kinds if k.decisions)])

    # --- equal networks ----------------------------------------------------------------------------------------------

    def canonical(self, designs: Designs) -> Designs:
        """The same networks, ``(N, D)`` or ``(D,)``, with choices about layers that are gone reset, so that equal
        networks are equal designs."""
        out = np.array(np.atleast_2d(designs), dtype=np.int64)
        absent = self._absent(out)
        out = np.where(absent, self.reference, out)
        for group in self.decisions.tied:
            tied = np.array(group)
            first = tied[(~absent[:, tied]).argmax(axis=1)]  # the first that is there; none of them: the first
            out[:, tied] = out[np.arange(len(out)), first][:, None]
        return out if np.ndim(designs) > 1 else out[0]

    def _absent(self, designs: Designs) -> BoolArray:
        """``(N, D)``: decisions all of whose layers are gone."""
        if not self._goers:
            return np.zeros(designs.shape, dtype=bool)
        goers = list(self._goers)
        picked, which = np.unique(designs[:, goers], axis=0, return_inverse=True)
        none = frozenset[str]()
        gone = [none.union(*(self._goers[d][k] for d, k in zip(goers, row, strict=True))) for row in picked.tolist()]
        return np.stack([self._absent_without(g) for g in gone])[which.reshape(-1)]

    @cached_property
    def _goers(self) -> dict[int, tuple[frozenset[str], ...]]:
        """Decision -> for each choice the layers that it takes out, for the decisions that take any out."""
        found = {}
        for kind, own in self._parts:
            for d, decision in enumerate(kind.decisions):
                gone = tuple(kind.gone(d, k) for k in range(len(decision.choices)))
                if any(gone):
                    found[own.start + d] = gone
        return found

    def _absent_without(self, gone: frozenset[str]) -> BoolArray:
        if not gone:
            return np.zeros(len(self.decisions), dtype=bool)
        if gone not in self._known_absent:
            named = [kind.layers(d) for kind in self.kinds for d in range(len(kind.decisions))]
            self._known_absent[gone] = np.array([bool(n) and all(is_part(x, gone) for x in n) for n in named])
        return self._known_absent[gone]

    @cached_property
    def _known_absent(self) -> dict[frozenset[str], BoolArray]:
        return {}

    # --- evaluation --------------------------------------------------------------------------------------------------

    def alone(self, decision: int, k: int, tools: Tools) -> GraphEdit:
        """The network as given with one choice taken."""
        kind, d = self.kind_of(decision)
        edit = kind.alone(d, k, tools)
        return edit if kind.stage == "numbers" or not tools.settle else replace(edit, norms=edit.weights)

    def edit(self, design: Designs, tools: Tools) -> GraphEdit:
        """The network with every choice of a design ``(D,)`` taken: structure, repair, norms, then numbers."""
        edit = GraphEdit()
        for kind, own in self.staged:
            if kind.stage != "numbers" and kind.decisions:
                edit = kind.edit(design[own], edit, tools)
        if tools.settle and (edit.weights or edit.zeros):
            edit = replace(edit, norms=edit.weights)
        for kind, own in self.staged:
            if kind.stage == "numbers" and kind.decisions:
                edit = kind.edit(design[own], edit, tools)
        return edit

    # --- bits --------------------------------------------------------------------------------------------------------

    @property
    def quantized(self) -> tuple[str, ...]:
        """The layers whose bits are decided about."""
        bits = self.kind(Bits)
        return bits.quantized if bits is not None else ()

    @property
    def is_mixed(self) -> bool:
        """Whether weights have widths of their own."""
        bits = self.kind(Bits)
        return bits is not None and not isinstance(bits, Integers)

    @property
    def additive(self) -> bool:
        """Whether losses of single choices add up so well that designs need not be run."""
        return len(self.scales) < 2 and all(kind.additive for kind in self.kinds if kind.decisions)

    @property
    def scheme(self) -> Scheme:
        """How weights of few bits are stored."""
        bits = self.kind(Bits)
        return "kmeans" if bits is not None and bits.codebooks else "linear"

    @property
    def has_floats(self) -> bool:
        """Whether layers may be integers or stay in floating point, as a design says."""
        bits = self.kind(Bits)
        return bits is None or bits.decisions[-1].choices[-1] == FLOAT

    def bits(self, design: Designs) -> dict[str, tuple[int, int]]:
        """(Weight, activation) widths of the layers of one design whose weights have few bits, and that are present."""
        table = self.rows(design)
        return {
            n: (int(table.w_bits[0, i]), int(table.a_bits[0, i]))
            for i, n in enumerate(table.names)
            if table.w_bits[0, i] < FLOAT and table.calls[0, i]
        }

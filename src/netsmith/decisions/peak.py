"""Peak memory of the networks of a given one: exact for designs, and as a table whose rows are the steps of a run.

What is live at a step is a sum of tensors, each as large as the channels that a few groups keep: one linear row a step.
Where branches are dropped their steps go and the others stay as they are, so that is exact as well. Where layers may be
integers or not, the placement of integers moves with them; that is expanded around a design, first order and pairs of
neighbouring layers, as the latency of what lies between layers is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import product

import numpy as np

from netsmith.compression.activations import Activations
from netsmith.compression.placement import place
from netsmith.compression.timeline import Timeline, held_at, peak_steps
from netsmith.decisions.bits import BITS
from netsmith.decisions.branches import BRANCH
from netsmith.decisions.search_space import BoolArray, Designs, FloatArray, RowSpace
from netsmith.hardware.target import Target
from netsmith.network.graph import Graph
from netsmith.network.layers import FLOAT, LayerTable
from netsmith.space import CostTable, Factor, MaxTable

_KEPT = 4000  #: timelines that are remembered
_NEGLIGIBLE = 1e-6  #: bytes that a pair adds
_ROUNDED = 1e-9  #: share of a sum of bytes


class Peak:
    """What lies in memory while networks run one sample.

    Args:
        graph: the network as given.
        target: whose forms numbers take: where it has no floating point every value lies in the bits that its readers
            take, and in its first widths where they are none of its layers.
        mixed: whether every layer reads its input through a grid of its own; then a value is stored once, in the most
            bits of the layers that read it, and as a float where anything else does.
        order: names of nodes in the order in which they run.
    """

    def __init__(self, graph: Graph, target: Target, mixed: bool = False, order: Sequence[str] | None = None) -> None:
        self.graph, bits = graph, target.capabilities.bits
        self.float_bits = FLOAT if (32, 32) in bits else bits[0][1]
        self.stored_once = mixed or self.float_bits < FLOAT
        self.integer_input = bool(getattr(target, "integer_input", False))
        self.order = order
        self._known: dict[bytes, Timeline] = {}

    @cached_property
    def activations(self) -> Activations:
        return Activations(self.graph, self.order)

    def integer(self, tables: LayerTable) -> BoolArray:
        """Which rows of tables ``(N, R)`` compute with integers between integers."""
        few = tables.is_compute & (np.maximum(tables.w_bits, tables.a_bits) < FLOAT) & (tables.calls > 0)
        return np.zeros_like(few) if self.stored_once else few

    def timeline(self, gone: BoolArray, integer: BoolArray) -> Timeline:
        """The steps of a network without the rows ``gone (R,)`` and with the layers ``integer (R,)``."""
        key = np.concatenate([gone, integer]).tobytes()
        if key not in self._known:
            if len(self._known) > _KEPT:
                self._known.clear()
            layers = [self.graph.layers.names[i] for i in np.flatnonzero(integer)]
            placement = place(self.graph, layers) if layers else None
            self._known[key] = self.activations.timeline(layers, placement, gone, self.integer_input)
        return self._known[key]

    def sizes(self, timeline: Timeline, tables: LayerTable) -> FloatArray:
        """Bytes of every buffer of a timeline for layer tables ``(N, R)``, ``(N, B)``."""
        if self.stored_once:
            return timeline.bytes_read(tables, self.float_bits)
        few = tables.a_bits[tables.a_bits < FLOAT]
        return timeline.bytes(tables, self.float_bits, int(few.max()) if len(few) else 8)

    def grouped(self, tables: LayerTable) -> list[tuple[np.ndarray, Timeline]]:
        """Which of tables ``(N, R)`` run in the same steps, and these."""
        gone, integer = tables.calls == 0, self.integer(tables)
        both = np.packbits(np.concatenate([gone, integer], axis=1), axis=1)
        _, first, which = np.unique(both, axis=0, return_index=True, return_inverse=True)
        which = which.reshape(-1)
        return [(np.flatnonzero(which == i), self.timeline(gone[n], integer[n])) for i, n in enumerate(first)]

    def of(self, tables: LayerTable) -> FloatArray:
        """Peak memory in bytes of layer tables ``(N, R)``, ``(N,)``."""
        out = np.empty(len(tables.kind))
        for at, timeline in self.grouped(tables):
            sizes = self.sizes(timeline, _some(tables, at))
            out[at] = peak_steps(timeline, sizes).max(axis=1)
        return out

    def profile(self, table: LayerTable) -> tuple[Timeline, FloatArray, FloatArray]:
        """The steps of one network ``(R,)``, bytes in use at each, ``(T,)``, and of each buffer, ``(B,)``."""
        tables = table.replace(calls=table.calls[None])
        ((_, timeline),) = self.grouped(tables)
        sizes = self.sizes(timeline, tables)
        return timeline, peak_steps(timeline, sizes)[0], sizes[0]

    def record(self, table: LayerTable) -> dict[str, object]:
        """Peak, bytes at each step, and what lives at the fullest one, as JSON values; table ``(R,)``."""
        timeline, steps, sizes = self.profile(table)
        at = int(steps.argmax())
        named = {n: self.graph.node_names.get(n, n) for n in self.graph.nodes}

        def name(node: str) -> str:
            plain, _, what = node.partition(" (")
            return named.get(plain, plain) + (f" ({what}" if what else "")

        held: dict[str, float] = {}
        for node, size in held_at(timeline, sizes, at).items():
            held[name(node)] = held.get(name(node), 0.0) + size
        return {
            "peak_bytes": float(steps[at]), "step": name(timeline.steps[at]), "at": at, "held": held,
            "steps": [name(s) for s in timeline.steps], "bytes": [float(b) for b in steps],
        }  # fmt: skip


def _some(tables: LayerTable, at: np.ndarray) -> LayerTable:
    return LayerTable(names=tables.names, **{k: v[at] for k, v in tables.columns.items()})


class PeakMemory:
    """Peak memory of the designs of ``space``.

    Args:
        neighbours: pairs of decisions about bits whose layers meet.
        moves: whether layers may be integers or stay in floating point, as a design says.
    """

    def __init__(self, space: RowSpace, peak: Peak, neighbours: Sequence[tuple[int, int]], moves: bool) -> None:
        self.space, self.peak = space, peak
        kinds = [d.kind for d in space.decisions.decisions]
        self.moves = moves and BITS in kinds and not peak.stored_once
        self.pairs = list(neighbours) if self.moves else []
        self.branches = [d for d, kind in enumerate(kinds) if kind == BRANCH]

    def price(self, designs: Designs) -> FloatArray:
        """Peak memory in bytes of designs ``(N, D)``, ``(N,)``."""
        return self.peak.of(self.space.rows(np.atleast_2d(designs)))

    @cached_property
    def is_exact(self) -> bool:
        """Whether a table is right at every design."""
        return not self.moves and not self.mixed_bits and self._adds_up

    @cached_property
    def mixed_bits(self) -> bool:
        """Whether inputs of layers have widths to choose from: what is stored in the most bits of all is no sum."""
        few = self.space.rows(np.stack([self.space.reference, np.zeros_like(self.space.reference)])).a_bits
        return bool((few[0] != few[1]).any()) and self.peak.stored_once

    @cached_property
    def _adds_up(self) -> bool:
        """Whether a design with the least of everything has the memory that a table says."""
        least = np.zeros_like(self.space.reference)
        least[self.branches] = self.space.reference[self.branches]
        both = np.stack([least, self.space.reference])
        said, true = self.table(self.space.reference).price(both), self.price(both)
        return bool(np.allclose(said, true, rtol=1e-9, atol=1e-6))

    def table(self, around: Designs) -> MaxTable:
        """One row a step, none of which another always exceeds; right at ``around (D,)``, and see the head."""
        full, given = np.array(around), self.space.reference
        if not self.moves:  # then what a branch that was dropped would add is known for every design
            full[self.branches] = given[self.branches]
        sizes = self.space.decisions.sizes
        asked: list[tuple[tuple[int, ...], Designs]] = [
            ((), full),
            *((at, _with(full, dict([at]))) for at in self._choices(full)),
        ]
        for i, j in self.pairs:
            both = product(range(sizes[i]), range(sizes[j]))
            asked += [((i, j, k, m), _with(full, {i: k, j: m})) for k, m in both if k != full[i] and m != full[j]]
        found = self._steps(np.array([design for _, design in asked]))
        at = [a for a, _ in asked]
        rest = [d for d in self.branches if full[d] != given[d] or self._reaches(d, at, found)]
        for d in rest:  # what runs beside such a branch, or in it, is in memory with other things where it goes
            for k in np.flatnonzero(np.arange(sizes[d]) != full[d]).tolist():
                without = _with(full, {d: k})
                asked += [((d, e, k, m), _with(without, {e: m})) for e, m in self._choices(full) if e != d]
        if rest:
            at, found = [a for a, _ in asked], self._steps(np.array([design for _, design in asked]))
        labels, values, there = found
        unary = np.zeros((len(labels), len(sizes), int(sizes.max(initial=1))))
        pairs: dict[tuple[int, int], FloatArray] = {}
        base, drops = values[0], list[tuple[int, int, BoolArray]]()
        for place_, row, here in zip(at, values, there, strict=True):
            if len(place_) == 2:
                unary[:, place_[0], place_[1]] = row - base
                if place_[0] in self.branches:
                    drops.append((place_[0], place_[1], ~here & there[0]))
        for place_, row, here in zip(at, values, there, strict=True):
            if len(place_) == 4:
                (i, k), (j, m) = sorted([(place_[0], place_[2]), (place_[1], place_[3])])
                beyond = row - base - unary[:, i, k] - unary[:, j, m]
                if i in self.branches or j in self.branches:
                    beyond = np.where(here, beyond, 0.0)
                if np.abs(beyond).max() > _NEGLIGIBLE:
                    empty = np.zeros((len(labels), int(sizes[i]), int(sizes[j])))
                    pairs.setdefault((i, j), empty)[:, k, m] = beyond
        most = base + np.maximum(unary, 0.0).max(axis=2).sum(axis=1) + sum(
            (np.maximum(p, 0.0).max(axis=(1, 2)) for p in pairs.values()), np.zeros(len(labels))
        )  # fmt: skip
        for d, k, gone in drops:
            unary[gone, d, k] = -most.max()  # a step that does not run is never the fullest
        padding = np.arange(unary.shape[2]) >= sizes[:, None]
        kept = _undominated(base, unary, pairs)
        steps = []
        for s in kept:
            factors = tuple(Factor(p, v[s]) for p, v in pairs.items() if np.abs(v[s]).max() > _NEGLIGIBLE)
            steps.append(CostTable(float(base[s]), np.where(padding, np.inf, unary[s]), factors))
        return MaxTable(tuple(steps), tuple(labels[s] for s in kept))

    def _choices(self, full: Designs) -> list[tuple[int, int]]:
        """Every decision with every choice but that of a design."""
        return [(d, k) for d, n in enumerate(self.space.decisions.sizes.tolist()) for k in range(n) if k != full[d]]

    @staticmethod
    def _reaches(d: int, at: Sequence[tuple[int, ...]], steps: tuple[list[str], FloatArray, BoolArray]) -> bool:
        """Whether without a branch other steps than its own have less in memory."""
        _, values, there = steps
        rows = [i for i, place_ in enumerate(at) if len(place_) == 2 and place_[0] == d]
        return any(bool((np.abs(values[i] - values[0]) > _NEGLIGIBLE)[there[i] & there[0]].any()) for i in rows)

    def _steps(self, designs: Designs) -> tuple[list[str], FloatArray, BoolArray]:
        """The steps that any of some designs has, bytes in use at each, ``(N, S)``, and which it has, ``(N, S)``."""
        tables = self.space.rows(designs)
        groups = self.peak.grouped(tables)
        index: dict[str, int] = {}
        for _, timeline in groups:
            for step in timeline.steps:
                index.setdefault(step, len(index))
        values = np.zeros((len(designs), len(index)))
        there = np.zeros((len(designs), len(index)), dtype=bool)
        for at, timeline in groups:
            columns = np.array([index[step] for step in timeline.steps])
            values[np.ix_(at, columns)] = peak_steps(timeline, self.peak.sizes(timeline, _some(tables, at)))
            there[np.ix_(at, columns)] = True
        return list(index), values, there


def _undominated(
    base: FloatArray, unary: FloatArray, pairs: dict[tuple[int, int], FloatArray]
) -> list[int]:  # fmt: skip
    """The steps that none of the others always exceeds, of costs ``base (S,)`` and ``unary (S, D, K)``."""
    kept = list(range(len(base)))
    order = np.argsort(base)
    for s in order.tolist():
        others = np.array([i for i in kept if i != s], dtype=np.int64)
        if not len(others):
            break
        beyond = base[s] - base[others] + (unary[s] - unary[others]).max(axis=2).sum(axis=1)
        for values in pairs.values():
            beyond += (values[s] - values[others]).max(axis=(1, 2))
        if (beyond <= _ROUNDED * max(float(base[s]), 1.0)).any():
            kept.remove(s)
    return kept


def _with(design: Designs, change: dict[int, int]) -> Designs:
    out = design.copy()
    for i, k in change.items():
        out[i] = k
    return out

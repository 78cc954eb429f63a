"""Loop orders: what each operand moves between main memory and its buffer.

For an operand, walk the loops from the innermost to the outermost. As long as what it needs stays within half of its
memory, a loop that it depends on enlarges the resident part and any other loop costs nothing; from the loop on that no
longer fits, every loop repeats the transfer. So an operand's traffic is that of all its tiles, times the trips of those
loops that it does not depend on and that run outside of a set of its own loops that does not fit. Many of the 120
orders share these sets, so sizes, residents and traffic are computed once a set and looked up for each order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np

from netsmith.hardware.simulated.bitfusion.config import BitFusionConfig
from netsmith.hardware.simulated.bitfusion.tiles import INPUTS, LOOPS, OUTPUTS, WEIGHTS, Candidates, ceil_div
from netsmith.network.layers import IntArray

#: All orders, each from the outermost to the innermost loop.
ORDERS = tuple(permutations(range(len(LOOPS))))
ORDER_NAMES = tuple(">".join(LOOPS[i] for i in order) for order in ORDERS)
#: Code of an order by its first four loops.
_CODES = np.zeros((len(LOOPS),) * (len(LOOPS) - 1), dtype=np.int64)
_CODES[tuple(np.array(ORDERS).T[:-1])] = np.arange(len(ORDERS))
_WIDTH, _HEIGHT = LOOPS.index("OW"), LOOPS.index("OH")
#: Numbers in an array of orders times candidates.
_CHUNK = 2**16


@dataclass(frozen=True)
class Walks:
    """Every distinct loop order of candidates; arrays ``(Q, C)`` unless said otherwise.

    Attributes:
        index: which of the candidates, ``(C,)``.
        orders: loops with more than one trip in some candidate, from the outermost to the innermost, ``(Q, n)``.
        inputs, weights, outputs: bits moved; outputs move both ways.
        cycles: of computing and waiting.
    """

    index: IntArray
    orders: IntArray
    inputs: IntArray
    weights: IntArray
    outputs: IntArray
    cycles: IntArray


def walks(found: Candidates, config: BitFusionConfig) -> Iterator[Walks]:
    """Loop orders of all candidates, in pieces."""
    square = found.trips[_WIDTH] == found.trips[_HEIGHT]
    for alike in (True, False):
        group = np.flatnonzero(square == alike)
        active = tuple(np.flatnonzero((found.trips[:, group] > 1).any(axis=1)).tolist())
        orders = distinct_orders(active, alike)
        size = max(_CHUNK // len(orders), 1)
        for first in range(0, len(group), size):
            yield _walk(found, group[first : first + size], active, alike, config)


def _walk(found: Candidates, index: IntArray, active: tuple[int, ...], square: bool, config: BitFusionConfig) -> Walks:
    trips, width = found.trips[:, index], config.dram_bits_per_cycle
    a, a_held = _moved(found.inputs[index], 4 * config.ibuf_bytes, trips, _plan(active, square, INPUTS))
    w, w_held = _moved(found.weights[index], 4 * config.wbuf_bytes, trips, _plan(active, square, WEIGHTS))
    o, o_held = _moved(found.outputs[index], 4 * config.obuf_bytes, trips, _plan(active, square, OUTPUTS))
    # what the first tiles need is loaded before, what the last leave is stored after; the rest overlaps
    start = a_held + w_held + o_held
    overlapped = ceil_div(a + w + 2 * o - start - o_held, width)
    alone = ceil_div(start, width) + ceil_div(o_held, width)
    cycles = np.maximum(found.compute[index], overlapped) + alone
    orders = np.array(distinct_orders(active, square), dtype=np.int64).reshape(len(cycles), len(active))
    return Walks(index, orders, a, w, o, cycles)


def full_orders(orders: IntArray, trips: IntArray) -> IntArray:
    """Codes ``(C,)`` of full orders whose idle loops, those of one trip, are outermost.

    Args:
        orders: active loops of each tile from the outermost to the innermost, ``(C, n)``.
        trips: ``(5, C)``.
    """
    idle = [loop for loop in range(len(LOOPS)) if loop not in orders[:1]]
    full = np.concatenate([np.broadcast_to(idle, (len(orders), len(idle))), orders], axis=1).astype(np.int64)
    busy = np.take_along_axis(trips.T, full, axis=1) > 1
    rank = np.where(busy, len(LOOPS) + np.arange(len(LOOPS)), full)
    full = np.take_along_axis(full, np.argsort(rank, axis=1), axis=1)
    return np.asarray(_CODES[tuple(full.T[:-1])])


@lru_cache(maxsize=64)
def distinct_orders(active: tuple[int, ...], square: bool) -> tuple[tuple[int, ...], ...]:
    """Orders of the loops ``active``, from the outermost to the innermost.

    Args:
        active: codes of the loops, rising.
        square: the trips along both output directions are equal, so they may change places.
    """
    orders = permutations(active)
    if square and _WIDTH in active:
        return tuple(o for o in orders if o.index(_WIDTH) < o.index(_HEIGHT))
    return tuple(orders)


@dataclass(frozen=True)
class _Plan:
    """What the orders have in common for one operand. All but the first of each list is made from an earlier one.

    Attributes:
        sets: sets of the operand's own loops: (place of a smaller set, loop that is added).
        held: sequences of its own loops from the innermost on: (place of a shorter sequence, place of the set).
        repeats: loops that it does not depend on, and the set inside of them: (loop, place of the set).
        moved: combinations of repeats: (place of a smaller combination, place of the repeat that is added).
        all: place of the set of all its own loops.
        held_of, moved_of: for each order its places in ``held`` and ``moved``, ``(Q,)``.
    """

    sets: tuple[tuple[int, int], ...]
    held: tuple[tuple[int, int], ...]
    repeats: tuple[tuple[int, int], ...]
    moved: tuple[tuple[int, int], ...]
    all: int
    held_of: IntArray
    moved_of: IntArray


class _Steps:
    """Things that are made from earlier ones, each once."""

    def __init__(self) -> None:
        self.place: dict[Hashable, int] = {(): 0, frozenset(): 0}
        self.steps: list[tuple[int, int]] = [(0, 0)]

    def add(self, key: Hashable, before: int, step: int) -> int:
        """Place of ``key``, which is made from the thing at ``before``."""
        if key not in self.place:
            self.place[key] = len(self.steps)
            self.steps.append((before, step))
        return self.place[key]


@lru_cache(maxsize=128)
def _plan(active: tuple[int, ...], square: bool, depends: tuple[int, ...]) -> _Plan:
    sets, held, moved = _Steps(), _Steps(), _Steps()
    repeats: dict[tuple[int, int], int] = {}
    held_of, moved_of = [], []
    for order in distinct_orders(active, square):
        own: tuple[int, ...] = ()
        inside, at_held, at_moved = 0, 0, 0
        outside: frozenset[tuple[int, int]] = frozenset()
        for loop in reversed(order):
            if loop in depends:
                own = (*own, loop)
                inside = sets.add(frozenset(own), inside, loop)
                at_held = held.add(own, at_held, inside)
            elif inside:  # a single tile always fits
                outside |= {(loop, inside)}
                repeat = repeats.setdefault((loop, inside), len(repeats))
                at_moved = moved.add(outside, at_moved, repeat)
        held_of.append(at_held)
        moved_of.append(at_moved)
    return _Plan(
        tuple(sets.steps), tuple(held.steps), tuple(repeats), tuple(moved.steps), inside, np.array(held_of),
        np.array(moved_of),
    )  # fmt: skip


def _moved(tile: IntArray, half_bits: int, trips: IntArray, plan: _Plan) -> tuple[IntArray, IntArray]:
    """Bits of an operand that are moved one way, and bits resident when it stopped growing; ``(Q, C)`` each."""
    sizes, held, moved = (np.empty((len(p), len(tile)), dtype=np.int64) for p in (plan.sets, plan.held, plan.moved))
    sizes[0] = held[0] = tile
    for i, (smaller, loop) in enumerate(plan.sets[1:], start=1):
        np.multiply(sizes[smaller], trips[loop], out=sizes[i])
    exceeds = sizes > half_bits
    for i, (before, own) in enumerate(plan.held[1:], start=1):
        held[i] = np.where(exceeds[own], held[before], sizes[own])
    times = [np.where(exceeds[inside], trips[loop], 1) for loop, inside in plan.repeats]
    moved[0] = sizes[plan.all]
    for i, (before, repeat) in enumerate(plan.moved[1:], start=1):
        np.multiply(moved[before], times[repeat], out=moved[i])
    return moved[plan.moved_of], held[plan.held_of]

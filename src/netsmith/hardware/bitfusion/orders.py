"""Loop orders: what each operand moves between main memory and its buffer.

For an operand, walk the loops from the innermost to the outermost. As long as what it needs stays within half of its
memory, a loop that it depends on enlarges the resident part and any other loop costs nothing; from the loop on that no
longer fits, every loop repeats the transfer. So an operand's traffic is that of all its tiles, times the trips of those
loops that it does not depend on and that run outside of a set of loops that does not fit. That set is all that matters,
and many of the 120 orders share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np

from netsmith.hardware.bitfusion.config import BitFusionConfig
from netsmith.hardware.bitfusion.tiles import INPUTS, LOOPS, OUTPUTS, WEIGHTS, Candidates, ceil_div
from netsmith.network.layers import IntArray

#: All orders, each from the outermost to the innermost loop.
ORDERS = tuple(permutations(range(len(LOOPS))))
ORDER_NAMES = tuple(">".join(LOOPS[i] for i in order) for order in ORDERS)
_ORDER_CODE = {order: code for code, order in enumerate(ORDERS)}


@lru_cache(maxsize=64)
def distinct_orders(active: tuple[int, ...], square: bool) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Orders that differ where only the loops ``active`` have more than one trip.

    Args:
        active: codes of the loops.
        square: the trips along both output directions are equal, so they may change places.

    Returns:
        Code of the full order (idle loops outermost), and the active loops from the innermost to the outermost.
    """
    idle = tuple(i for i in range(len(LOOPS)) if i not in active)
    orders = permutations(active)
    width, height = LOOPS.index("OW"), LOOPS.index("OH")
    if square and width in active:
        orders = (o for o in orders if o.index(width) < o.index(height))  # type: ignore[assignment]
    return tuple((_ORDER_CODE[idle + o], o[::-1]) for o in orders)


class _Operand:
    """One operand of candidates ``(C,)`` with the same active loops; remembers what several orders share."""

    def __init__(self, tile: IntArray, half_bits: int, depends: tuple[int, ...], trips: IntArray) -> None:
        self.tile, self.half, self.depends, self.trips = tile, half_bits, frozenset(depends), trips
        self._sizes: dict[frozenset[int], IntArray] = {frozenset(): tile}
        self._over: dict[frozenset[int], np.ndarray] = {}
        self._traffic: dict[object, IntArray] = {}
        self._resident: dict[object, IntArray] = {(): tile}

    def walk(self, order: tuple[int, ...]) -> tuple[IntArray, IntArray]:
        """Bits moved by one transfer direction, and bits resident at the end of the growth, of one order."""
        inside: frozenset[int] = frozenset()
        own: tuple[int, ...] = ()
        outside = []
        for loop in order:
            if loop in self.depends:
                own = (*own, loop)
                if own not in self._resident:
                    larger = inside | {loop}
                    fits = ~self._exceeds(larger)
                    self._resident[own] = np.where(fits, self._size(larger), self._resident[own[:-1]])
                inside = inside | {loop}
            elif inside:
                outside.append((loop, inside))
        key = (inside, frozenset(outside))
        if key not in self._traffic:
            traffic = self._size(inside)
            for loop, within in outside:
                traffic = traffic * np.where(self._exceeds(within), self.trips[loop], 1)
            self._traffic[key] = traffic
        return self._traffic[key], self._resident[own]

    def _size(self, loops: frozenset[int]) -> IntArray:
        if loops not in self._sizes:
            loop = max(loops)
            self._sizes[loops] = self._size(loops - {loop}) * self.trips[loop]
        return self._sizes[loops]

    def _exceeds(self, loops: frozenset[int]) -> np.ndarray:
        if loops not in self._over:
            self._over[loops] = self._size(loops) > self.half
        return self._over[loops]


@dataclass(frozen=True)
class Walk:
    """One loop order of candidates ``index``; all arrays ``(C,)``.

    Attributes:
        index: which of the candidates.
        order: code of the order.
        inputs, weights, outputs: bits moved; outputs move both ways.
        cycles: of computing and waiting.
    """

    index: IntArray
    order: int
    inputs: IntArray
    weights: IntArray
    outputs: IntArray
    cycles: IntArray


def walks(found: Candidates, config: BitFusionConfig) -> Iterator[Walk]:
    """Every distinct loop order of every candidate."""
    square = (found.trips[1] == found.trips[2]) & (found.trips[1] > 1)
    pattern = ((found.trips > 1) * (1 << np.arange(len(LOOPS)))[:, None]).sum(axis=0) + (square << len(LOOPS))
    for code in np.unique(pattern).tolist():
        index = np.flatnonzero(pattern == code)
        trips = found.trips[:, index]
        inputs = _Operand(found.inputs[index], 4 * config.ibuf_bytes, INPUTS, trips)
        weights = _Operand(found.weights[index], 4 * config.wbuf_bytes, WEIGHTS, trips)
        outputs = _Operand(found.outputs[index], 4 * config.obuf_bytes, OUTPUTS, trips)
        compute = found.compute[index]
        active = tuple(i for i in range(len(LOOPS)) if code >> i & 1)
        for order, loops in distinct_orders(active, bool(code >> len(LOOPS))):
            (a, a_held), (w, w_held), (o, o_held) = inputs.walk(loops), weights.walk(loops), outputs.walk(loops)
            # what the first tiles need is loaded before, what the last leave is stored after; the rest overlaps
            start = a_held + w_held + o_held
            overlapped = ceil_div(a + w + 2 * o - start - o_held, config.dram_bits_per_cycle)
            alone = ceil_div(start, config.dram_bits_per_cycle) + ceil_div(o_held, config.dram_bits_per_cycle)
            yield Walk(index, order, a, w, o, np.maximum(compute, overlapped) + alone)

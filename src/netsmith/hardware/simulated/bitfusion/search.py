"""The best mapping of dense layers: fewest cycles over all tiles and loop orders, then least energy. Exhaustive.

No tile is left out that could win: a tile is dropped only if a bound that no loop order can beat is above the cycles of
a mapping already found.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsmith.hardware.simulated.bitfusion.config import BitFusionConfig
from netsmith.hardware.simulated.bitfusion.orders import full_orders, walks
from netsmith.hardware.simulated.bitfusion.tiles import Candidates, candidates, ceil_div
from netsmith.hardware.simulated.bitfusion.workload import ACCUMULATOR_BITS, Dense
from netsmith.network.layers import IntArray

#: What is counted of a layer, in the order of the columns of a result.
COUNTS = (
    "compute_cycles", "stall_cycles", "dram_read_bits", "dram_write_bits", "wbuf_read_bits", "wbuf_write_bits",
    "ibuf_read_bits", "ibuf_write_bits", "obuf_read_bits", "obuf_write_bits",
)  # fmt: skip
#: How it is executed: tile sizes in the order of ``LOOPS``, and the code of the loop order.
CHOICES = ("tile_b", "tile_ow", "tile_oh", "tile_ic", "tile_oc", "loop_order")
COLUMNS = COUNTS + CHOICES


def energies_pj(counts: IntArray, config: BitFusionConfig) -> dict[str, NDArray[np.float64]]:
    """Energy in pJ by part of counts ``(..., 10 or more)``; as published, stalled cycles and leakage cost nothing."""
    per_bit = np.array([
        config.wbuf_read_pj_per_bit, config.wbuf_write_pj_per_bit, config.ibuf_read_pj_per_bit,
        config.ibuf_write_pj_per_bit, config.obuf_read_pj_per_bit, config.obuf_write_pj_per_bit,
    ])  # fmt: skip
    return {
        "compute": counts[..., 0] * config.core_pj_per_cycle,
        "buffers": (counts[..., 4:10] * per_bit).sum(axis=-1),
        "dram": (counts[..., 2] + counts[..., 3]) * config.dram_pj_per_bit,
    }


def search(dense: Dense, config: BitFusionConfig) -> IntArray:
    """The best mapping of each dense layer ``(P,)``.

    Returns:
        ``(P, 16)``, columns as in ``COLUMNS``; all zero where no tile fits the memories.
    """
    best = np.zeros((len(dense.c_in), len(COLUMNS)), dtype=np.int64)
    for layers, found in candidates(dense, config):
        if len(found.problem):
            best[layers[np.unique(found.problem)]] = _best(Dense(*(c[layers] for c in dense)), found, config)
    return best


def _best(dense: Dense, found: Candidates, config: BitFusionConfig) -> IntArray:
    """The best mapping of each problem that has candidates, in order."""
    bound = _bound(found, config)
    promising = found.take(_first_least(found.problem, bound))
    reached = np.zeros(len(dense.c_in), dtype=np.int64)
    reached[promising.problem] = _fewest_cycles(promising, config)
    found = found.take(np.flatnonzero(bound <= reached[found.problem]))

    cycles = _fewest_cycles(found, config)
    fastest = np.flatnonzero(cycles == _least(found.problem, cycles))
    found, cycles = found.take(fastest), cycles[fastest]
    rows, energy = _least_energy(dense, found, cycles, config)
    return rows[_first_least(found.problem, energy)]


def _bound(found: Candidates, config: BitFusionConfig) -> IntArray:
    """Cycles that no loop order can beat: every operand is moved at least once, and at least one tile is resident."""
    b, ow, oh, ic, oc = found.trips
    pixels = b * ow * oh
    moved = found.inputs * (pixels * ic) + found.weights * (ic * oc) + 2 * found.outputs * (pixels * oc)
    width = config.dram_bits_per_cycle
    alone = ceil_div(found.inputs + found.weights + found.outputs, width) + ceil_div(found.outputs, width)
    return np.maximum(found.compute + alone, ceil_div(moved, width))


def _fewest_cycles(found: Candidates, config: BitFusionConfig) -> IntArray:
    """Cycles of each candidate in its fastest loop order."""
    fewest = np.empty(len(found.problem), dtype=np.int64)
    for walk in walks(found, config):
        fewest[walk.index] = walk.cycles.min(axis=0)
    return fewest


def _least_energy(
    dense: Dense, found: Candidates, cycles: IntArray, config: BitFusionConfig
) -> tuple[IntArray, NDArray[np.float64]]:
    """Of the loop orders of each candidate that take ``cycles``, the one with least energy: rows and energies in pJ."""
    rows = np.empty((len(cycles), len(COLUMNS)), dtype=np.int64)
    energy = np.empty(len(cycles))
    for walk in walks(found, config):
        order, column = np.nonzero(walk.cycles == cycles[walk.index])
        at = walk.index[column]
        inputs, weights, outputs = (moved[order, column] for moved in (walk.inputs, walk.weights, walk.outputs))
        d = Dense(*(c[found.problem[at]] for c in dense))
        products = found.visits[at] * found.tile[3, at] * d.kernel_h * d.kernel_w
        sums = found.visits[at] * ACCUMULATOR_BITS + outputs
        counts = np.stack([
            found.compute[at], cycles[at] - found.compute[at], inputs + weights + outputs, outputs,
            products * d.w_bits, weights, products * d.a_bits, inputs, sums, sums,
        ], axis=-1)  # fmt: skip
        spent = np.full(walk.cycles.shape, np.inf)
        spent[order, column] = np.sum(list(energies_pj(counts, config).values()), axis=0)
        least = spent.argmin(axis=0)
        chosen = least[column] == order
        rows[at[chosen], : len(COUNTS)] = counts[chosen]
        energy[walk.index] = spent[least, np.arange(len(least))]
        rows[walk.index, len(COUNTS) : -1] = found.tile[:, walk.index].T
        rows[walk.index, -1] = full_orders(walk.orders[least], found.trips[:, walk.index])
    return rows, energy


def _least(owner: IntArray, values: NDArray[np.generic]) -> NDArray[np.generic]:
    """For each item the least value among those of its owner; ``owner`` is sorted."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    return np.repeat(np.minimum.reduceat(values, starts), np.diff(starts, append=len(owner)))


def _first_least(owner: IntArray, values: NDArray[np.generic]) -> IntArray:
    """For each owner, the first item with its least value."""
    least = np.flatnonzero(values == _least(owner, values))
    return least[np.flatnonzero(np.diff(owner[least], prepend=-1))]

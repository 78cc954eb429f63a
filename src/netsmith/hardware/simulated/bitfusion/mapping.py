"""How rows are executed on a Bit Fusion array, and everything that is counted on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsmith.hardware.simulated.bitfusion.config import BitFusionConfig
from netsmith.hardware.simulated.bitfusion.orders import ORDER_NAMES
from netsmith.hardware.simulated.bitfusion.search import COLUMNS, COUNTS
from netsmith.hardware.simulated.bitfusion.tiles import ceil_div
from netsmith.hardware.simulated.bitfusion.workload import ACCUMULATOR_BITS, RULES, BoolArray, Dense, parallelism
from netsmith.network.layers import IntArray


@dataclass(frozen=True)
class Mapping:
    """Mapping and counts of rows for a whole batch, integer arrays ``(..., L)``; glue rows are zero.

    Counts are those of the whole row, tiles and loop order those of one of its ``repeats``.

    Attributes:
        compute_cycles: cycles in which the array computes.
        stall_cycles: cycles in which it waits for main memory, start and end of the row included.
        dram_read_bits, dram_write_bits: traffic of main memory.
        wbuf_read_bits, wbuf_write_bits, ibuf_read_bits, ibuf_write_bits, obuf_read_bits, obuf_write_bits: of the
            on-chip memories.
        tile_b, tile_ow, tile_oh, tile_ic, tile_oc: size of a tile; 0 where there is no tiling.
        loop_order: index into ``ORDER_NAMES``; see :attr:`loop_order_name`.
        repeats: dense layers that the row is executed as: groups, or heads times samples; 0 for glue.
        rule: index into ``RULES``: "none", "direct", "im2col" or "depthwise".
        extension: the row is priced by a rule of ours that the authors' simulator lacks.
    """

    compute_cycles: IntArray
    stall_cycles: IntArray
    dram_read_bits: IntArray
    dram_write_bits: IntArray
    wbuf_read_bits: IntArray
    wbuf_write_bits: IntArray
    ibuf_read_bits: IntArray
    ibuf_write_bits: IntArray
    obuf_read_bits: IntArray
    obuf_write_bits: IntArray
    tile_b: IntArray
    tile_ow: IntArray
    tile_oh: IntArray
    tile_ic: IntArray
    tile_oc: IntArray
    loop_order: IntArray
    repeats: IntArray
    rule: IntArray
    extension: BoolArray

    @property
    def cycles(self) -> IntArray:
        """Cycles of the row, ``(..., L)``."""
        return self.compute_cycles + self.stall_cycles

    @property
    def counts(self) -> IntArray:
        """The ten counts as one array ``(..., L, 10)``, in the order of the fields."""
        return np.stack([getattr(self, name) for name in COUNTS], axis=-1)

    @property
    def loop_order_name(self) -> NDArray[np.str_]:
        """Loops from the outermost to the innermost, such as ``B>OW>OH>IC>OC``; empty where there is no tiling."""
        return np.where(self.tile_b > 0, np.array(ORDER_NAMES)[self.loop_order], "")

    @property
    def rule_name(self) -> NDArray[np.str_]:
        """Rule of each row in words, ``(..., L)``."""
        return np.array(RULES)[self.rule]


def assemble(best: IntArray, repeats: IntArray, rule: IntArray, extension: BoolArray) -> Mapping:
    """A mapping from rows ``(..., L, 16)`` of the search, each for one of the row's repeats."""
    return Mapping(
        **{name: best[..., i] * repeats if name in COUNTS else best[..., i] for i, name in enumerate(COLUMNS)},
        repeats=repeats, rule=rule, extension=extension,
    )  # fmt: skip


def depthwise_rows(one: Dense, groups: IntArray, config: BitFusionConfig) -> IntArray:
    """Counts of whole depthwise convolutions ``(P,)``, as rows ``(P, 16)`` without tiles; a rule of ours.

    The array finishes ``depthwise_lanes`` products a cycle at full width and p times as many at narrower ones (the rate
    that APQ's published table of such an array shows). Every operand is moved once; as in the published rules for dense
    layers, partial sums have 32 bits and are read and written. Moving overlaps with computing, and the wait for the
    first tile is not modelled.

    Args:
        one: one group of each.
        groups: how many there are.
    """
    products, passes = parallelism(config, one.a_bits, one.w_bits)
    weights = groups * one.c_in * one.c_out * one.kernel_h * one.kernel_w
    pixels = one.batch * one.h_out * one.w_out
    macs = weights * pixels
    compute = ceil_div(macs * passes, config.depthwise_lanes * products)
    height = one.kernel_h + (one.h_out - 1) * one.stride
    width = one.kernel_w + (one.w_out - 1) * one.stride
    inputs = groups * one.c_in * one.batch * height * width * one.a_bits
    outputs = groups * one.c_out * pixels * ACCUMULATOR_BITS
    read = inputs + weights * one.w_bits + outputs
    stall = np.maximum(ceil_div(read + outputs, config.dram_bits_per_cycle) - compute, 0)
    counts = (
        compute, stall, read, outputs, macs * one.w_bits, weights * one.w_bits, macs * one.a_bits, inputs,
        2 * outputs, 2 * outputs,
    )  # fmt: skip
    rows = np.zeros((len(groups), len(COLUMNS)), dtype=np.int64)
    rows[:, : len(COUNTS)] = np.stack(counts, axis=-1)
    return rows

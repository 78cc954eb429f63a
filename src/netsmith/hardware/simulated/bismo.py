"""BISMO: a bit-serial matrix multiplication overlay; time falls with the product of the two bit-widths.

Y. Umuroglu, L. Rasnayake, M. Sjalander, "BISMO: a scalable bit-serial matrix multiplication overlay for reconfigurable
computing", FPL 2018 (arXiv 1806.08862), and the optimised version, TRETS 2019 (arXiv 1901.00370). Packing of groups,
the feeder and memory contention are netsmith's own. Simulated: nothing here was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from netsmith.errors import InputError
from netsmith.hardware.simulated.workload import Workload, check_widths, granularity, reread, workload
from netsmith.hardware.target import Capabilities, Cost, FloatArray, Roof
from netsmith.network.layers import LayerTable
from netsmith.schema import parameter, to_dict, validate


@dataclass(frozen=True, kw_only=True)
class BismoConfig:
    """A bit-serial overlay: Dm x Dn dot product units of Dk binary lanes, and its memories."""

    rows: int = parameter("rows of dot product units, Dm: output channels at once", low=1)
    lanes: int = parameter("binary lanes of a unit, Dk: reduction length at once", low=1)
    columns: int = parameter("columns of units, Dn: output positions at once", low=1)
    frequency_hz: float = parameter("clock", "Hz", above=0)
    left_entries: int = parameter("entries of Dk bits of each row's buffer (weights), LMEM", default=1024, low=1)
    right_entries: int = parameter("entries of each column's buffer (activations), RMEM", default=1024, low=1)
    double_buffered: bool = parameter("half of a buffer is filled while the other half is used", default=True)
    port_bits_per_cycle: float = parameter(
        "bits per cycle of the load stage, and as many of the result stage", "bit/cycle", above=0
    )
    dram_bytes_per_s: float = parameter("main memory bandwidth that both stages share", "B/s", above=0)
    result_bits: int = parameter(
        "width of results that are written; 0 for the row's activation bits (quantized again on the chip)", "bit",
        default=32, low=0, high=64,
    )  # fmt: skip
    max_bits: int = parameter("widest operand", "bit", default=8, low=1, high=16)
    pack_groups: bool = parameter(
        "products of several groups run at once as one block diagonal, as many as rows and lanes hold; otherwise one "
        "after the other", default=False,
    )  # fmt: skip
    feed_positions: int = parameter(
        "output positions a cycle whose activation bit plane is gathered on the chip (im2col), for up to Dm groups at "
        "once; 0: the gathered matrix comes from main memory and nothing else limits it", default=0, low=0,
    )  # fmt: skip
    overhead_cycles: int = parameter("fixed cycles of each row", "cycle", default=0, low=0)
    energy_per_binary_mac_j: float = parameter("energy of one binary multiply-accumulate", "J", low=0)
    energy_per_buffer_bit_j: float = parameter("energy per bit to or from a buffer", "J/bit", low=0)
    energy_per_dram_bit_j: float = parameter("energy per bit of main memory", "J/bit", low=0)
    static_w: float = parameter("power that is drawn all the time", "W", default=0.0, low=0)

    def __post_init__(self) -> None:
        validate(self)
        if self.double_buffered and min(self.left_entries, self.right_entries) < 2:
            raise InputError("the keys 'left_entries' and 'right_entries' must be at least 2 with 'double_buffered'")

    @property
    def units(self) -> int:
        """Binary lanes of all dot product units."""
        return self.rows * self.columns * self.lanes

    @property
    def buffer_bytes(self) -> int:
        """The buffers of all rows and columns."""
        return (self.rows * self.left_entries + self.columns * self.right_entries) * self.lanes // 8


def peak_binary_ops(config: BismoConfig) -> float:
    """Binary operations a second, an AND and an addition counted as two: ``2 * Dm * Dk * Dn * f``."""
    return 2.0 * config.rows * config.lanes * config.columns * config.frequency_hz


def array_luts(config: BismoConfig) -> float:
    """LUTs of the array with its result path: ``Dm * Dn * (1.17 * Dk + 44.1 + 120.1)`` (TRETS 2019)."""
    return config.rows * config.columns * (1.17 * config.lanes + 44.1 + 120.1)


def array_brams(config: BismoConfig) -> int:
    """Block RAMs of the buffers: ``ceil(Dk/32) * (Dm * ceil(LMEM/1024) + Dn * ceil(RMEM/1024))`` (TRETS 2019)."""
    deep = config.rows * -(-config.left_entries // 1024) + config.columns * -(-config.right_entries // 1024)
    return -(-config.lanes // 32) * deep


@dataclass(frozen=True)
class Stages:
    """Cycles of what runs at the same time, each ``(..., L)``; a row takes the longest.

    Attributes:
        load: operands through the load port.
        execute: binary products.
        result: results through the result port.
        feed: gathering of activations.
        memory: all traffic at the bandwidth of main memory.
    """

    load: FloatArray
    execute: FloatArray
    result: FloatArray
    feed: FloatArray
    memory: FloatArray

    @property
    def longest(self) -> FloatArray:
        """The slowest of all."""
        return np.maximum(self.execute, self.transfers)

    @property
    def transfers(self) -> FloatArray:
        """The slowest of all but execution."""
        return np.maximum(np.maximum(self.load, self.result), np.maximum(self.feed, self.memory))


class Bismo:
    """Prices rows on a bit-serial overlay.

    ``execute = w * a * ceil(M/Dm) * ceil(K/Dk) * ceil(N/Dn)`` for each product; loading, executing and writing back
    run at the same time, and the slowest counts. Any whole width up to ``max_bits`` runs at its own rate.
    """

    def __init__(self, config: BismoConfig, name: str = "bismo") -> None:
        self.name, self.config = name, config
        widths = range(config.max_bits, 0, -1)
        same = [(b, b) for b in widths]
        first = [(8, 8)] if config.max_bits >= 8 else []
        pairs = dict.fromkeys(first + same + [(w, a) for w in widths for a in widths])
        self.capabilities = Capabilities(bits=tuple(pairs), channel_multiple=granularity(config.rows))
        side = np.arange(33)
        inside = (side >= 1) & (side <= config.max_bits)
        self._supported = inside[:, None] & inside[None, :]

    @property
    def settings(self) -> dict[str, Any]:
        """Configuration and rules, as JSON values."""
        rules = "BISMO cycles; packing of groups, feeder and shared memory bandwidth are netsmith's rules"
        return {"family": "bismo", "simulated": True, "rules": rules, "config": to_dict(self.config)}

    def roof(self, w_bits: int, a_bits: int) -> Roof | None:
        """``Dm * Dk * Dn * f / (w * a)`` and the bandwidth of main memory; None above ``max_bits``."""
        if not 1 <= min(w_bits, a_bits) <= max(w_bits, a_bits) <= self.config.max_bits:
            return None
        return Roof(peak_binary_ops(self.config) / 2 / (w_bits * a_bits), self.config.dram_bytes_per_s)

    def stages(self, table: LayerTable, batch: int = 1) -> Stages:
        """Cycles of each stage for each row, ``(..., L)``; 0 for glue.

        Raises:
            InputError: a row is wider than ``max_bits``, or the batch is not a positive whole number.
        """
        return self._stages(self._work(table, batch))[0]

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        """Time, traffic and energy of every row, ``(..., L)``; glue costs nothing.

        Raises:
            InputError: a row is wider than ``max_bits``, or the batch is not a positive whole number.
        """
        c, work = self.config, self._work(table, batch)
        stages, loaded, written = self._stages(work)
        overhead = np.where(work.is_compute, c.overhead_cycles, 0)
        cycles = stages.longest + overhead
        latency = cycles / c.frequency_hz
        bits = loaded + written
        fetched = stages.execute * ((c.rows + c.columns) * c.lanes)
        parts: dict[str, FloatArray] = {
            "compute": np.asarray(work.macs * work.w_bits * work.a_bits * c.energy_per_binary_mac_j),
            "buffers": (fetched + bits) * c.energy_per_buffer_bit_j,
            "dram": bits * c.energy_per_dram_bit_j, "static": latency * c.static_w,
        }  # fmt: skip
        bound = np.where(stages.execute > stages.transfers, "compute", "memory")
        return Cost(
            latency, np.asarray(sum(parts.values())), traffic_bytes=bits / 8,
            bound=np.where(overhead > stages.longest, "overhead", bound), cycles=cycles, energy_parts=parts,
        )  # fmt: skip

    def _work(self, table: LayerTable, batch: int) -> Workload:
        work, most = workload(table, batch), self.config.max_bits
        check_widths(
            table, work, self._supported, self.name, f"whole numbers of 1 to {most} bits",
            f"give the network {most} bits or fewer (--bits {min(most, 8)}), or choose a target with floating point "
            "such as cpu or roofline-gpu",
        )  # fmt: skip
        return work

    def _stages(self, work: Workload) -> tuple[Stages, FloatArray, FloatArray]:
        """Stages, bits loaded and bits written."""
        c = self.config
        deep = _ceil(work.k, c.lanes)
        loaded, written = self._bits(work, deep)
        products = work.count
        if c.pack_groups:
            at_once = np.maximum(np.minimum(c.rows // work.m, c.lanes // work.k), 1)
            products = _ceil(work.count, at_once)
        execute = products * work.w_bits * work.a_bits * _ceil(work.m, c.rows) * deep * _ceil(work.n, c.columns)
        feed = np.zeros_like(execute)
        if c.feed_positions:
            feed = work.a_bits * _ceil(work.n, c.feed_positions) * _ceil(work.count, c.rows)
        memory = (loaded + written) / 8 * (c.frequency_hz / c.dram_bytes_per_s)
        stages = Stages(
            load=np.ceil(loaded / c.port_bits_per_cycle), execute=execute.astype(np.float64),
            result=np.ceil(written / c.port_bits_per_cycle), feed=feed.astype(np.float64), memory=np.ceil(memory),
        )  # fmt: skip
        return stages, loaded, written

    def _bits(self, work: Workload, deep: Any) -> tuple[FloatArray, FloatArray]:
        """Bits loaded and bits written; an operand that exceeds its buffer makes the other one come again."""
        c = self.config
        halves = 2 if c.double_buffered else 1
        left = (work.weights * work.w_bits).astype(np.float64)
        elements = work.inputs if c.feed_positions else work.k * work.n * work.count
        right = (elements * work.a_bits).astype(np.float64)
        left_tiles = _ceil(work.w_bits * _ceil(work.m, c.rows) * deep, c.left_entries // halves)
        right_tiles = _ceil(work.a_bits * _ceil(work.n, c.columns) * deep, c.right_entries // halves)
        loaded = np.add(*reread(left, right, left_tiles, right_tiles))
        width = np.where(c.result_bits > 0, c.result_bits, work.a_bits)
        return loaded, (work.outputs * width).astype(np.float64)


def _ceil(size: Any, by: Any) -> Any:
    return -(-size // by)

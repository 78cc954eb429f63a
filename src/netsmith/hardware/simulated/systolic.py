"""Systolic arrays in the form of SCALE-Sim: cycles of weight, output and input stationary mappings, exactly.

A. Samajdar et al., "SCALE-Sim: systolic CNN accelerator simulator", arXiv 1811.02883, for the cycles; energies after
the default technology model of Timeloop (A. Parashar et al., ISPASS 2019), in units of one 16-bit multiply-accumulate.
Memory traffic, batches and grouped convolutions are not in that formula and are netsmith's own. Simulated: nothing here
was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from netsmith.hardware.simulated.workload import Workload, check_widths, granularity, reread, tiles, workload
from netsmith.hardware.target import Capabilities, Cost, FloatArray, Roof
from netsmith.network.layers import LayerTable
from netsmith.schema import parameter, to_dict, validate


@dataclass(frozen=True, kw_only=True)
class SystolicConfig:
    """A systolic array with three operand memories."""

    rows: int = parameter("rows of the array", low=1)
    columns: int = parameter("columns of the array", low=1)
    dataflow: str = parameter(
        "which operand stays in the array: ws weights, os outputs, is inputs", choices=("ws", "os", "is")
    )
    frequency_hz: float = parameter("clock", "Hz", above=0)
    input_sram_bytes: int = parameter("memory for inputs", "B", low=1)
    weight_sram_bytes: int = parameter("memory for weights", "B", low=1)
    output_sram_bytes: int = parameter("memory for outputs and partial sums", "B", low=1)
    bandwidth_words_per_cycle: float = parameter("words from and to main memory per cycle", "word/cycle", above=0)
    word_bits: int = parameter(
        "width of the multipliers and of a word; narrower operands run at this width", "bit", default=8, low=1, high=32
    )
    double_buffered: bool = parameter(
        "half of an operand memory holds the tile in use while the other half is filled", default=True
    )
    accumulator_bits: int = parameter("width of partial sums", "bit", default=32, low=1, high=64)
    energy_per_mac16_j: float = parameter(
        "energy of one 16-bit multiply-accumulate, the unit of the energy model", "J", above=0
    )
    dram_energy_units: float = parameter(
        "energy of 16 bits from main memory, in multiply-accumulates", "unit", default=200.0, low=0
    )
    sram_bank_bytes: int = parameter(
        "an access costs what a memory of this size costs; 0 is the whole memory (the model holds from 512 B to "
        "100 KiB)", "B", default=0, low=0,
    )  # fmt: skip
    static_w: float = parameter("power that is drawn all the time", "W", default=0.0, low=0)

    def __post_init__(self) -> None:
        validate(self)

    @property
    def units(self) -> int:
        """Multipliers of the array."""
        return self.rows * self.columns

    @property
    def buffer_bytes(self) -> int:
        """The three memories together."""
        return self.input_sram_bytes + self.weight_sram_bytes + self.output_sram_bytes


def fold_cycles(rows: int, columns: int, inner: Any) -> Any:
    """Cycles of one fold: ``2R + C + T - 2``, filling and draining included (SCALE-Sim)."""
    return 2 * rows + columns + inner - 2


def sram_units(size_bytes: float, bits: float) -> float:
    """Energy of one access of ``bits`` bits in 16-bit multiply-accumulates: 1 at 0.5 KB, 6 at 100 KB (Timeloop)."""
    return (1 + (size_bytes / 1024 - 0.5) * (6 - 1) / (100 - 0.5)) * bits / 16


class Systolic:
    """Prices rows on a systolic array.

    Every product is mapped to spatial sizes (Sr, Sc) and an inner length T, and takes
    ``ceil(Sr/R) * ceil(Sc/C) * (2R + C + T - 2)`` cycles, exactly; the batch multiplies the output positions, and
    groups and heads take their turns. A row then takes the longer of these cycles and its memory traffic.
    """

    def __init__(self, config: SystolicConfig, name: str = "systolic") -> None:
        self.name, self.config = name, config
        bits = config.word_bits
        # channels that share a fold: outputs across the columns, or inputs down the rows
        lanes = config.rows if config.dataflow == "is" else config.columns
        self.capabilities = Capabilities(bits=((bits, bits),), channel_multiple=granularity(lanes))
        side = np.arange(33)
        self._supported = (np.maximum(side[:, None], side[None, :]) <= bits) & (side[:, None] * side[None, :] > 0)

    @property
    def settings(self) -> dict[str, Any]:
        """Configuration and rules, as JSON values."""
        rules = "SCALE-Sim cycles; batch multiplies output positions, groups are sequential (netsmith's rules)"
        return {"family": "systolic", "simulated": True, "rules": rules, "config": to_dict(self.config)}

    def roof(self, w_bits: int, a_bits: int) -> Roof | None:
        """Every multiplier busy in every cycle, and the memory's bandwidth; None for widths above the word."""
        c = self.config
        if not 1 <= min(w_bits, a_bits) <= max(w_bits, a_bits) <= c.word_bits:
            return None
        return Roof(c.rows * c.columns * c.frequency_hz, c.bandwidth_words_per_cycle * c.word_bits / 8 * c.frequency_hz)

    def mapping(self, work: Workload) -> tuple[Any, Any, Any]:
        """(Sr, Sc, T) of one product of each row."""
        if self.config.dataflow == "ws":
            return work.k, work.m, work.n
        if self.config.dataflow == "os":
            return work.n, work.m, work.k
        return work.k, work.n, work.m

    def compute_cycles(self, table: LayerTable, batch: int = 1) -> Any:
        """Cycles of the array for each row, ``(..., L)`` whole numbers, memory left out; 0 for glue."""
        return self._compute_cycles(workload(table, batch))

    def _compute_cycles(self, work: Workload) -> Any:
        rows, columns, inner = self.mapping(work)
        folds = _ceil(rows, self.config.rows) * _ceil(columns, self.config.columns)
        return work.count * folds * fold_cycles(self.config.rows, self.config.columns, inner)

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        """Time, traffic and energy of every row, ``(..., L)``; glue costs nothing.

        Raises:
            InputError: a row is wider than a word, or the batch is not a positive whole number.
        """
        c, work = self.config, workload(table, batch)
        bits = c.word_bits
        check_widths(
            table, work, self._supported, self.name, f"words of {bits} bits and narrower ones in those",
            f"give the network {bits} bits or fewer (--bits {bits}), or choose a target with floating point such as "
            "cpu or roofline-gpu",
        )  # fmt: skip
        weights, inputs = self._main_memory(work)
        words = weights + inputs + work.outputs
        array = self._compute_cycles(work)
        memory = np.ceil(words / c.bandwidth_words_per_cycle)
        cycles = np.maximum(array, memory)
        latency = cycles / c.frequency_hz
        parts = self._energy(work, weights, inputs) | {"static": latency * c.static_w}
        return Cost(
            latency, np.asarray(sum(parts.values())), traffic_bytes=words * bits / 8,
            bound=np.where((array >= memory) & work.is_compute, "compute", "memory"), cycles=cycles, energy_parts=parts,
        )  # fmt: skip

    def _main_memory(self, work: Workload) -> tuple[FloatArray, FloatArray]:
        """Words of weights and of inputs from main memory: the cheaper order of holding one tile by tile."""
        c = self.config
        share = c.word_bits / 8 * (2 if c.double_buffered else 1)
        each = np.maximum(work.count, 1)
        weight_tiles = tiles(work.weights / each, c.weight_sram_bytes / share)
        input_tiles = tiles(work.inputs / each, c.input_sram_bytes / share)
        return reread(work.weights.astype(np.float64), work.inputs.astype(np.float64), weight_tiles, input_tiles)

    def _energy(self, work: Workload, weights: FloatArray, inputs: FloatArray) -> dict[str, FloatArray]:
        """Multiply-accumulates, operand memories (array side and main memory side) and main memory."""
        c, unit = self.config, self.config.energy_per_mac16_j
        rows, columns, inner = self.mapping(work)
        row_folds, column_folds = _ceil(rows, c.rows), _ceil(columns, c.columns)
        held = work.count * rows * columns  # each element of the operand that stays is moved once
        along_rows = work.count * rows * inner * column_folds
        along_columns = work.count * columns * inner * row_folds
        # partial sums leave the array once a row fold, and come back for all but the first
        sums = work.count * columns * inner * (2 * row_folds - 1)
        reads = {
            "ws": (held, along_rows, sums), "os": (along_columns, along_rows, held), "is": (along_rows, held, sums),
        }[c.dataflow]  # fmt: skip
        weight_units, input_units, sum_units, output_units = (
            sram_units(min(size, c.sram_bank_bytes or size), bits)
            for size, bits in (
                (c.weight_sram_bytes, c.word_bits), (c.input_sram_bytes, c.word_bits),
                (c.output_sram_bytes, c.accumulator_bits), (c.output_sram_bytes, c.word_bits),
            )
        )  # fmt: skip
        buffers = (
            (reads[0] + weights) * weight_units + (reads[1] + inputs) * input_units
            + reads[2] * sum_units + work.outputs * output_units
        )  # fmt: skip
        words = weights + inputs + work.outputs
        return {
            "compute": work.macs * (c.word_bits / 16) ** 2 * unit, "buffers": buffers * unit,
            "dram": words * (c.dram_energy_units * c.word_bits / 16 * unit),
        }  # fmt: skip


def _ceil(size: Any, by: int) -> Any:
    return -(-size // by)

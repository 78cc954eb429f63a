"""Microcontrollers: whether a network fits, and about how long it takes, from sizes of memories and cycles a product.

Sizes of memories and clocks of the packaged machines are those of parts on sale, as recalled. Cycles are a plain model:
so many for each multiply-accumulate, by width and kind, and so many for each byte of weights that comes from flash.
Their numbers are assumptions, to be replaced by what a board takes. Simulated: nothing here was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsmith.errors import InputError
from netsmith.hardware.simulated.precision import WIDEST, kernels, pairs_in_words, parse_pairs
from netsmith.hardware.simulated.workload import check_widths, granularity, workload
from netsmith.hardware.target import Capabilities, Cost
from netsmith.network.layers import KIND, LayerTable
from netsmith.schema import parameter, to_dict, validate


@dataclass(frozen=True, kw_only=True)
class MicrocontrollerConfig:
    """A microcontroller that runs networks from its flash in its SRAM."""

    sram_bytes: int = parameter("memory for activations, and whatever else runs", "B", low=1)
    flash_bytes: int = parameter("memory for weights, and for code", "B", low=1)
    sram_reserve_bytes: int = parameter(
        "of it, what the runtime, its workspaces and the rest of the program take", "B", default=0, low=0
    )
    flash_reserve_bytes: int = parameter("of it, what code takes", "B", default=0, low=0)
    frequency_hz: float = parameter("clock", "Hz", above=0)
    cycles_per_mac: Mapping[str, float] = parameter(
        'cycles of a multiply-accumulate per pair of widths, keys "WxA" with weight bits first; 32 is floating point',
        "cycle", above=0,
    )  # fmt: skip
    depthwise_factor: float = parameter(
        "times as many in a depthwise convolution, which reuses little", default=1.0, above=0
    )
    flash_bytes_per_cycle: float = parameter(
        "weights that come from flash, each once a run of a layer", "B/cycle", above=0
    )
    glue_cycles_per_byte: float = parameter(
        "cycles for each byte that operators between layers read or write (reshapes are free)", "cycle/B", default=0.0,
        low=0,
    )  # fmt: skip
    overhead_cycles: float = parameter("cycles to call an operator", "cycle", default=0.0, low=0)
    channel_multiple: int = parameter(
        "channels that kernels take at a time; others run, but no faster", "channel", default=1, low=1, high=64
    )

    def __post_init__(self) -> None:
        validate(self)
        _kernels(self)
        for memory in ("sram", "flash"):
            if getattr(self, f"{memory}_reserve_bytes") >= getattr(self, f"{memory}_bytes"):
                raise InputError(f"the key '{memory}_reserve_bytes' leaves nothing of '{memory}_bytes' for a network")

    @property
    def buffer_bytes(self) -> int:
        """SRAM and flash together."""
        return self.sram_bytes + self.flash_bytes


def _kernels(config: MicrocontrollerConfig) -> Any:
    """Which kernel runs what; rates are products a cycle."""
    cycles = parse_pairs(config.cycles_per_mac, "cycles_per_mac")
    if not cycles:
        raise InputError("the table 'cycles_per_mac' is empty; give at least one pair, for instance \"8x8\" = 2.0")
    return kernels({pair: 1.0 / each for pair, each in cycles.items()}, {}, "none", WIDEST)


class Microcontroller:
    """Prices rows on a microcontroller, whose memories are limits of their own.

    ``cycles = MACs * cycles_per_mac(w, a) * (depthwise_factor) + weight bytes / flash_bytes_per_cycle + overhead``.

    Attributes:
        limits: cost -> the most that fits: ``memory`` of activations in SRAM, ``size`` of the packed network in flash.
        integer_input: a network whose input integer layers alone read is handed integers, as images are.
    """

    integer_input = True

    def __init__(self, config: MicrocontrollerConfig, name: str = "microcontroller") -> None:
        self.name, self.config = name, config
        self._kernels = _kernels(config)
        self.capabilities = Capabilities(
            bits=self._kernels.pairs, channel_multiple=granularity(config.channel_multiple)
        )
        self.limits = {
            "memory": float(config.sram_bytes - config.sram_reserve_bytes),
            "size": float(config.flash_bytes - config.flash_reserve_bytes),
        }

    @property
    def settings(self) -> dict[str, Any]:
        """Configuration and rules, as JSON values."""
        rules = "cycles a product by width and kind, weights from flash once a layer, nothing at the same time"
        return {
            "family": "microcontroller", "simulated": True, "rules": rules, "limits": self.limits,
            "config": to_dict(self.config),
        }  # fmt: skip

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        """Time and traffic with flash of every row, ``(..., L)``; no energy.

        Raises:
            InputError: a row is wider than every kernel, or the batch is not a positive whole number.
        """
        c, k, work = self.config, self._kernels, workload(table, batch)
        remedy = "give the network widths that it executes (for instance --bits 8)"
        check_widths(table, work, k.supported, self.name, pairs_in_words(k.pairs), remedy)
        at = (np.where(work.is_compute, work.w_bits, 1), np.where(work.is_compute, work.a_bits, 1))
        arithmetic = work.macs / k.macs_per_s[at] * np.where(work.is_depthwise, c.depthwise_factor, 1.0)
        flash = np.where(work.weight_like, work.weights * k.w_bits[at] / 8, 0.0)
        moved = ~table.is_compute & (table.kind != KIND["reshape"])
        glue = np.where(moved, table.moved * table.a_bits / 8 * batch, 0.0) * c.glue_cycles_per_byte
        loads = flash / c.flash_bytes_per_cycle
        calls = np.where(work.is_compute | moved, c.overhead_cycles, 0.0)
        cycles = arithmetic + loads + glue + calls
        bound = np.where(
            calls > arithmetic + loads + glue, "overhead", np.where(arithmetic >= loads + glue, "compute", "memory")
        )
        return Cost(cycles / c.frequency_hz, traffic_bytes=flash, bound=bound, cycles=cycles)

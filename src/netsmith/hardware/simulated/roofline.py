"""Roofline machines: a row takes the longer of its arithmetic at peak rate and its bytes at each memory's bandwidth.

S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore architectures",
CACM 52(4), 2009; here with one peak per pair of bit-widths, so that fewer bits raise both roofs. Simulated: nothing
here was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsmith.errors import InputError
from netsmith.hardware.simulated.precision import WIDEST, kernels, pairs_in_words, parse_pairs
from netsmith.hardware.simulated.workload import Workload, check_widths, granularity, reread, tiles, workload
from netsmith.hardware.target import Capabilities, Cost, FloatArray, Roof
from netsmith.network.layers import KIND, LayerTable
from netsmith.schema import parameter, to_dict, validate

_REMEDY = (
    "give the network widths that it executes (for instance --bits 8), or choose a target with floating point "
    "such as cpu or roofline-gpu"
)


@dataclass(frozen=True, kw_only=True)
class RooflineConfig:
    """A roofline machine."""

    peak_macs_per_s: Mapping[str, float] = parameter(
        'sustained peak per pair of widths, keys "WxA" with weight bits first; 32 is floating point', "MAC/s", above=0
    )
    bandwidth_bytes_per_s: float = parameter("sustained main memory bandwidth", "B/s", above=0)
    scaling: str = parameter(
        'what pairs that are not listed do: "none" run in the fastest listed kernel that holds them, "bit-serial" have '
        'a kernel of their own at a rate that falls with w * a, "linear" with max(w, a)',
        default="none", choices=("none", "bit-serial", "linear"),
    )  # fmt: skip
    scaled_bits: int = parameter("widest operand that scaling covers", "bit", default=8, low=1, high=WIDEST)
    packed: bool = parameter(
        "tensors are stored at their own bits; otherwise at those of the kernel they run in", default=False
    )
    output_bits: int = parameter(
        "width of outputs that leave the chip; 32 where partial sums leave it, 0 for the row's activation bits", "bit",
        default=0, low=0, high=64,
    )  # fmt: skip
    output_passes: int = parameter(
        "times that outputs cross the memory port; 2 where accumulators are read before they are written",
        default=1, low=1, high=2,
    )  # fmt: skip
    on_chip_bytes: float = parameter("on-chip memory; 0 is without limit", "B", default=0.0, low=0)
    on_chip_bytes_per_s: float = parameter("its bandwidth; 0 is without limit", "B/s", default=0.0, low=0)
    on_chip_reuse: float = parameter(
        "multiply-accumulates that each operand serves per read from on-chip memory; 0 reads each byte from main "
        "memory once and no more", "MAC", default=0.0, low=0,
    )  # fmt: skip
    activations_on_chip: bool = parameter(
        "inputs and outputs of a row that fit in on-chip memory together never leave the chip", default=False
    )
    reduction_lanes: int = parameter(
        "products summed at once; the reduction length is charged in multiples of it (not depthwise rows)",
        default=1, low=1,
    )  # fmt: skip
    output_lanes: int = parameter(
        "output channels at once; they are charged in multiples of it (not depthwise rows)", default=1, low=1
    )
    depthwise_utilisation: float = parameter(
        "share of the peak that depthwise convolutions reach", default=1.0, above=0, high=1
    )
    overhead_s: float = parameter("fixed time of each row that runs, whatever the batch", "s", default=0.0, low=0)
    glue: bool = parameter(
        "charge rows between compute layers for their bytes and the overhead (reshapes are free)", default=False
    )
    energy_per_mac_j: Mapping[str, float] = parameter(
        "energy per multiply-accumulate, same keys as the peaks; without it there is no energy model", "J", default={},
        low=0,
    )  # fmt: skip
    energy_per_dram_byte_j: float = parameter("energy per byte of main memory traffic", "J/B", default=0.0, low=0)
    energy_per_on_chip_byte_j: float = parameter("energy per byte of on-chip traffic", "J/B", default=0.0, low=0)
    static_w: float = parameter("power that is drawn all the time", "W", default=0.0, low=0)

    def __post_init__(self) -> None:
        validate(self)
        _kernels(self)
        if self.activations_on_chip and not self.on_chip_bytes:
            raise InputError("the key 'activations_on_chip' needs 'on_chip_bytes', the size of the memory they stay in")
        for key in ("energy_per_dram_byte_j", "energy_per_on_chip_byte_j", "static_w"):
            if getattr(self, key) and not self.energy_per_mac_j:
                raise InputError(f"the key {key!r} needs the table 'energy_per_mac_j'; zeros are allowed there")


def _kernels(config: RooflineConfig) -> Any:
    peaks = parse_pairs(config.peak_macs_per_s, "peak_macs_per_s")
    energies = parse_pairs(config.energy_per_mac_j, "energy_per_mac_j")
    return kernels(peaks, energies, config.scaling, config.scaled_bits)


class Roofline:
    """Prices rows on a roofline machine.

    ``latency = max(slots / peak(w, a), dram / bandwidth, on_chip / on_chip_bandwidth) + overhead`` for each row, where
    slots are multiply-accumulates after rounding to lanes. Main memory traffic is weights, touched inputs and outputs;
    where neither operand fits on the chip, one is read again per tile of the other, in the cheaper order.
    """

    def __init__(self, config: RooflineConfig, name: str = "roofline") -> None:
        self.name, self.config = name, config
        self._kernels = _kernels(config)
        self.capabilities = Capabilities(bits=self._kernels.pairs, channel_multiple=granularity(config.output_lanes))

    @property
    def settings(self) -> dict[str, Any]:
        """Configuration and rules, as JSON values."""
        rules = "roofline; an operand that does not fit on the chip makes the other one come again, cheaper order"
        return {"family": "roofline", "simulated": True, "rules": rules, "config": to_dict(self.config)}

    def roof(self, w_bits: int, a_bits: int) -> Roof | None:
        """Peak and main memory bandwidth at one pair of widths, or None where no kernel holds them."""
        inside = 1 <= w_bits <= WIDEST and 1 <= a_bits <= WIDEST
        if not inside or not self._kernels.supported[w_bits, a_bits]:
            return None
        return Roof(float(self._kernels.macs_per_s[w_bits, a_bits]), self.config.bandwidth_bytes_per_s)

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        """Time, traffic and energy of every row, ``(..., L)``.

        Raises:
            InputError: a row is wider than every kernel, or the batch is not a positive whole number.
        """
        c, k, work = self.config, self._kernels, workload(table, batch)
        check_widths(table, work, k.supported, self.name, pairs_in_words(k.pairs), _REMEDY)
        at = (np.where(work.is_compute, work.w_bits, 1), np.where(work.is_compute, work.a_bits, 1))
        compute = self._slots(work) / k.macs_per_s[at]
        dram, on_chip = self._bytes(work, *((at[0], at[1]) if c.packed else (k.w_bits[at], k.a_bits[at])))
        runs = work.is_compute
        if c.glue:
            moved, charged = _glue(table, batch)
            dram, on_chip, runs = dram + moved, on_chip + moved, runs | charged
        memory = dram / c.bandwidth_bytes_per_s
        if c.on_chip_bytes_per_s:
            memory = np.maximum(memory, on_chip / c.on_chip_bytes_per_s)
        busy = np.maximum(compute, memory)
        overhead = np.where(runs, c.overhead_s, 0.0)
        latency = busy + overhead
        bound = np.where(
            overhead > busy, "overhead", np.where((compute >= memory) & work.is_compute, "compute", "memory")
        )
        parts: dict[str, FloatArray] = {}
        if k.energy_per_mac_j is not None:
            parts = {
                "compute": work.macs * k.energy_per_mac_j[at], "dram": dram * c.energy_per_dram_byte_j,
                "buffers": on_chip * c.energy_per_on_chip_byte_j, "static": latency * c.static_w,
            }  # fmt: skip
        energy = np.asarray(sum(parts.values())) if parts else None
        return Cost(latency, energy, traffic_bytes=dram, bound=bound, energy_parts=parts)

    def _slots(self, work: Workload) -> FloatArray:
        """Multiply-accumulates that the array is busy for, idle lanes included."""
        c = self.config
        if c.reduction_lanes == c.output_lanes == 1:
            dense = work.macs.astype(np.float64)
        else:
            k, m = (-(-size // n) * n for size, n in ((work.k, c.reduction_lanes), (work.m, c.output_lanes)))
            dense = np.maximum(np.asarray(k * m * work.n * work.count, dtype=np.float64), work.macs)
        return np.where(work.is_depthwise, work.macs / c.depthwise_utilisation, dense)

    def _bytes(self, work: Workload, w_bits: Any, a_bits: Any) -> tuple[FloatArray, FloatArray]:
        """Bytes from and to main memory, and from and to on-chip memory."""
        c = self.config
        weights, inputs = work.weights * w_bits / 8, work.inputs * a_bits / 8
        outputs = work.outputs * np.where(c.output_bits > 0, c.output_bits, a_bits) / 8 * c.output_passes
        dram = weights + inputs + outputs
        if c.on_chip_bytes:
            each = np.maximum(work.count, 1)
            needed = (tiles(operand / each, c.on_chip_bytes) for operand in (weights, inputs))
            dram = sum(reread(weights, inputs, *needed), outputs)
        on_chip = np.maximum(dram, weights + inputs + outputs)
        if c.on_chip_reuse:
            on_chip = np.maximum(on_chip, work.macs * (w_bits + a_bits) / 8 / c.on_chip_reuse + outputs)
        if c.activations_on_chip:
            # weights of a layer count in any case; those of an attention product are activations too
            stay = inputs + outputs + np.where(work.weight_like, 0.0, weights) <= c.on_chip_bytes
            dram = np.where(stay, np.where(work.weight_like, weights, 0.0), dram)
        return np.where(work.is_compute, dram, 0.0), np.where(work.is_compute, on_chip, 0.0)


def _glue(table: LayerTable, batch: int) -> tuple[FloatArray, Any]:
    """Bytes of rows that compute nothing, at their activation bits, and which of them are charged."""
    charged = ~table.is_compute & (table.kind != KIND["reshape"])
    return np.where(charged, table.moved * table.a_bits / 8 * batch, 0.0), charged

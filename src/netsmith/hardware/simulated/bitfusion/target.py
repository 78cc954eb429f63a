"""Target family ``bitfusion``: latency, energy and traffic of a Bit Fusion array. Simulated: nothing here was measured.

H. Sharma et al., "Bit Fusion: Bit-Level Dynamically Composable Architecture for Accelerating Deep Neural Network", ISCA
2018, in the form of the authors' public simulator, whose results for dense layers it reproduces exactly.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np

from netsmith.errors import InputError
from netsmith.hardware.simulated.bitfusion.config import BitFusionConfig
from netsmith.hardware.simulated.bitfusion.mapping import Mapping, assemble, depthwise_rows
from netsmith.hardware.simulated.bitfusion.search import COLUMNS, energies_pj, search
from netsmith.hardware.simulated.bitfusion.workload import RULE, Dense, parallelism, workload
from netsmith.hardware.simulated.workload import granularity
from netsmith.hardware.table.keys import unique_keys
from netsmith.hardware.target import Capabilities, Cost, Roof
from netsmith.network.layers import IntArray, LayerTable

#: Mappings that are kept; the oldest go first. About 400 bytes each.
_KEPT = 2**16
_RULES = {
    "mapping": "fewest cycles, then least energy, over all tiles (powers of two and the dimension) and loop orders; "
    "the kernel is not tiled",
    "operands": "p = int(max/max(a,min)) * int(max/max(w,min)) products per Fusion Unit and cycle; traffic has the "
    "true bits",
    "energy": "no leakage, and none for stalled cycles, as published",
    "first layer": "dense convolutions of more than one pixel on at most im2col_channels input channels are im2col",
}
_EXTENSIONS = {
    "depthwise": "depthwise_lanes * p products a cycle, calibrated to APQ's published table and not exact; every "
    "operand moved once",
    "groups": "groups of a convolution are dense convolutions one after the other",
    "products": "heads and samples of a product of activations take turns; the second operand is priced as weights",
    "wide operands": "operands above max_bits are taken in two halves, a cycle for each pair",
}


class BitFusion:
    """Prices rows on a Bit Fusion array; the mapping of every row is the best one there is.

    Attributes:
        name: of the target.
        config: parameters of the array.
    """

    def __init__(self, config: BitFusionConfig, name: str | None = None) -> None:
        self.config = config
        self.name = name or config.name
        c = config
        side = [*range(1, c.max_bits + 1), *([2 * c.max_bits] if c.extensions else [])]
        pairs = [(w, a) for w in reversed(side) for a in reversed(side) if (w, a) != (c.max_bits, c.max_bits)]
        self.capabilities = Capabilities(
            bits=((c.max_bits, c.max_bits), *sorted(pairs, key=lambda pair: max(pair) > c.max_bits)),
            channel_multiple=granularity(min(c.rows, c.columns)), measured=False, monotone=False,
        )  # fmt: skip
        self._kept: dict[bytes, IntArray] = {}
        self._lock = threading.Lock()

    @property
    def settings(self) -> dict[str, Any]:
        """Configuration and rules that results are to be read with, as JSON values."""
        return {
            "family": "bitfusion", "simulated": True, "config": dataclasses.asdict(self.config), "rules": dict(_RULES),
            "extensions": dict(_EXTENSIONS) if self.config.extensions else {},
        }  # fmt: skip

    def roof(self, w_bits: int, a_bits: int) -> Roof | None:
        """Every Fusion Unit busy in every cycle, and the bandwidth of main memory; None for widths that it lacks."""
        c = self.config
        if not (1 <= w_bits <= c.widest_bits and 1 <= a_bits <= c.widest_bits):
            return None
        products, passes = parallelism(c, np.array(a_bits), np.array(w_bits))
        return Roof(c.units * float(products) / float(passes) * c.clock_hz, c.dram_bits_per_cycle / 8 * c.clock_hz)

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        """Latency, energy, traffic and cycles of every row, ``(..., L)``, for the whole batch; glue costs nothing.

        A row is bound by memory where moving its data takes longer than computing it.

        Raises:
            InputError: a row is in floating point, too wide, needs an extension that is off, or fits no memory; the
                batch is not a whole number above 0.
        """
        found = self.mapping(table, batch)
        c = self.config
        parts = {part: pj * 1e-12 for part, pj in energies_pj(found.counts, c).items()}
        moved = found.dram_read_bits + found.dram_write_bits
        cycles = found.cycles.astype(np.float64)
        computes = (found.compute_cycles > 0) & (found.compute_cycles >= moved / c.dram_bits_per_cycle)
        return Cost(
            latency_s=cycles / c.clock_hz, energy_j=np.asarray(sum(parts.values())), traffic_bytes=moved / 8,
            bound=np.where(computes, "compute", "memory"), cycles=cycles, energy_parts=parts,
        )  # fmt: skip

    def mapping(self, table: LayerTable, batch: int = 1) -> Mapping:
        """How every row is executed and what is counted on the way, ``(..., L)``.

        Raises:
            InputError: as :meth:`cost`.
        """
        work = workload(table, batch, self.config, self.name)
        mapped, depthwise = work.mapped, work.rule == RULE["depthwise"]
        rows = np.zeros((*table.kind.shape, len(COLUMNS)), dtype=np.int64)
        rows[mapped] = self._best(work.rows(mapped))
        bad = np.argwhere(mapped & (rows[..., 0] == 0))
        if len(bad):
            raise InputError(
                f"layer {table.names[int(bad[0][-1])]!r} fits the memories of target {self.name} with no tile; give it "
                "larger ones (wbuf_bytes, ibuf_bytes, obuf_bytes), or the layer fewer bits"
            )
        rows[depthwise] = depthwise_rows(work.rows(depthwise), work.repeats[depthwise], self.config)
        return assemble(rows, np.where(depthwise, 1, work.repeats), work.rule, work.extension)

    def _best(self, dense: Dense) -> IntArray:
        """Mappings of dense layers ``(P,)``: distinct ones once, and those that were searched before not again."""
        distinct, inverse = unique_keys(np.stack(dense, axis=-1))
        keys = [row.tobytes() for row in np.ascontiguousarray(distinct)]
        with self._lock:
            known = [self._kept.get(key) for key in keys]
        rows = np.empty((len(keys), len(COLUMNS)), dtype=np.int64)
        missing = np.array([row is None for row in known], dtype=np.bool_)
        if missing.any():
            rows[missing] = search(Dense(*distinct[missing].T), self.config)
        held = [row for row in known if row is not None]
        if held:
            rows[~missing] = np.stack(held)
        with self._lock:
            for i in np.flatnonzero(missing)[-_KEPT:].tolist():
                self._kept[keys[i]] = rows[i].copy()
            for key in list(self._kept)[: max(len(self._kept) - _KEPT, 0)]:
                del self._kept[key]
        return np.asarray(rows[inverse])

"""What bounds a row whose time was measured: compute, memory, or the overhead of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from netsmith.hardware.target import FloatArray, Roof
from netsmith.network.layers import KINDS, LayerTable

if TYPE_CHECKING:
    from netsmith.hardware.table.latency import LatencyTable

SHORT_S = 1e-6  #: what takes less time is mostly the clock


def least_traffic(table: LayerTable) -> FloatArray:
    """Bytes that a row must read and write at least: inputs, weights, output; ``(..., L)``."""
    a_bytes = np.where(table.a_bits <= 8, 1.0, 4.0)
    w_bytes = np.where(table.w_bits <= 8, 1.0, 4.0)
    return np.asarray(table.moved * a_bytes + table.weights * w_bytes, dtype=np.float64)


def bound_of(table: LayerTable, latency: FloatArray, measured: LatencyTable) -> NDArray[np.str_]:
    """A row that runs at a third of the machine's best rate is bound by compute, a tiny one by overhead."""
    integer = (table.a_bits <= 8) & (table.w_bits <= 8)
    peaks = _peaks(measured)
    peak = np.where(integer, peaks[1], peaks[0])
    share = np.where(peak > 0, table.macs / np.maximum(latency * np.maximum(peak, 1.0), 1e-30), 0.0)
    bound = np.where(share >= 1 / 3, "compute", "memory")
    return np.where((latency < 3e-6) & (share < 1 / 3), "overhead", bound)


def roof_seen(measured: LatencyTable, bits: int) -> Roof | None:
    """The best rates that a table has seen: of integer or floating-point layers, and of bytes in any row.

    No row that it prices is above: rates are of the same times and bytes as those of rows, and what lies between
    measured channel counts is no faster than both.
    """
    peak, rates = _peaks(measured)[int(bits <= 8)], [0.0]
    for key in measured.entries:
        seconds = measured.seconds(key)
        if seconds >= SHORT_S:
            operands = 2 if KINDS[key.kind] in ("add", "mul") else 1
            moved = operands * key.c_in * key.h_in * key.w_in + key.c_out * key.h_out * key.w_out
            rates.append((1.0 if key.bits == 8 else 4.0) * (moved + key.stored) / seconds)
    return Roof(peak, max(rates), SHORT_S) if peak and max(rates) else None


def _peaks(measured: LatencyTable) -> tuple[float, float]:
    """Fastest multiply-accumulates a second that the table has seen, floating point and integer."""
    peaks = [0.0, 0.0]
    for key in measured.entries:
        if key.computes and (seconds := measured.seconds(key)) >= SHORT_S:
            i = int(key.bits == 8)
            peaks[i] = max(peaks[i], key.macs / seconds)
    return peaks[0], peaks[1]

"""Latency tables of devices that cannot run Python: single layers go there as ONNX files, their times come back.

:func:`write_layers` writes a folder with files, a manifest, a readme and ``timings.csv`` to fill in;
:func:`read_timings` makes a latency table of it, which ``table:FILE`` prices; :func:`measure_here` does all of it on
the machine that netsmith runs on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from netsmith.hardware.devices.exchange.read import read_timings
from netsmith.hardware.devices.exchange.write import new_folder, write_layers
from netsmith.network.layers import LayerTable

if TYPE_CHECKING:
    from netsmith.hardware.measured.cpu import Progress
    from netsmith.hardware.table.latency import LatencyTable

__all__ = ["measure_here", "new_folder", "read_timings", "write_layers"]


def measure_here(
    table: LayerTable, *, threads: int = 1, path: Path | None = None, progress: Progress | None = None
) -> LatencyTable:
    """Measure every row of ``table`` (any population) on this machine, as target ``cpu`` does.

    Args:
        threads: intra-operator threads.
        path: where to keep the latency table, as well as what is there already; by default this device's in the cache.
        progress: called with (done, all).

    Raises:
        InputError: the file at ``path`` is of another device, or a row cannot be run.
    """
    from netsmith.hardware.measured.cpu import CpuTarget

    target = CpuTarget(threads, path=path)
    target.prepare(table, progress)
    return target.table

"""Times that another device has sent back, as a latency table."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.hardware.devices.exchange.manifest import Layer, Manifest, read_manifest
from netsmith.hardware.devices.exchange.write import quantizing
from netsmith.hardware.devices.readers.assemble import Time
from netsmith.hardware.devices.readers.columns import columns_of, time_of
from netsmith.hardware.devices.readers.raw import Raw, read_raw
from netsmith.hardware.table.calibration import Calibration
from netsmith.hardware.table.entry import Entry
from netsmith.hardware.table.keys import Key
from netsmith.hardware.table.latency import LatencyTable
from netsmith.hardware.table.numbers import whole
from netsmith.network.layers import KINDS

_STATED = ("device", "runtime", "threads", "date")
_SHOWN = 3


def read_timings(folder: Path, timings: Path | None = None, *, max_drift: float = 0.2) -> LatencyTable:
    """Make a latency table of the times of the files that :func:`write_layers` wrote.

    Args:
        folder: what ``write_layers`` wrote.
        timings: the filled-in table; ``timings.csv`` in the folder by default.
        max_drift: largest over smallest time of the control layer, minus 1, that passes as steady.

    Returns:
        A table that ``save`` writes and ``table:FILE`` prices; layers whose lines were deleted are not in it.

    Raises:
        InputError: a file, a line or the device's record lacks, the device was not steady, or a layer takes no time.
    """
    manifest = read_manifest(folder)
    raw = read_raw(timings or folder / "timings.csv")
    found = _times(raw, manifest)
    drift, control = _drift(raw, manifest, found, max_drift)
    entries, lost = _entries(manifest, found)
    if lost:
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        raise InputError(
            f"{raw.path}: {', '.join(lost[:_SHOWN])}{more} take no longer with the layer than without it; time them "
            "and their without-files again with more runs, or delete their lines"
        )
    if not entries:
        raise InputError(f"{raw.path} has no layer in it whose file and without-file are both timed")
    device: dict[str, object] = {k: v for k, v in raw.meta.items() if k != "date"}
    device["processor"] = device["device"]
    table = LatencyTable(
        target="exchange", threads=whole(raw.meta["threads"], f"{raw.path}, threads"), device=device, entries=entries,
        channel_multiple=manifest.channel_multiple,
        fingerprint=hashlib.sha256(json.dumps(device, sort_keys=True).encode()).hexdigest()[:16],
        campaigns=[{
            "date": raw.meta["date"], "keys": len(entries), "drift": round(drift, 4), "control_s": control,
            "source": raw.path.name,
        }],
    )  # fmt: skip
    table.calibration = _calibration(manifest, found, table)
    return table


def _times(raw: Raw, manifest: Manifest) -> dict[str, list[Time]]:
    """File -> its times in order."""
    for name in _STATED:
        if not str(raw.meta.get(name, "")).strip():
            raise InputError(f"{raw.path} does not say the {name}; fill in the line `# {name}:` at its head")
    whole(raw.meta["threads"], f"{raw.path}, threads")
    if raw.rows is None or "file" not in raw.head:
        raise InputError(f"{raw.path} has no column 'file'; keep the columns of the template")
    columns = columns_of(raw, list(raw.head))
    known = {file for layer in (manifest.control, *manifest.layers) for file in (layer.file, layer.without)}
    known |= {network.file for network in manifest.networks}
    found: dict[str, list[Time]] = defaultdict(list)
    for line in raw.rows:
        name = str(line.cells.get("file", ""))
        if name not in known:
            hint = did_you_mean(name, sorted(known))
            raise InputError(f"{raw.path}, {line.where}: {shown(name)} is no file of the manifest{hint}")
        time = time_of(raw, line, columns)
        if time.seconds <= 0 or time.runs < 1:
            runs = f"{time.runs} runs" if time.runs else "no number of runs"
            raise InputError(
                f"{raw.path}, {line.where}: {shown(name)} has {runs} of {time.seconds:g} s; both must be above 0"
            )
        found[name].append(time)
    return found


def _drift(raw: Raw, manifest: Manifest, found: dict[str, list[Time]], max_drift: float) -> tuple[float, list[float]]:
    control = [t.seconds for t in found.get(manifest.control.file, [])]
    if len(control) < 2:
        raise InputError(
            f"{raw.path} has the control {manifest.control.file} fewer than twice; time it wherever the template has it"
        )
    drift = max(control) / min(control) - 1
    if drift > max_drift:
        raise InputError(
            f"{raw.path}: the control layer took {min(control):.3g} to {max(control):.3g} s, {100 * drift:.0f} % "
            "apart: the device was not steady (temperature, power mode, other work); time everything again, or take "
            "it as it is, in Python, with a larger max_drift of read_timings"
        )
    return drift, control


def _entries(manifest: Manifest, found: dict[str, list[Time]]) -> tuple[dict[Key, Entry], list[str]]:
    """Entries of the layers that were timed, and the files of layers that compute but take no time."""
    entries: dict[Key, Entry] = {}
    unseen: dict[Key, tuple[Layer, Entry]] = {}
    lost: list[str] = []
    for layer in manifest.layers:
        pair = [found.get(layer.file, []), found.get(layer.without, [])]
        if not all(pair):
            continue
        key = layer.key
        seconds, without = (float(np.median([t.seconds for t in times])) for times in pair)
        spreads = [t.iqr_s for times in pair for t in times if t.iqr_s is not None]
        iqr = math.hypot(*spreads) / layer.copies if spreads else math.nan
        difference = (seconds - without) / layer.copies
        runs = min(t.runs for times in pair for t in times)
        if difference <= 0 and key.computes:
            unseen[key] = (layer, Entry(difference, iqr, runs, 1.0))
        else:
            entries[key] = Entry(max(0.0, difference), iqr, runs, float(difference > 0))
    best = max((k.macs / e.seconds for k, e in entries.items() if e.seconds > 0), default=0.0)
    for key, (layer, entry) in unseen.items():
        if best > 0 and max(key.macs / best, -entry.seconds) < entry.iqr_s:
            # so small that it is lost in the noise: at the best rate seen it takes less than that
            entries[key] = replace(entry, seconds=key.macs / best)
        elif layer.wanted:  # of those for calibration only, a few may go
            lost.append(layer.file)
    for key in [k for k in entries if KINDS[k.kind] == "dequantize"]:
        within = entries.get(quantizing(key))
        if within is None:
            del entries[key]
        else:
            old = entries[key]
            entries[key] = Entry(max(0.0, old.seconds - within.seconds), old.iqr_s, old.n, old.nodes)
    return entries, lost


def _calibration(manifest: Manifest, found: dict[str, list[Time]], table: LatencyTable) -> Calibration | None:
    """Fit of the sums over layers to the whole networks; None if they were not timed."""
    from netsmith.hardware.measured.calibrate import fit

    rows, whole = [], []
    for network in manifest.networks:
        if network.file in found and not table.missing(network.keys):
            times = [(k.bits == 8, table.seconds(k)) for k in network.keys]
            rows.append([*(sum(t for is_8, t in times if is_8 == integer) for integer in (False, True)), 1.0])
            whole.append(float(np.median([t.seconds for t in found[network.file]])))
    return fit(np.array(rows), np.array(whole), (0.2, 5.0)) if len(whole) >= 4 else None

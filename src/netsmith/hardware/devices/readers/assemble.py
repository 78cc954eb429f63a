"""Keys and times of a user's table, put together with what the file says about where they come from."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from netsmith.errors import InputError
from netsmith.hardware.devices.readers.raw import Raw
from netsmith.hardware.table.entry import Entry
from netsmith.hardware.table.keys import IntArray, Key, as_key
from netsmith.hardware.table.latency import LatencyTable
from netsmith.hardware.table.numbers import whole

_NOT_OF_DEVICE = ("unit", "layout", "batch", "energy_unit", "channel_multiple")


@dataclass(frozen=True)
class Time:
    """A time of the file: where it stands, seconds, interquartile range, runs, joules."""

    where: str
    seconds: float
    iqr_s: float | None = None
    runs: int = 0
    energy_j: float | None = None


def assemble(
    raw: Raw, columns: tuple[str, ...], names: tuple[str, ...], keys: IntArray, times: list[Time]
) -> LatencyTable:
    """The table of keys ``(U, K)`` and their times; of layers that occur more than once the median counts."""
    gathered: dict[Key, list[Time]] = defaultdict(list)
    for key, time in zip(keys.tolist(), times, strict=True):
        gathered[as_key(key)].append(time)
    unpriced = [t.where for t in times if t.energy_j is None]
    if unpriced and len(unpriced) < len(times):
        raise InputError(f"{raw.path}, {unpriced[0]}: the energy is empty, but other layers have one; fill it in")
    if not any(t.seconds > 0 for t in times):
        raise InputError(f"{raw.path}: every time is 0; give measured ones")
    said = {k: v for k, v in raw.meta.items() if k not in _NOT_OF_DEVICE and _is_plain(v)}
    device = {k: v for k, v in said.items() if k != "date"} or {"processor": "not stated"}
    if "device" in device and "processor" not in device:
        device["processor"] = device["device"]
    campaign: dict[str, object] = {
        "source": raw.path.name, "keys": len(gathered), "date": str(said.get("date", "not stated")),
        "unit": str(raw.meta.get("unit", "in the columns")), "repeated": len(times) - len(gathered),
    }  # fmt: skip
    return LatencyTable(
        target="table", threads=_number(raw, "threads", 0), device=device, campaigns=[campaign],
        fingerprint=hashlib.sha256(json.dumps(device, sort_keys=True).encode()).hexdigest()[:16],
        entries={k: _entry(v) for k, v in gathered.items()}, columns=columns, names=names,
        batch=_number(raw, "batch", 1), channel_multiple=_number(raw, "channel_multiple", 1),
    )  # fmt: skip


def _entry(times: list[Time]) -> Entry:
    seconds = np.array([t.seconds for t in times])
    energies = [t.energy_j for t in times if t.energy_j is not None]
    spreads = [t.iqr_s for t in times if t.iqr_s is not None]
    low, high = np.percentile(seconds, [25, 75])
    iqr = float(high - low) if len(times) > 1 else spreads[0] if spreads else math.nan
    return Entry(
        float(np.median(seconds)), iqr, sum(t.runs for t in times), 1.0,
        float(np.median(energies)) if len(energies) == len(times) else None,
    )  # fmt: skip


def _number(raw: Raw, name: str, default: int) -> int:
    return whole(raw.meta[name], f"{raw.path}, {name}") if name in raw.meta else default


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)

"""Latency tables: measured times of layers with their spread, unit, device and date; a JSON file, no pickles."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.hardware.keys import Key, describe
from netsmith.hardware.microbench import Entry
from netsmith.network.layers import COMPUTE_KINDS

FORMAT = "netsmith-latency-table/1"
_FIELDS = (
    "format", "unit", "target", "threads", "batch", "fingerprint", "device", "date", "campaigns", "calibration",
    "columns", "rows", "seconds", "iqr_s", "n", "nodes",
)  # fmt: skip


@dataclass(frozen=True)
class Calibration:
    """From single layers to a whole network: ``T = beta + gamma * sum_i t_i``, in seconds.

    Attributes:
        gamma: what a layer takes in a network over what it takes among copies of itself; (floating point, integer).
        beta_s: each run, for the call and its feeds.
        residual: largest relative error on the networks that were fitted.
    """

    gamma: tuple[float, float]
    beta_s: float
    residual: float


@dataclass
class LatencyTable:
    """Key -> time for one device and thread count.

    Attributes:
        device: the readable record of the device; ``fingerprint`` is its hash.
        campaigns: date, number of keys and control drift of every campaign that went into the table.
        interpolate: price missing channel counts between measured ones, linearly; off by default.
    """

    target: str
    threads: int
    fingerprint: str
    device: Mapping[str, object]
    entries: dict[Key, Entry] = field(default_factory=dict)
    calibration: Calibration | None = None
    campaigns: list[dict[str, object]] = field(default_factory=list)
    interpolate: bool = False

    def missing(self, keys: list[Key]) -> list[Key]:
        """Keys that the table cannot price."""
        return [k for k in keys if k not in self.entries and not (self.interpolate and self._corners(k))]

    def seconds(self, key: Key) -> float:
        """Time of a layer inside a network, never negative.

        Raises:
            InputError: the key was not measured and cannot be interpolated.
        """
        entry = self.entries.get(key)
        if entry is not None:
            return self._corrected(entry, key.bits)
        corners = self._corners(key) if self.interpolate else []
        if not corners:
            raise InputError(
                f"the latency table has no {describe(key)}; measure it first (targets measure), or allow interpolation "
                "between measured channel counts"
            )
        return sum(w * self._corrected(self.entries[k], key.bits) for k, w in corners)

    def price(self, keys: NDArray[np.int64]) -> NDArray[np.float64]:
        """Times of distinct keys, ``(U, 14)`` to ``(U,)``."""
        return np.array([self.seconds(Key(*row)) for row in keys.tolist()], dtype=np.float64)

    def _corrected(self, entry: Entry, bits: int) -> float:
        return entry.seconds * (1.0 if self.calibration is None else self.calibration.gamma[int(bits == 8)])

    def _corners(self, key: Key) -> list[tuple[Key, float]]:
        """Measured keys around ``key`` in its channel counts, with weights that sum to 1; empty if outside of them."""
        tied = key.groups > 1 and key.groups == key.c_in
        same = [
            k for k in self.entries
            if (k[0], *k[3:6], *k[7:]) == (key[0], *key[3:6], *key[7:])
            and (k.groups == k.c_in if tied else k.groups == key.groups)
        ]  # fmt: skip
        if tied or (key.kind >= COMPUTE_KINDS and key.c_in == key.c_out):
            line = {k.c_in: k for k in same if k.c_in == k.c_out}
            around = _around(key.c_in, line)
            if around or tied:
                return [(line[c], w) for c, w in around]
        grid = {(k.c_in, k.c_out): k for k in same}
        ins = _around(key.c_in, {k.c_in: k for k in same})
        outs = _around(key.c_out, {k.c_out: k for k in same})
        corners = [((a, b), u * v) for a, u in ins for b, v in outs]
        if not corners or any(c not in grid for c, _ in corners):
            return []
        return [(grid[c], w) for c, w in corners]

    # ---- file -------------------------------------------------------------------------------------------------------

    def merged(self, other: LatencyTable) -> LatencyTable:
        """This table with the entries of ``other`` that it lacks."""
        return replace(
            self,
            entries={**other.entries, **self.entries},
            calibration=self.calibration or other.calibration,
            campaigns=self.campaigns + [c for c in other.campaigns if c not in self.campaigns],
        )

    def save(self, path: Path) -> None:
        """Write atomically; a reader sees the old file or the new one."""
        keys = list(self.entries)
        record: dict[str, Any] = {
            "format": FORMAT, "unit": "seconds", "target": self.target, "threads": self.threads, "batch": 1,
            "fingerprint": self.fingerprint, "device": dict(self.device),
            "date": datetime.now(UTC).isoformat(timespec="seconds"), "campaigns": self.campaigns,
            "calibration": None if self.calibration is None else vars(self.calibration),
            "columns": list(Key._fields), "rows": [list(k) for k in keys],
            "seconds": [self.entries[k].seconds for k in keys], "iqr_s": [self.entries[k].iqr_s for k in keys],
            "n": [self.entries[k].n for k in keys], "nodes": [self.entries[k].nodes for k in keys],
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(record, file)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: Path, fingerprint: str | None = None) -> LatencyTable:
        """Read a table.

        Args:
            path: file that :meth:`save` wrote.
            fingerprint: hash of the device that is asked about; None accepts any.

        Raises:
            InputError: the file is no table, is incomplete, or is of another device.
        """
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} cannot be read as a latency table ({error}); delete it or measure again"
            ) from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise InputError(f"{path} is not a latency table of format {FORMAT}; measure again")
        lacking = [f for f in _FIELDS if f not in record]
        if lacking:
            raise InputError(f"{path} is an incomplete latency table: it lacks {', '.join(lacking)}; measure again")
        if record["unit"] != "seconds":
            raise InputError(f"{path} is in {record['unit']!r}, not in seconds; convert it or measure again")
        if fingerprint is not None and record["fingerprint"] != fingerprint:
            device = record["device"].get("processor", "unknown") if isinstance(record["device"], dict) else "unknown"
            raise InputError(
                f"{path} was measured on another device or runtime ({device}, {record['fingerprint']}), not on this "
                f"one ({fingerprint}); measure again here"
            )
        try:
            return cls(
                target=record["target"], threads=int(record["threads"]), fingerprint=record["fingerprint"],
                device=record["device"], entries=_entries(record), calibration=_calibration(record["calibration"]),
                campaigns=list(record["campaigns"]),
            )  # fmt: skip
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(f"{path} is a damaged latency table: {error}; measure again") from error


def _entries(record: dict[str, Any]) -> dict[Key, Entry]:
    if tuple(record["columns"]) != Key._fields:
        raise ValueError(f"columns {record['columns']} are not {list(Key._fields)}")
    columns = [record[k] for k in ("seconds", "iqr_s", "n", "nodes")]
    if any(len(c) != len(record["rows"]) for c in columns):
        raise ValueError("its columns differ in length")
    entries = {}
    for row, seconds, iqr, n, nodes in zip(record["rows"], *columns, strict=True):
        if not (math.isfinite(seconds) and seconds >= 0 and n > 0):
            raise ValueError(f"row {row} has {n} runs of {seconds} s")
        entries[Key(*(int(v) for v in row))] = Entry(float(seconds), float(iqr), int(n), float(nodes))
    return entries


def _calibration(record: Any) -> Calibration | None:
    if record is None:
        return None
    gamma = (float(record["gamma"][0]), float(record["gamma"][1]))
    return Calibration(gamma, float(record["beta_s"]), float(record["residual"]))


def _around(value: int, known: Mapping[int, object]) -> list[tuple[int, float]]:
    """The nearest measured counts at or around ``value`` with linear weights; empty outside the measured range."""
    if value in known:
        return [(value, 1.0)]
    low = [k for k in known if k < value]
    high = [k for k in known if k > value]
    if not low or not high:
        return []
    a, b = max(low), min(high)
    return [(a, (b - value) / (b - a)), (b, (value - a) / (b - a))]


def cache_folder() -> Path:
    """Where measured tables are kept: ``NETSMITH_CACHE`` or ``~/.cache/netsmith``."""
    return Path(os.environ.get("NETSMITH_CACHE") or Path.home() / ".cache" / "netsmith")


def cached_path(target: str, threads: int, fingerprint: str) -> Path:
    """File of a device's table in the cache."""
    return cache_folder() / fingerprint / f"{target}-threads{threads}.json"

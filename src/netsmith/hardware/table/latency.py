"""Latency tables: times of layers with their spread, unit, device and date, measured here or brought by the user."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.hardware.table import file
from netsmith.hardware.table.calibration import Calibration
from netsmith.hardware.table.columns import FREE, Schema, describe_row
from netsmith.hardware.table.entry import METHOD, Entry
from netsmith.hardware.table.interpolation import Interpolation, Row
from netsmith.hardware.table.keys import IntArray, Key, as_key, describe, keys_of
from netsmith.network.layers import LayerTable

FloatArray = NDArray[np.float64]


@dataclass
class LatencyTable:
    """Key -> time for one device and thread count.

    Attributes:
        device: the readable record of the device; ``fingerprint`` is its hash.
        campaigns: date, number of keys and control drift of every campaign that went into the table.
        interpolate: price missing channel counts between measured ones, linearly; off by default.
        columns: of the keys; those of :class:`Key`, or those that a user's table has.
        names: layer names of a table that has the column "name".
        batch: samples in a run.
        method: the way in which netsmith measured it (``entry.METHOD``); a user's table has no meaning for it.
        channel_multiple: granularity of the channel counts that were measured.
    """

    target: str
    threads: int
    fingerprint: str
    device: Mapping[str, object]
    entries: dict[Key, Entry] = field(default_factory=dict)
    calibration: Calibration | None = None
    campaigns: list[dict[str, Any]] = field(default_factory=list)
    interpolate: bool = False
    columns: tuple[str, ...] = Key._fields
    names: tuple[str, ...] = ()
    batch: int = 1
    method: int = METHOD
    channel_multiple: int = 1
    _made: tuple[int, Schema, Interpolation] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def measured_here(self) -> bool:
        """Whether the keys are those that netsmith itself measures; otherwise the table is a user's."""
        return self.columns == Key._fields

    @property
    def schema(self) -> Schema:
        """What the table tells layers apart by."""
        return self._derived()[0]

    def _derived(self) -> tuple[Schema, Interpolation]:
        if self._made is None or self._made[0] != len(self.entries):
            schema = Schema.of(self.columns, self.names, self.entries)
            self._made = (len(self.entries), schema, Interpolation(self.entries, self.columns))
        return self._made[1:]

    def keys(self, table: LayerTable) -> IntArray:
        """Keys of the rows of a layer table, ``(..., L)`` to ``(..., L, K)``."""
        return keys_of(table) if self.measured_here else self.schema.keys(table)

    def missing(self, keys: Iterable[Row]) -> list[Key]:
        """Keys that the table cannot price."""
        return [as_key(k) for k in keys if not self._known(k)]

    def _known(self, key: Row) -> bool:
        return key in self.entries or key[0] == FREE or (self.interpolate and bool(self._corners(key)))

    def seconds(self, key: Row) -> float:
        """Time of a layer inside a network, never negative.

        Raises:
            InputError: the key was not measured and cannot be interpolated.
        """
        return sum(weight * self._corrected(k) for k, weight in self._parts(key))

    def price(self, keys: IntArray) -> FloatArray:
        """Times of distinct keys, ``(U, K)`` to ``(U,)``."""
        return np.array([self.seconds(as_key(row)) for row in keys.tolist()], dtype=np.float64)

    @property
    def has_energy(self) -> bool:
        """Whether every row has an energy."""
        return bool(self.entries) and all(e.energy_j is not None for e in self.entries.values())

    def energy(self, keys: IntArray) -> FloatArray:
        """Energies of distinct keys, ``(U, K)`` to ``(U,)``, joules; for a table that has them."""
        parts = (self._parts(as_key(row)) for row in keys.tolist())
        return np.array([sum(w * (self.entries[k].energy_j or 0.0) for k, w in p) for p in parts], dtype=np.float64)

    def describe(self, key: Row) -> str:
        """A key in words, for messages."""
        return describe(as_key(key)) if self.measured_here else describe_row(key, self.columns, self.names)

    def _parts(self, key: Row) -> list[tuple[Key, float]]:
        """Measured keys whose weighted sum is the price of ``key``."""
        if key in self.entries:
            return [(as_key(key), 1.0)]
        if key[0] == FREE:
            return []
        corners = self._corners(key) if self.interpolate else []
        if not corners:
            raise InputError(
                f"the latency table has no {self.describe(key)}; measure it first (targets measure), or allow "
                "interpolation between measured channel counts"
            )
        return corners

    def _corrected(self, key: Key) -> float:
        gamma = 1.0 if self.calibration is None else self.calibration.gamma[int(self.is_integer(key))]
        return self.entries[key].seconds * gamma

    def is_integer(self, key: Row) -> bool:
        """Whether a key is of an integer kernel; a table without bits is taken for floating point."""
        if self.measured_here:
            return as_key(key).bits == 8
        return "a_bits" in self.columns and 0 < key[self.columns.index("a_bits")] <= 8

    def _corners(self, key: Row) -> list[tuple[Key, float]]:
        return [(as_key(k), w) for k, w in self._derived()[1].corners(key)]

    def merged(self, other: LatencyTable) -> LatencyTable:
        """This table with the entries of ``other`` that it lacks; both have the same columns.

        A campaign that goes on is in both, in two states: that of this table counts.
        """
        own = {c.get("date") for c in self.campaigns}
        return replace(
            self,
            entries={**other.entries, **self.entries},
            calibration=self.calibration or other.calibration,
            campaigns=self.campaigns + [c for c in other.campaigns if c.get("date") not in own],
        )

    def save(self, path: Path) -> None:
        """Write atomically; a reader sees the old file or the new one."""
        file.save(path, vars(self))

    @classmethod
    def load(cls, path: Path, fingerprint: str | None = None) -> LatencyTable:
        """Read a table.

        Args:
            path: file that :meth:`save` wrote.
            fingerprint: hash of the device that is asked about; None accepts any.

        Raises:
            InputError: the file is no table, is incomplete, or is of another device.
        """
        return cls(**file.load(path, fingerprint))


def cache_folder() -> Path:
    """Where measured tables are kept: ``NETSMITH_CACHE`` or ``~/.cache/netsmith``."""
    return Path(os.environ.get("NETSMITH_CACHE") or Path.home() / ".cache" / "netsmith")


def cached_path(target: str, threads: int, fingerprint: str) -> Path:
    """File of a device's table in the cache."""
    return cache_folder() / fingerprint / f"{target}-threads{threads}.json"

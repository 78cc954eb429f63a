"""Target ``table:FILE``: prices layers from a look-up table, netsmith's own or the user's; measures nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.hardware.table.keys import IntArray, unique_keys
from netsmith.hardware.table.limits import bound_of, least_traffic, roof_seen
from netsmith.hardware.table.mbconv import MBCONV
from netsmith.hardware.target import Capabilities, Cost, Roof, register_target
from netsmith.network.layers import LayerTable
from netsmith.units import count_of

if TYPE_CHECKING:
    from netsmith.hardware.table.latency import LatencyTable

MISSING = ("error", "zero")
OPTIONS = ("unit", "layout", "interpolate", "missing", "multiple")
_SHOWN = 5


class TableTarget:
    """Prices rows from a table; layers that the table does not have are an error unless the user says otherwise.

    Rows are priced independently of each other, save by a table of whole blocks (the layouts of ProxylessNAS and
    once-for-all): there the time of an inverted residual block stands at its depthwise convolution and the other rows
    of the block are free, so layers must come in the order of execution.

    Args:
        source: a file in any layout of :mod:`netsmith.hardware.devices.readers`, or a table.
        unit: of the times, where the file does not say: ``s``, ``ms``, ``us``, ``ns`` or ``cycles@200MHz``.
        layout: ``bits`` or ``channels``, for nested tables by layer name that could be either.
        interpolate: price channel counts between measured ones, linearly.
        missing: what a layer without a price is: an ``error``, or ``zero`` seconds.
        multiple: granularity of the channel counts to choose from; that of the file by default, or else 1.

    Raises:
        InputError: the file cannot be read; it names line and column.
    """

    name = "table"

    def __init__(
        self, source: Path | LatencyTable, *, unit: str | None = None, layout: str | None = None,
        interpolate: bool = False, missing: str = "error", multiple: int | None = None,
    ) -> None:  # fmt: skip
        from netsmith.hardware.devices.readers import read_table

        if missing not in MISSING:
            hint = did_you_mean(missing, list(MISSING))
            raise InputError(f"target table: missing is {' or '.join(MISSING)}, not {shown(missing)}{hint}")
        self.path = source if isinstance(source, Path) else None
        found = read_table(source, unit=unit, layout=layout) if isinstance(source, Path) else source
        self.table = replace(found, interpolate=bool(interpolate))
        self.interpolate = bool(interpolate)
        self.missing = missing
        self.capabilities = Capabilities(
            bits=self._bits(), channel_multiple=multiple or self.table.channel_multiple, measured=True, monotone=False,
            by_row=self.table.measured_here or MBCONV not in self.table.schema.ignored,
        )  # fmt: skip

    def _bits(self) -> tuple[tuple[int, int], ...]:
        if self.table.measured_here:
            return ((32, 32), (8, 8))
        return self.table.schema.all_widths or ((32, 32),)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Where the times come from and how they are to be read."""
        return {
            "file": str(self.path or ""), "device": dict(self.table.device), "batch": self.table.batch,
            "campaigns": list(self.table.campaigns), "columns": list(self.table.columns),
            "interpolate": self.interpolate, "missing": self.missing,
        }  # fmt: skip

    def prepare(self, table: LayerTable, progress: object = None) -> None:
        """Refuse a table that lacks a row of ``table`` before anything else is done; nothing is measured.

        Raises:
            InputError: it lacks one, and ``missing`` is ``error``.
        """
        self._look_up(table, refuse=self.missing == "error")

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        """Latency and, where the table has it, energy of every row, ``(..., L)``.

        Raises:
            InputError: the batch is not that of the table, or it lacks a row and ``missing`` is ``error``.
        """
        if batch != self.table.batch:
            raise InputError(f"{self._called} has times of batch {self.table.batch}, not {batch}; price that batch")
        keys, where, known = self._look_up(table, refuse=self.missing == "error")
        seconds = np.zeros(len(keys))
        seconds[known] = self.table.price(keys[known])
        energy = None
        if self.table.has_energy:
            joules = np.zeros(len(keys))
            joules[known] = self.table.energy(keys[known])
            energy = joules[where]
        calibration = self.table.calibration
        return Cost(
            latency_s=seconds[where],
            energy_j=energy,
            traffic_bytes=least_traffic(table),
            bound=bound_of(table, seconds[where], self.table) if self.table.measured_here else None,
            fixed_s=0.0 if calibration is None else calibration.beta_s,
        )

    def roof(self, w_bits: int, a_bits: int) -> Roof | None:
        """The best rates that the table has seen; None for a table of the user's own layout."""
        return roof_seen(self.table, max(w_bits, a_bits)) if self.table.measured_here else None

    def unpriced(self, table: LayerTable) -> tuple[str, ...]:
        """Names of the layers that the table cannot price, in any design of a population."""
        _, where, known = self._look_up(table)
        lacking = (~known[where]).reshape(-1, len(table)).any(axis=0)
        return tuple(table.names[i] for i in np.flatnonzero(lacking))

    def _look_up(self, table: LayerTable, refuse: bool = False) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
        """Distinct keys, which row has which, and which the table can price; all of them if ``refuse``."""
        keys, where = unique_keys(self.table.keys(table))
        lacking = set(self.table.missing(map(tuple, keys.tolist())))
        known = np.array([tuple(k) not in lacking for k in keys.tolist()], dtype=bool)
        if refuse and not known.all():
            raise InputError(self._lacks(table, keys, where.reshape(-1, len(table)), known))
        return keys, where, known

    def _lacks(self, table: LayerTable, keys: IntArray, rows: IntArray, known: NDArray[np.bool_]) -> str:
        """What is missing, in a sentence, for ``rows (N, L)`` of keys."""
        lacking = ~known[rows]
        names = [table.names[i] for i in np.flatnonzero(lacking.any(axis=0))]
        shown = list(dict.fromkeys(names))
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        first = self.table.describe(tuple(keys[rows[lacking][0]].tolist()))
        several = len(shown) < len(names) or len(rows) > 1  # a search asks for a layer in many sizes
        sizes = f", in {int((~known).sum())} of {len(known)} sizes and bit-widths" if several else ""
        remedies = ["add them to the table"]
        if several and self.table.measured_here:
            remedies = ["add them with `netsmith targets measure MODEL --space`, which has all that compress may try"]
        elif several and self.capabilities.channel_multiple == 1:
            remedies += ["name the step of its channel counts (multiple=16)"]
        remedies += ["allow interpolate=1"] * (not self.interpolate)
        return (
            f"{self._called} has no time for {len(shown)} of {len(set(table.names))} layers{sizes}: "
            f"{', '.join(shown[:_SHOWN])}{more} (the first is {first}); {', '.join(remedies)} or count them as nothing "
            "with missing=zero"
        )

    @property
    def _called(self) -> str:
        return str(self.path or "the latency table")


@register_target("table")
def table(argument: str = "", **options: Any) -> TableTarget:
    """``table:FILE``, ``table:FILE,unit=ms,interpolate=1,missing=zero,layout=bits,multiple=8``."""
    settings: dict[str, Any] = {}
    words = argument.split(",")
    while len(words) > 1 and words[-1].partition("=")[0] in OPTIONS and "=" in words[-1]:
        name, _, value = words.pop().partition("=")
        if name == "interpolate" and value not in ("0", "1"):
            raise InputError(f"target table: interpolate is 0 or 1, not {shown(value)}")
        settings[name] = value == "1" if name == "interpolate" else value
        if name == "multiple":
            if not (count := count_of(value)):
                raise InputError(f"target table: multiple is a whole number of channels above 0, not {shown(value)}")
            settings[name] = count
    if len(words) > 1 and "=" in words[-1] and not os.path.exists(",".join(words)):
        name = words[-1].partition("=")[0]
        raise InputError(
            f"target table has no option {shown(words[-1])}{did_you_mean(name, list(OPTIONS))}; write "
            "table:FILE,unit=ms,interpolate=1,missing=zero"
        )
    settings |= options
    file = ",".join(words) or settings.pop("path", "")
    settings.pop("path", None)
    if not file:
        raise InputError("target table needs a file: write table:FILE")
    return TableTarget(Path(file), **settings)

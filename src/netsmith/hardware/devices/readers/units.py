"""Units of a user's times and energies: in the name of a column, in what a file says about itself, or as an option."""

from __future__ import annotations

import re
from types import MappingProxyType

from netsmith.errors import InputError, shown

SECONDS = MappingProxyType({
    "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
    "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "usec": 1e-6, "microsecond": 1e-6, "microseconds": 1e-6,
    "ns": 1e-9, "nsec": 1e-9, "nanosecond": 1e-9, "nanoseconds": 1e-9,
})  # fmt: skip
JOULES = MappingProxyType({
    "j": 1.0, "joule": 1.0, "joules": 1.0, "mj": 1e-3, "uj": 1e-6, "µj": 1e-6, "μj": 1e-6, "nj": 1e-9, "pj": 1e-12,
})  # fmt: skip
_CYCLES = re.compile(r"cycles\s*@\s*([0-9]{1,20}(?:\.[0-9]*)?)\s*(k|M|G|)Hz", re.IGNORECASE)
_PREFIX = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_NAMED = re.compile(r"^(.*?)[\s_]*[\[(]?([a-zµμ]+)[\])]?$")


def seconds_per(unit: str, where: str) -> float:
    """Seconds of one unit of time, or of one cycle for ``cycles@200MHz``.

    Args:
        where: the file, for the message.

    Raises:
        InputError: no such unit.
    """
    text = unit.strip()
    if text.lower() in SECONDS:
        return SECONDS[text.lower()]
    cycles = _CYCLES.fullmatch(text)
    if cycles and float(cycles[1]) > 0:
        return 1.0 / (float(cycles[1]) * _PREFIX[cycles[2].lower()])
    raise InputError(f"{where}: {shown(unit)} is no unit of time; write s, ms, us, ns or cycles@200MHz")


def split_unit(column: str, units: MappingProxyType[str, float]) -> tuple[str, float | None]:
    """``latency_ms`` or ``latency (ms)`` -> (``latency``, 1e-3); None where the name has no unit."""
    name = column.strip().lower()
    found = _NAMED.match(name)
    if found and found[2] in units and (found[1] or found[2] not in ("s", "j")):
        return found[1].rstrip(" _-"), units[found[2]]
    return name, None

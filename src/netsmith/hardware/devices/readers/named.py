"""Layout "named": times by layer name, and below it by bits (HAQ) or by channels (NetAdapt).

``bits``: ``{layer: [[...], ...]}`` with ``[w_bits - 1][a_bits - 1]``. ``channels``: ``{layer: [[...], ...]}`` with
``[c_out - 1][c_in - 1]``, or ``{layer: {c_out: {c_in: time}}}``. ``null`` is not measured. Plain numbers,
``{layer: time}``, are times of the layers as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from netsmith.errors import InputError, shown
from netsmith.hardware.devices.readers.assemble import Time, assemble
from netsmith.hardware.devices.readers.raw import MOST_TIMES, Raw
from netsmith.hardware.devices.readers.units import seconds_per
from netsmith.hardware.table.latency import LatencyTable
from netsmith.hardware.table.numbers import MOST_BITS, number, whole

_MOST_BITS = 8
_COLUMNS = {"bits": ("name", "w_bits", "a_bits"), "channels": ("name", "c_out", "c_in"), "plain": ("name",)}


def read_named(raw: Raw) -> LatencyTable:
    """A mapping from layer names to times as a latency table.

    Raises:
        InputError: no unit, a value that is no time, or lists that could be by bits or by channels.
    """
    if "unit" not in raw.meta:
        raise InputError(
            f"{raw.path} does not say the unit of its times; give unit=ms (cycles: unit=cycles@200MHz), or write "
            '{"unit": "ms", "layers": {...}}'
        )
    scale = seconds_per(str(raw.meta["unit"]), str(raw.path))
    layout = _layout(raw)
    names = tuple(raw.tree)
    keys: list[tuple[int, ...]] = []
    times: list[Time] = []
    for i, (name, value) in enumerate(raw.tree.items()):
        cells = [((), value)] if layout == "plain" else _cells(raw, name, value)
        for index, cell in cells:
            if len(keys) == MOST_TIMES:
                raise InputError(f"{raw.path} has more than {MOST_TIMES} times; give those of fewer channel counts")
            keys.append((i, *index))
            if layout == "bits" and max(index) > MOST_BITS:
                raise InputError(f"{raw.path}: {name} has a time at {max(index)} bits; widths are 1 to {MOST_BITS}")
            times.append(Time(name, _number(raw, name, index, cell) * scale))
    if not keys:
        raise InputError(f"{raw.path} has no time in it")
    # netsmith keeps input channels before output channels
    columns, order = _COLUMNS[layout], [0, 2, 1] if layout == "channels" else slice(None)
    columns = tuple(np.array(columns)[order].tolist())
    return assemble(raw, columns, names, np.array(keys, dtype=np.int64)[:, order], times)


def _layout(raw: Raw) -> str:
    values = list(raw.tree.values())
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return "plain"
    said = raw.meta.get("layout")
    if said is not None:
        if said not in ("bits", "channels"):
            raise InputError(f"{raw.path}: layout is bits or channels, not {shown(said)}")
        return str(said)
    for name, value in raw.tree.items():
        if not isinstance(value, list | dict) and any(isinstance(v, int | float) for v in values):
            number(value, f"{raw.path}, {name}")  # times of layers as they are, one of which is none
    if any(isinstance(v, dict) for v in values):
        return "channels"
    lists = [v for v in values if isinstance(v, list)]
    rows = [r for v in lists for r in v]
    if len(lists) == len(values) and all(isinstance(r, list) for r in rows):
        if all(len(v) == _MOST_BITS for v in lists) and all(len(r) == _MOST_BITS for r in rows):
            return "bits"
        if max((len(r) for r in [*lists, *rows]), default=0) > _MOST_BITS:
            return "channels"
    raise InputError(
        f"{raw.path} has lists by layer name that could be by bits or by channels; say layout=bits or layout=channels"
    )


def _cells(raw: Raw, name: str, value: Any) -> Iterator[tuple[tuple[int, int], Any]]:
    for first, row in _items(raw, name, value):
        for second, cell in _items(raw, f"{name}[{first}]", row):
            if cell is not None:
                yield (first, second), cell


def _items(raw: Raw, where: str, value: Any) -> Iterator[tuple[int, Any]]:
    """Positions count from 1; keys of a mapping are the counts themselves."""
    seen: set[int] = set()
    if isinstance(value, list):
        yield from enumerate(value, 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            count = whole(key, f"{raw.path}, {where}")
            if count in seen:
                raise InputError(f"{raw.path}: {where} has two entries for {count}; keep one")
            seen.add(count)
            yield count, item
    else:
        raise InputError(f"{raw.path}: {where} is {shown(value)}, neither a list nor a mapping of times")


def _number(raw: Raw, name: str, index: tuple[int, ...], value: Any) -> float:
    where = f"{name}{''.join(f'[{i}]' for i in index)}"
    return number(value, f"{raw.path}, {where}")

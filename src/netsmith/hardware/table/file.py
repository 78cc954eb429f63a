"""Netsmith's own format of a latency table: one JSON file with units, device, date, runs and spread, no pickles."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from netsmith.errors import InputError, one_line, shown
from netsmith.files import read_json, write_atomic
from netsmith.hardware.table.calibration import Calibration
from netsmith.hardware.table.columns import ANY, COLUMNS, describe_row
from netsmith.hardware.table.entry import METHOD, Entry
from netsmith.hardware.table.interpolation import Row
from netsmith.hardware.table.keys import Key, as_key, describe
from netsmith.hardware.table.mbconv import MBCONV
from netsmith.hardware.table.numbers import MOST, number, whole
from netsmith.network.layers import ACTIVATIONS, KINDS

FORMAT = "netsmith-latency-table/1"
_KINDS_OF: dict[str, Any] = {
    "target": str, "fingerprint": str, "device": dict, "campaigns": list, "columns": list, "rows": list, "names": list,
    "seconds": list, "iqr_s": list, "n": list, "nodes": list, "energy_j": list,
}  # fmt: skip
_WORDS = {str: "a text", dict: "a mapping", list: "a list"}
_FIELDS = (
    "format", "unit", "target", "threads", "batch", "fingerprint", "device", "date", "campaigns", "calibration",
    "columns", "rows", "seconds", "iqr_s", "n", "nodes",
)  # fmt: skip


def save(path: Path, fields: Mapping[str, Any]) -> None:
    """Write the fields of a ``LatencyTable`` atomically; a reader sees the old file or the new one."""
    entries: dict[Key, Entry] = fields["entries"]
    calibration = fields["calibration"]
    record: dict[str, Any] = {
        "format": FORMAT, "unit": "seconds", "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **{
            k: fields[k]
            for k in ("target", "threads", "batch", "fingerprint", "campaigns", "method", "channel_multiple")
        },
        "device": dict(fields["device"]), "calibration": None if calibration is None else vars(calibration),
        "columns": list(fields["columns"]), "rows": [list(k) for k in entries],
        "seconds": [e.seconds for e in entries.values()],
        "iqr_s": [None if math.isnan(e.iqr_s) else e.iqr_s for e in entries.values()],
        "n": [e.n for e in entries.values()], "nodes": [e.nodes for e in entries.values()],
    }  # fmt: skip
    if fields["names"]:
        record["names"] = list(fields["names"])
    if any(e.energy_j is not None for e in entries.values()):
        record["energy_j"] = [e.energy_j for e in entries.values()]
    write_atomic(path, json.dumps(record))


def load(path: Path, fingerprint: str | None = None) -> dict[str, Any]:
    """The fields that :func:`save` wrote; see :meth:`LatencyTable.load`."""
    record = read_json(path, "measure again", "latency table")
    if not is_own(record):
        raise InputError(f"{path} is not a latency table of format {FORMAT}; measure again")
    lacking = [f for f in _FIELDS if f not in record]
    if lacking:
        raise InputError(f"{path} is an incomplete latency table: it lacks {', '.join(lacking)}; measure again")
    if record["unit"] != "seconds":
        raise InputError(f"{path} is in {shown(record['unit'])}, not in seconds; convert it or measure again")
    if fingerprint is not None and record["fingerprint"] != fingerprint:
        device = record["device"] if isinstance(record["device"], dict) else {}
        which = [one_line(str(v), 60) for v in (device.get("processor", "unknown"), record["fingerprint"])]
        raise InputError(
            f"{path} was measured on another device or runtime ({', '.join(which)}), not "
            "on this "
            f"one ({fingerprint}); measure again here"
        )
    method = record.get("method", 1)
    if fingerprint is not None and method != METHOD:
        raise InputError(
            f"{path} was measured in another way (method {shown(method)}, not {METHOD}), and times of both cannot "
            "be mixed; "
            "measure again"
        )
    try:
        for name, kind in _KINDS_OF.items():
            if not isinstance(record.get(name, kind()), kind):
                raise InputError(f"{name} is {shown(record[name])}, not {_WORDS[kind]}")
        names = tuple(str(n) for n in record.get("names", ()))
        columns = tuple(map(str, record["columns"]))
        if columns != Key._fields and (not columns or not set(columns) <= set(COLUMNS)):
            raise InputError(f"columns {shown(', '.join(columns) or 'none')} are not {', '.join(Key._fields)}")
        if not all(isinstance(c, dict) and isinstance(c.get("control_s", []), list) for c in record["campaigns"]):
            raise InputError("a campaign is no mapping")
        return {
            "target": record["target"], "threads": whole(record["threads"], "threads", least=0),
            "fingerprint": record["fingerprint"], "device": record["device"],
            "entries": _entries(record, columns, names), "calibration": calibration(record["calibration"]),
            "campaigns": record["campaigns"], "columns": columns, "names": names,
            "batch": whole(record["batch"], "batch"), "method": whole(method, "method"),
            "channel_multiple": whole(record.get("channel_multiple", 1), "channel_multiple"),
        }  # fmt: skip
    except InputError as error:
        raise InputError(f"{path} is a damaged latency table: {error}; measure again") from error


def is_table(path: Path) -> bool:
    """Whether a file is a table in netsmith's own format."""
    try:
        return is_own(read_json(path, ""))
    except InputError:
        return False


def is_own(record: Any) -> bool:
    """Whether a JSON value is a table in netsmith's own format."""
    return isinstance(record, dict) and record.get("format") == FORMAT


def _entries(record: dict[str, Any], columns: tuple[str, ...], names: tuple[str, ...]) -> dict[Key, Entry]:
    rows = record["rows"]
    energies = record.get("energy_j") or [None] * len(rows)
    values = [record[k] for k in ("seconds", "iqr_s", "n", "nodes")] + [energies]
    if any(len(c) != len(rows) for c in values):
        raise InputError("its columns differ in length")
    own = columns == Key._fields  # what netsmith measures has runs; a user's table may not say
    entries: dict[Key, Entry] = {}
    for i, (row, seconds, iqr, n, nodes, energy) in enumerate(zip(rows, *values, strict=True), 1):
        key = _key(row, f"entry {i}", columns, names)
        layer = f"entry {i} ({describe(as_key(key)) if own else describe_row(key, columns, names)})"
        if key in entries:
            raise InputError(f"{layer} is there twice")
        where = f"{layer}, "
        entries[as_key(key)] = Entry(
            number(seconds, where + "seconds"), math.nan if iqr is None else number(iqr, where + "iqr_s"),
            whole(n, where + "n", least=int(own)), number(nodes, where + "nodes"),
            None if energy is None else number(energy, where + "energy_j"),
        )  # fmt: skip
    return entries


def _key(row: Any, where: str, columns: tuple[str, ...], names: tuple[str, ...]) -> Row:
    """One row of numbers; -1 where a user's table does not tell layers apart by a column."""
    if not isinstance(row, list) or len(row) != len(columns):
        raise InputError(f"{where}: {shown(row)} does not have {len(columns)} values")
    least = 0 if columns == Key._fields else ANY
    for column, value in zip(columns, row, strict=True):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
            raise InputError(f"{where}: {column} is {shown(value)}, no whole number of {least} to 10^9")
    found = dict(zip(columns, row, strict=True))
    if "name" in found and not 0 <= found["name"] < len(names):
        raise InputError(f"{where} has no name")
    if "kind" in found and not (0 <= found["kind"] < len(KINDS) or found["kind"] == MBCONV):
        raise InputError(f"{where}: there is no kind {found['kind']} of layers")
    if found.get("activation", 0) >= len(ACTIVATIONS):
        raise InputError(f"{where}: there is no activation {found['activation']}")
    return tuple(row)


def is_key(row: Any) -> bool:
    """Whether a JSON value is a key of a layer that netsmith measures."""
    try:
        _key(row, "", Key._fields, ())
    except InputError:
        return False
    return True


def calibration(record: Any) -> Calibration | None:
    """A calibration from the JSON of a file.

    Raises:
        InputError: a number lacks or cannot be; names it.
    """
    if record is None:
        return None
    gamma = record.get("gamma") if isinstance(record, dict) else None
    if not isinstance(gamma, list | tuple) or len(gamma) != 2:
        raise InputError(f"the calibration is {shown(record)}, it lacks its two factors gamma")
    rank = record.get("rank")
    if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int | float) or not -1 <= rank <= 1):
        raise InputError(f"calibration, rank: {shown(rank)} is no number from -1 to 1")
    floating, integer = (number(g, "calibration, gamma", above=True) for g in gamma)
    beta, residual = (number(record.get(k), f"calibration, {k}") for k in ("beta_s", "residual"))
    return Calibration((floating, integer), beta, residual, None if rank is None else float(rank))

"""Netsmith's own format of a latency table: one JSON file with units, device, date, runs and spread, no pickles."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from netsmith.errors import InputError
from netsmith.files import write_atomic
from netsmith.hardware.table.calibration import Calibration
from netsmith.hardware.table.columns import COLUMNS
from netsmith.hardware.table.entry import METHOD, Entry
from netsmith.hardware.table.interpolation import Row
from netsmith.hardware.table.keys import Key, as_key

FORMAT = "netsmith-latency-table/1"
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
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a latency table ({error}); delete it or measure again") from error
    if not is_own(record):
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
    method = record.get("method", 1)
    if fingerprint is not None and method != METHOD:
        raise InputError(
            f"{path} was measured in another way (method {method}, not {METHOD}), and times of both cannot be mixed; "
            "measure again"
        )
    try:
        names = tuple(str(n) for n in record.get("names", ()))
        columns = tuple(record["columns"])
        if columns != Key._fields and (not columns or not set(columns) <= set(COLUMNS)):
            raise ValueError(f"columns {list(columns)} are not {list(Key._fields)}")
        return {
            "target": record["target"], "threads": int(record["threads"]), "fingerprint": record["fingerprint"],
            "device": record["device"], "entries": _entries(record, columns, names),
            "calibration": _calibration(record["calibration"]), "campaigns": list(record["campaigns"]),
            "columns": columns, "names": names, "batch": int(record["batch"]),
            "method": int(method),
            "channel_multiple": max(1, int(record.get("channel_multiple", 1))),
        }  # fmt: skip
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"{path} is a damaged latency table: {error}; measure again") from error


def is_own(record: Any) -> bool:
    """Whether a JSON value is a table in netsmith's own format."""
    return isinstance(record, dict) and record.get("format") == FORMAT


def _entries(record: dict[str, Any], columns: tuple[str, ...], names: tuple[str, ...]) -> dict[Key, Entry]:
    energies = record.get("energy_j") or [None] * len(record["rows"])
    values = [record[k] for k in ("seconds", "iqr_s", "n", "nodes")] + [energies]
    if any(len(c) != len(record["rows"]) for c in values):
        raise ValueError("its columns differ in length")
    least = 1 if columns == Key._fields else 0  # what netsmith measures has runs; a user's table may not say
    entries = {}
    for row, seconds, iqr, n, nodes, energy in zip(record["rows"], *values, strict=True):
        if len(row) != len(columns):
            raise ValueError(f"row {row} has {len(row)} values for {len(columns)} columns")
        if not (math.isfinite(seconds) and seconds >= 0 and n >= least):
            raise ValueError(f"row {row} has {n} runs of {seconds} s")
        key: Row = tuple(int(v) for v in row)
        if "name" in columns and not 0 <= key[columns.index("name")] < len(names):
            raise ValueError(f"row {row} has no name")
        entries[as_key(key)] = Entry(
            float(seconds), math.nan if iqr is None else float(iqr), int(n), float(nodes),
            None if energy is None else float(energy),
        )  # fmt: skip
    return entries


def _calibration(record: Any) -> Calibration | None:
    if record is None:
        return None
    gamma = (float(record["gamma"][0]), float(record["gamma"][1]))
    rank = record.get("rank")
    return Calibration(gamma, float(record["beta_s"]), float(record["residual"]), None if rank is None else float(rank))

"""Files to rows with their line numbers, or to a tree; what a file says about itself goes along."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netsmith.errors import InputError, shown
from netsmith.files import check_regular, read_json, read_text
from netsmith.hardware.devices.readers.yaml import read_yaml

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".json", ".yaml", ".yml")
WHAT, REMEDY = "latency table", "docs/devices.md shows how to write one"
MOST_BYTES = 32_000_000  #: of a file; what Python makes of one is up to fifty times larger
MOST_TIMES = 1_000_000  #: layers, or times of layers in all their sizes
_MOST_COLUMNS, _LONGEST = 1000, 200  #: and characters of the name of one
_CONTENT = ("rows", "layers", "blocks", "table")  #: keys below which a JSON or YAML file may keep its times


@dataclass(frozen=True)
class Line:
    """One row of a file: where it is, in words, and its cells; empty cells are left out.

    ``void`` has the cells that are NaN: of a size it means that there is none, as in tables of pandas, but no price.
    """

    where: str
    cells: dict[str, Any]
    void: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """A file as it is.

    Attributes:
        meta: what the file says about itself: unit, device, date, runs, batch...
        rows: its rows, if it is a flat table.
        tree: its content, if it is nested.
        head: names of the columns, those that are empty everywhere too.
    """

    path: Path
    meta: dict[str, Any]
    rows: list[Line] | None = None
    tree: dict[str, Any] = field(default_factory=dict)
    head: tuple[str, ...] = ()


def read_raw(path: Path) -> Raw:
    """Read a file by its suffix.

    Raises:
        InputError: unreadable, larger than any table, or of a suffix that is not known.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _delimited(path, "\t" if suffix == ".tsv" else ",")
    if suffix in (".parquet", ".pq"):
        return _parquet(path)
    if suffix in (".yaml", ".yml"):
        return _nested(path, read_yaml(path, WHAT, REMEDY))
    if suffix == ".json":
        return _nested(path, read_json(path, REMEDY, WHAT, MOST_BYTES))
    raise InputError(f"{path} is not a table that can be read: its name must end in {', '.join(SUFFIXES)}")


def _delimited(path: Path, delimiter: str) -> Raw:
    """Comment lines ``# key: value`` before the header are what the file says about itself."""
    lines = read_text(path, WHAT, REMEDY, MOST_BYTES).splitlines()
    meta: dict[str, Any] = {}
    start = 0
    while start < len(lines) and (not lines[start].strip() or lines[start].lstrip().startswith("#")):
        key, colon, value = lines[start].lstrip("# \t").partition(":")
        if colon and value.strip():
            meta[key.strip().lower()] = value.strip()
        start += 1
    rows = csv.reader(lines[start:], delimiter=delimiter, strict=True)
    try:
        return _separated(path, meta, rows, start)
    except csv.Error as error:
        reason = "a quote is opened and never closed" if "unexpected end" in str(error) else str(error)
        raise InputError(f"{path}, line {start + rows.line_num}: this is no row of cells ({reason})") from error


def _separated(path: Path, meta: dict[str, Any], rows: Any, start: int) -> Raw:
    """Rows of a :func:`csv.reader`, which begin after line ``start``."""
    head = [name.strip() for name in next(rows, [])]
    if not head:
        raise InputError(f"{path} is empty: it needs a line of column names and one line a layer")
    if len(head) == 1 and head[0].count(";") > 1:
        raise InputError(f"{path} separates its columns by semicolons; write commas, and points in numbers")
    found = []
    for cells in rows:
        where = f"line {start + rows.line_num}"
        if not any(c.strip() for c in cells) or cells[0].lstrip().startswith("#"):
            continue
        if len(cells) > len(head):
            raise InputError(f"{path}, {where}: it has {len(cells)} cells but there are {len(head)} columns")
        found.append(Line(where, {k: c.strip() for k, c in zip(head, cells, strict=False) if c.strip()}))
    return Raw(path, meta, _filled(path, found, head), head=tuple(head))


def _parquet(path: Path) -> Raw:
    import pyarrow.parquet as pq

    check_regular(path, WHAT, REMEDY, MOST_BYTES)
    try:
        with pq.ParquetFile(path) as file:
            size = file.metadata.num_rows, file.metadata.num_columns
            table = file.read() if size[0] <= MOST_TIMES and size[1] <= _MOST_COLUMNS else None
        values = [] if table is None else table.to_pylist()
    except Exception as error:  # what its readers raise for damaged files is not said anywhere
        raise InputError(f"{path} cannot be read as parquet: {error}") from error
    if table is None:
        raise InputError(f"{path} has {size[0]} rows of {size[1]} columns, which no latency table has")
    meta = {
        k.decode(errors="replace"): v.decode(errors="replace")
        for k, v in (table.schema.metadata or {}).items()
        if k not in (b"pandas", b"ARROW:schema", b"huggingface")
    }
    head = table.column_names
    return Raw(path, meta, _filled(path, _lines(values), head), head=tuple(head))


def _nested(path: Path, value: Any) -> Raw:
    meta: dict[str, Any] = {}
    if isinstance(value, dict):
        if str(value.get("format")).startswith("netsmith-"):
            return Raw(path, value)
        key = next((k for k in _CONTENT if isinstance(value.get(k), dict | list)), None)
        if key is not None:
            meta = {str(k): v for k, v in value.items() if k != key}
            value = value[key]
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        return Raw(path, meta, _filled(path, _lines(value), []))
    if isinstance(value, dict) and value:
        return Raw(path, meta, tree={str(k): v for k, v in value.items()})
    if isinstance(value, list) and value and isinstance(value[0], list):
        raise InputError(
            f'{path} has times by the number of a layer; write them by name, {{"layer name": [...]}}: the names are '
            "those that `netsmith profile MODEL --json` lists"
        )
    raise InputError(f"{path} holds no latency table: neither a list of layers nor a mapping from layers to times")


def _lines(rows: list[dict[str, Any]]) -> list[Line]:
    found = []
    for i, row in enumerate(rows, 1):
        given = {str(k): v for k, v in row.items() if v is not None and not (isinstance(v, str) and not v.strip())}
        void = {k: v for k, v in given.items() if _is_nan(v)}
        found.append(Line(f"row {i}", {k: v for k, v in given.items() if k not in void}, void))
    return found


def _is_nan(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() == "nan"
    return isinstance(value, float) and math.isnan(value)


def _filled(path: Path, rows: list[Line], head: list[str]) -> list[Line]:
    if not rows:
        raise InputError(f"{path} has no rows; it needs one a layer")
    if len(rows) > MOST_TIMES:
        raise InputError(f"{path} has {len(rows)} rows; at most {MOST_TIMES} are read")
    _check_head(path, head or list(dict.fromkeys(name for line in rows for name in (*line.cells, *line.void))))
    doubled = {name for name in head if name and head.count(name) > 1}
    if doubled:
        raise InputError(f"{path}: there are two columns named {shown(sorted(doubled)[0])}; keep one")
    return rows


def _check_head(path: Path, head: list[str]) -> None:
    """Refuse names of columns which are so many or so long that they are none.

    Raises:
        InputError: they are.
    """
    longest = max(head, key=len, default="")
    if len(longest) > _LONGEST:
        raise InputError(f"{path} has a column {shown(longest)}; names of columns have at most {_LONGEST} characters")
    if len(head) > _MOST_COLUMNS:
        raise InputError(f"{path} has {len(head)} columns; at most {_MOST_COLUMNS} are read")

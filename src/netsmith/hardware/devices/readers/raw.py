"""Files to rows with their line numbers, or to a tree; what a file says about itself goes along."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netsmith.errors import InputError
from netsmith.optional import require

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".json", ".yaml", ".yml")
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
        InputError: unreadable, or of a suffix that is not known.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _delimited(path, "\t" if suffix == ".tsv" else ",")
    if suffix in (".parquet", ".pq"):
        return _parquet(path)
    if suffix in (".yaml", ".yml"):
        yaml = require("yaml", "yaml")
        try:
            value = yaml.load(_text(path), _loader(path))
        except (RecursionError, TypeError) as error:
            raise InputError(f"{path} is nested too deeply, or has keys that are no texts or numbers") from error
        except yaml.YAMLError as error:
            raise InputError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
        return _nested(path, value)
    if suffix == ".json":
        try:
            value = json.loads(_text(path), object_pairs_hook=lambda pairs: _once(path, pairs))
        except RecursionError as error:
            raise InputError(f"{path} is nested too deeply for a latency table") from error
        except ValueError as error:
            raise InputError(f"{path} cannot be read as a latency table, it is no JSON: {error}") from error
        return _nested(path, value)
    raise InputError(f"{path} is not a table that can be read: its name must end in {', '.join(SUFFIXES)}")


def _once(path: Path, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping, none of whose entries is there twice: JSON and YAML would let the last one win in silence."""
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(f"{path} has two entries {key!r}; keep the one that is meant")
        found[key] = value
    return found


def _loader(path: Path) -> Any:
    """A safe loader of YAML that refuses entries which are there twice."""
    yaml = require("yaml", "yaml")

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            self.flatten_mapping(node)
            return _once(
                path, [(self.construct_object(k, True), self.construct_object(v, True)) for k, v in node.value]
            )

    return Loader


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read as a latency table ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no latency table: it is not text in UTF-8; write it so") from error


def _delimited(path: Path, delimiter: str) -> Raw:
    """Comment lines ``# key: value`` before the header are what the file says about itself."""
    lines = _text(path).splitlines()
    meta: dict[str, Any] = {}
    start = 0
    while start < len(lines) and (not lines[start].strip() or lines[start].lstrip().startswith("#")):
        key, colon, value = lines[start].lstrip("# \t").partition(":")
        if colon and value.strip():
            meta[key.strip().lower()] = value.strip()
        start += 1
    rows = csv.reader(lines[start:], delimiter=delimiter)
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
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as parquet: {error}") from error
    meta = {
        k.decode(): v.decode()
        for k, v in (table.schema.metadata or {}).items()
        if k not in (b"pandas", b"ARROW:schema", b"huggingface")
    }
    head = table.column_names
    return Raw(path, meta, _filled(path, _lines(table.to_pylist()), head), head=tuple(head))


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
        given = {str(k): v for k, v in row.items() if v is not None and str(v).strip()}
        void = {k: v for k, v in given.items() if str(v).strip().lower() == "nan"}
        found.append(Line(f"row {i}", {k: v for k, v in given.items() if k not in void}, void))
    return found


def _filled(path: Path, rows: list[Line], head: list[str]) -> list[Line]:
    if not rows:
        raise InputError(f"{path} has no rows; it needs one a layer")
    doubled = {name for name in head if name and head.count(name) > 1}
    if doubled:
        raise InputError(f"{path}: there are two columns named {sorted(doubled)[0]!r}; keep one")
    return rows

"""Layout "rows": a row a layer, columns of any common names, units in the names."""

from __future__ import annotations

from typing import Any

import numpy as np

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.hardware.devices.readers.assemble import assemble
from netsmith.hardware.devices.readers.cells import bits_of, count_of, kind_of, size_of
from netsmith.hardware.devices.readers.columns import Columns, columns_of, time_of
from netsmith.hardware.devices.readers.raw import Line, Raw
from netsmith.hardware.table.columns import ANY, COLUMNS, Schema
from netsmith.hardware.table.keys import IntArray
from netsmith.hardware.table.latency import LatencyTable
from netsmith.network.layers import ACTIVATION, KIND, LayerTable

_RESIZES = ("conv", "maxpool", "avgpool", "pad", "reshape", "other")


def read_rows(raw: Raw) -> LatencyTable:
    """A flat table as a latency table.

    Raises:
        InputError: a column lacks or a cell cannot be read; names the file, the line and the column.
    """
    assert raw.rows is not None
    head = list(dict.fromkeys([*raw.head, *(c for line in raw.rows for c in (*line.cells, *line.void))]))
    found = columns_of(raw, head)
    by_name = "kind" not in found.shape
    for needed in () if by_name and "name" in found.shape else ("kind", "c_in", "c_out"):
        if needed not in found.shape:
            near = did_you_mean(needed, [c for c in head if c not in found.shape.values()])
            raise InputError(
                f"{raw.path} has no column {shown(needed)}{near}; its columns are {', '.join(head)}: a table "
                "needs kind, "
                "c_in, c_out and the sizes of its layers, or their names"
            )
    times = [time_of(raw, line, found) for line in raw.rows]
    keys, columns, names = _by_name(raw, found) if by_name else _by_shape(raw, found)
    return assemble(raw, columns, names, keys, times)


def _by_name(raw: Raw, found: Columns) -> tuple[IntArray, tuple[str, ...], tuple[str, ...]]:
    """A table without kinds: times by the name of the layer and whatever numbers stand beside it."""
    lines = raw.rows or []
    have = [c for c in COLUMNS if c in found.shape and c != "name"]
    if "bits" in found.shape:
        have += [c for c in ("w_bits", "a_bits") if c not in have]
    names = list(dict.fromkeys(str(_need(raw, line, found, "name")) for line in lines))
    index = {name: i for i, name in enumerate(names)}
    keys = [
        [index[str(line.cells[found.shape["name"]])], *(
            count_of(raw, line, found.shape.get(c, found.shape.get("bits", c)), needed=True) for c in have
        )]
        for line in lines
    ]  # fmt: skip
    return np.array(keys, dtype=np.int64), ("name", *have), tuple(names)


def _by_shape(raw: Raw, found: Columns) -> tuple[IntArray, tuple[str, ...], tuple[str, ...]]:
    lines = raw.rows or []
    rows = [_row(raw, line, found) for line in lines]
    sides = [side for side in ("in", "out") if any(f"h_{side}" in row for row in rows)]
    columns = ["kind", "c_in", "c_out", "kernel_h", "kernel_w", "stride", "groups"]
    columns += [f"{axis}_{side}" for side in sides for axis in "hw"]
    columns += ["activation"] * any("activation" in row for row in rows)
    columns += ["w_bits", "a_bits"] * any("a_bits" in row for row in rows)
    columns = [c for c in COLUMNS if c in columns]
    table = LayerTable.from_rows([{"name": line.where} | row for line, row in zip(lines, rows, strict=True)])
    # what a layer is told apart by is worked out as it will be when layers are priced
    keys = Schema(tuple(columns), (), {int(k): () for k in np.unique(table.kind)}, {}).keys(table)
    _blank(raw, keys, columns, rows, table)
    return keys, tuple(columns), ()


def _blank(raw: Raw, keys: IntArray, columns: list[str], rows: list[dict[str, int]], table: LayerTable) -> None:
    """Mark columns that are empty for a whole kind, and refuse those that are empty for a part of it."""
    optional = [c for c in columns if c in ("activation", "w_bits", "a_bits") or c[:2] in ("h_", "w_")]
    lines = raw.rows or []
    for kind in np.unique(table.kind):
        mine = np.flatnonzero(table.kind == kind)
        for column in optional:
            has = np.array([column in rows[i] for i in mine])
            if not has.any():
                keys[mine, columns.index(column)] = ANY
            elif not has.all():
                raise InputError(
                    f"{raw.path}, {lines[mine[~has][0]].where}: {column} is empty, but other layers of its kind have "
                    "it; fill it in"
                )


def _row(raw: Raw, line: Line, found: Columns) -> dict[str, int]:
    """A line as a row of a layer table; what it does not say is left out."""
    word = str(_need(raw, line, found, "kind"))
    kind, implied = kind_of(raw, line, word)
    row: dict[str, int] = {"kind": KIND[kind]}
    for column in ("c_in", "c_out", "stride", "groups"):
        value = count_of(raw, line, found.shape.get(column, ""), square=column == "stride")
        if value is not None:
            row[column] = value
    if "c_in" not in row and "c_out" in row and kind not in ("conv", "linear", "matmul"):
        row["c_in"] = row["c_out"]
    if "c_in" not in row:
        raise InputError(
            f"{raw.path}, {line.where}: column {shown(found.shape['c_in'])} is empty; every layer needs it"
        )
    if "c_out" not in row:
        if kind in ("conv", "linear", "matmul") and "groups" not in implied:
            raise InputError(
                f"{raw.path}, {line.where}: column {shown(found.shape['c_out'])} is empty; every layer needs it"
            )
        row["c_out"] = row["c_in"]
    if implied.get("groups"):
        row.setdefault("groups", row["c_in"])
    row |= {k: v for k, v in implied.items() if k != "groups"}
    for name, axes in (("kernel", ("kernel_h", "kernel_w")), ("in", ("h_in", "w_in")), ("out", ("h_out", "w_out"))):
        row |= size_of(raw, line, found.shape.get(name, ""), axes)
        for axis in axes:
            value = count_of(raw, line, found.shape.get(axis, ""))
            row |= {} if value is None else {axis: value}
        if axes[0] in row:
            row.setdefault(axes[1], row[axes[0]] if name != "in" or kind not in ("linear", "matmul") else 1)
    if kind == "conv" and "kernel_h" not in row:
        raise InputError(f"{raw.path}, {line.where}: a convolution needs its kernel; add a column kernel")
    if kind in ("linear", "matmul"):  # rows of the matrix are its size, on either side
        tokens = row.get("h_out", row.get("h_in", 1))
        row |= {"h_in": tokens, "h_out": tokens, "w_in": 1, "w_out": 1}
    if "h_in" not in row and "h_out" not in row:
        raise InputError(
            f"{raw.path}, {line.where}: a layer of kind {shown(word)} needs the size of its maps; add a column "
            "size (or h "
            "and w) of its input, or out_size of its output"
        )
    if kind not in _RESIZES:
        for axis in "hw":
            known = row.get(f"{axis}_in", row.get(f"{axis}_out", 1))
            row.setdefault(f"{axis}_in", known)
            row.setdefault(f"{axis}_out", known)
    both = bits_of(raw, line, found.shape.get("bits", ""))
    row |= {} if both is None else {"w_bits": both, "a_bits": both}
    for column in ("w_bits", "a_bits"):
        value = bits_of(raw, line, found.shape.get(column, ""))
        row |= {} if value is None else {column: value}
    if "a_bits" in row or "w_bits" in row:
        row.setdefault("w_bits", row.get("a_bits", 0))
        row.setdefault("a_bits", row["w_bits"])
    if (cell := line.cells.get(found.shape.get("activation", ""))) is not None:
        if str(cell).lower() not in ACTIVATION:
            hint = did_you_mean(str(cell).lower(), list(ACTIVATION))
            raise InputError(
                f"{raw.path}, {line.where}: {shown(cell)} is no activation{hint}; known: {', '.join(ACTIVATION)}"
            )
        row["activation"] = ACTIVATION[str(cell).lower()]
    return row


def _need(raw: Raw, line: Line, found: Columns, column: str) -> Any:
    if found.shape[column] not in line.cells:
        raise InputError(
            f"{raw.path}, {line.where}: column {shown(found.shape[column])} is empty; every layer needs it"
        )
    return line.cells[found.shape[column]]

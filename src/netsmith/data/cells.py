"""Cells of an image column of Arrow as file contents, files or arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netsmith.errors import InputError


def contents(column: Any, names: Sequence[str], roots: Sequence[Path]) -> list[bytes | Path | np.ndarray]:
    """Cells of an image column as file contents, files or arrays.

    Structs are read field by field, which is many times faster than ``to_pylist``.

    Args:
        roots: folders that files named by cells may lie in.
    """
    import pyarrow as pa

    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    kind = column.type
    if _is_list(kind):
        return [_array(cell, name) for cell, name in zip(column, names, strict=True)]
    if not pa.types.is_struct(kind):
        return [value if value is not None else b"" for value in column.to_pylist()]  # decoding names an empty row
    fields: dict[str, list[Any]] = {}
    for key in {kind.field(i).name for i in range(kind.num_fields)} & {"bytes", "path"}:
        fields[key] = [v for chunk in column.chunks for v in chunk.field(key).to_pylist()]
    blank: list[Any] = [None] * len(column)
    rows = zip(fields.get("bytes", blank), fields.get("path", blank), names, strict=True)
    return [
        content if content is not None else _inside(path, name, roots) if path else b"" for content, path, name in rows
    ]


def _inside(path: Any, name: str, roots: Sequence[Path]) -> Path:
    """A file that a cell names, if it lies in the data's folder, links resolved.

    Raises:
        InputError: it lies elsewhere: data from others must not open any file of the machine.
    """
    for root in roots:
        found = "" if "\0" in str(path) else os.path.realpath(root / str(path))
        if Path(found).is_relative_to(os.path.realpath(root)):
            return Path(found)
    raise InputError(
        f"{name} names the file {str(path)[:200]!r}, which is not in the data's folder {roots[0]}; "
        "put the images there, or their bytes into the column"
    )


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_array(kind: Any) -> bool:
    """Whether a cell is an array of numbers: lists of lists, perhaps once more."""
    import pyarrow as pa

    depth = 0
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    while _is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth in (2, 3) and bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _array(cell: Any, name: str) -> bytes | np.ndarray:
    """One cell of lists of lists as an array; no bytes, which decoding names, where it is null."""
    import pyarrow.compute as pc

    if not cell.is_valid:
        return b""
    values, shape = cell.values, [len(cell.values)]
    while _is_list(values.type):
        lengths = pc.list_value_length(values).unique().to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            raise InputError(f"{name} is no image: its rows have different lengths; repair or remove it")
        values = values.flatten()
        shape.append(lengths[0])
    if values.null_count:
        raise InputError(f"{name} is no image: it has pixels without a value; repair or remove it")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(shape)

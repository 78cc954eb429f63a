"""Numbers and those that are wanted of them: columns of tables, or what Python holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from netsmith.data.batch import Batch
from netsmith.data.held import finite, pair_of, read_held, whole
from netsmith.data.tables import Table, read_parts
from netsmith.errors import InputError

TARGETS = ("target", "targets", "y", "label", "labels", "value")  #: what has them
INPUTS = ("x", "inputs", "input", "features")
Numbers = dict[str, tuple[Any, torch.Tensor]]  #: of each part inputs, a tensor or several, and targets


def of_tables(data: Any, column: str | None) -> tuple[Numbers, tuple[str, ...]]:
    """Inputs ``(N, columns)`` and targets ``(N,)`` or ``(N, targets)``, float32, of tables.

    A column of lists of one length is so many numbers; columns that are no numbers are left out, which is said.

    Raises:
        InputError: there is no target, no input, or a number is missing.
    """
    found, left = {}, dict[str, None]()
    for key, table in read_parts(data).items():
        wanted = [part.strip() for part in column.split(",")] if column is not None else [None]
        names = [table.column(one, TARGETS, "the target", "--label-column") for one in wanted]
        targets = [_column(table, name) for name in names]
        inputs = []
        for name in table.rows.column_names:
            read = None if name in names else _column(table, name)
            if read is None and name not in names:
                left[name] = None
            inputs += [] if read is None else [read]
        bad = next((name for name, read in zip(names, targets, strict=True) if read is None), None)
        if bad is not None or not inputs:
            what = (
                f"the column {bad!r} has no numbers" if bad is not None else "there is no column of numbers beside it"
            )
            raise InputError(f"{what}, as regression needs them; choose the target with --label-column")
        y = torch.cat([t for t in targets if t is not None], dim=1)
        found[key] = (torch.cat(inputs, dim=1), y[:, 0] if y.shape[1] == 1 else y)
    notes = (f"{', '.join(left)}: no numbers, left out of the inputs",) if left else ()
    return found, notes


def _column(table: Table, name: str) -> torch.Tensor | None:
    """The numbers of a column, ``(N, of a cell)``; None where it has no numbers."""
    cells = table.rows[name]
    try:
        array = np.asarray(cells.to_pylist(), dtype=np.float64)
    except (TypeError, ValueError):
        return None
    array = array.reshape(len(array), -1)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise InputError(
            f"{table.names[bad[0]]} has no number in the column {name!r}; give it a value or remove the row"
        )
    return torch.from_numpy(array.astype(np.float32))


def of_memory(data: Any) -> tuple[Numbers, tuple[str, ...]]:
    """Likewise of what Python holds: inputs keep their shapes and types, targets become floats.

    Raises:
        InputError: they are something else.
    """
    parts, notes = read_held(data, lambda tree: Batch((tree,)))
    found = {}
    for key, part in parts.items():
        tree, what = whole(part, f"the rows of {key}"), f"the rows of {key}"
        inputs: Any
        if isinstance(tree, tuple) and len(tree) > 2:
            inputs, targets = tuple(tree[:-1]), tree[-1]
        else:
            inputs, targets = pair_of(tree, what, (INPUTS, TARGETS))
        for one in inputs if isinstance(inputs, tuple) else (inputs,):
            finite(one, what)
        found[key] = (inputs, finite(targets.float(), what))
    return found, notes

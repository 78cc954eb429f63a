"""Labels as a source has them, to class indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError

HIDDEN = -1  #: label of rows of a part that has no labels, such as a public test part


def to_labels(
    values: Sequence[Any], classes: tuple[str, ...] | None, names: Sequence[str], where: str
) -> NDArray[np.int64]:
    """Labels as integers ``(N,)``; strings become positions in ``classes``.

    A part without any label, all null, is all :data:`HIDDEN`.

    Args:
        values: strings, integers or booleans.
        names: where each row came from, for messages.
        where: the source, for messages.

    Raises:
        InputError: a row has no label or none that is a class; it is named.
    """
    missing = [i for i, v in enumerate(values) if v is None]
    if len(missing) == len(values):
        return np.full(len(values), HIDDEN, dtype=np.int64)
    if missing:
        raise InputError(
            f"{names[missing[0]]} of {where} has no label, and so have {len(missing)} of {len(values)} rows; "
            "label or remove them"
        )
    position = {name: i for i, name in enumerate(classes or ())}
    labels = np.empty(len(values), dtype=np.int64)
    for i, value in enumerate(values):
        if classes is not None and isinstance(value, str) and value in position:
            labels[i] = position[value]
        elif classes is None and isinstance(value, int) and -(2**63) <= value < 2**63:
            labels[i] = value
        else:
            kind = "a floating-point number" if isinstance(value, float) else f"no class ({type(value).__name__})"
            raise InputError(
                f"the label of {names[i]} of {where}, {str(value)[:60]!r}, is {kind}; "
                "give whole numbers or names, or choose another with --label-column"
            )
    return labels


def check_labels(
    labels: NDArray[np.int64], classes: Sequence[str] | None, names: Sequence[str], where: str, rows: int
) -> None:
    """Check that labels are indices of ``classes``, or, where those have no names, that there can be so many.

    Args:
        rows: of all parts together.

    Raises:
        InputError: a negative label, one behind the last class, or one far above the number of rows.
    """
    limit = len(classes) if classes is not None else max(1000, 10 * rows)
    wrong = np.flatnonzero((labels < 0) | (labels >= limit))
    if not len(wrong):
        return
    row, value = names[int(wrong[0])], int(labels[wrong[0]])
    if value < 0:
        why = "negative: classes are numbered from 0"
    elif classes is not None:
        why = f"none of the {limit} classes"
    else:
        why = f"far above the number of rows, {rows}: classes are numbered from 0, or named with --classes FILE"
    raise InputError(f"the label of {row} of {where}, {value}, is {why}; correct it, or choose another --label-column")

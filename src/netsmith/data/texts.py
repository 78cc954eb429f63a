"""Texts with labels: of tables, or what Python holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsmith.data.held import parts_of
from netsmith.data.labels import HIDDEN, to_labels
from netsmith.data.sources import LABEL_NAMES, declared_classes, same_names
from netsmith.data.tables import is_tables, read_parts
from netsmith.errors import InputError, shown

TEXTS = ("text", "sentence", "content", "review", "caption", "question", "document", "title")  #: what has them


@dataclass(frozen=True)
class Texts:
    """Texts of one part, and of each the number of its class."""

    texts: list[str]
    labels: np.ndarray


def read_texts(
    data: Any, text_column: str | None, label_column: str | None, known: Sequence[str] | None
) -> tuple[dict[str, Texts], tuple[str, ...]]:
    """Texts of parts by their usual names, and the names of the classes, their numbers where they have none.

    Args:
        data: tables with a column of texts and one of labels, or pairs ``(text, label)`` in memory, or dicts of these.
        known: names of the classes in their order; left out, it is that which the data declares, or sorted.

    Raises:
        InputError: it has no texts or no labels; names the row or the column.
    """
    read, declared = _of_tables(data, text_column, label_column) if is_tables(data) else _of_memory(data)
    words = {label for _, labels, _ in read.values() for label in labels if isinstance(label, str)}
    classes = tuple(known) if known is not None else declared or tuple(sorted(words)) or None
    found = {}
    for key, (texts, labels, names) in read.items():
        numbers = to_labels(labels, classes if words else None, names, "the data")
        bad = next((i for i, text in enumerate(texts) if not isinstance(text, str) or not text.strip()), None)
        if bad is not None:
            raise InputError(f"{names[bad]} of the {key} part has no text; write one or remove the row")
        if len(numbers) and int(numbers.max()) != HIDDEN:  # a part without labels, such as a public test part
            found[key] = Texts(texts, numbers)
    if not found:
        raise InputError("the data has no texts with labels; give rows of both")
    every = np.concatenate([part.labels for part in found.values()])
    most, least = int(every.max()), int(every.min())
    if least < 0 or (classes is not None and most >= len(classes)):
        raise InputError(
            f"the data has the label {least if least < 0 else most}; number the classes from 0, and name all"
        )
    return found, classes or tuple(str(i) for i in range(most + 1))


_Read = dict[str, tuple[list[Any], list[Any], Sequence[str]]]


def _of_tables(data: Any, text: str | None, label: str | None) -> tuple[_Read, tuple[str, ...] | None]:
    found: _Read = {}
    declared: tuple[str, ...] | None = None
    for key, table in read_parts(data).items():
        texts = table.column(text, TEXTS, "texts", "--text-column")
        labels = table.column(label, LABEL_NAMES, "labels", "--label-column")
        declared = same_names(declared, declared_classes(table.rows.schema, labels, key), f"the {key} part")
        found[key] = (table.rows[texts].to_pylist(), table.rows[labels].to_pylist(), table.names)
    return found, declared


def _of_memory(data: Any) -> tuple[_Read, None]:
    found: _Read = {}
    for key, part in parts_of(data).items():
        texts, labels = [], []
        for i, row in enumerate(part):
            pair = _pair(row)
            if pair is None:
                raise InputError(f"row {i} of the {key} part is {shown(row, 40)}; give pairs of a text and its label")
            texts.append(pair[0])
            labels.append(pair[1].item() if hasattr(pair[1], "item") else pair[1])
        found[key] = (texts, labels, [f"row {i}" for i in range(len(texts))])
    return found, None


def _pair(row: Any) -> tuple[Any, Any] | None:
    if isinstance(row, Mapping):
        text, label = (next((row[n] for n in names if n in row), None) for names in (TEXTS, LABEL_NAMES))
        return None if text is None else (text, label)
    return tuple(row) if isinstance(row, (tuple, list)) and len(row) == 2 else None

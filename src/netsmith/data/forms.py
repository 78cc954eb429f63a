"""Which forms data in memory has."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from netsmith.errors import one_line
from netsmith.usercode import failure

FORMS = (
    "give a DataLoader, a Dataset of torch or of Hugging Face datasets, (inputs, targets) of tensors or arrays, a list "
    "of (input, label) pairs, a dict of these by part (train, search, test), a function that returns one, or a name"
)


def is_rows(data: Any) -> bool:
    """Whether it has rows by number and a length, and is no array or text."""
    if isinstance(data, (str, bytes, Mapping, torch.Tensor, np.ndarray, type, DataLoader, IterableDataset)):
        return False
    return all(hasattr(data, m) for m in ("__len__", "__getitem__"))


def is_pair(data: Any) -> bool:
    """Whether it is (inputs, targets) and no list of two rows."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        return False
    return isinstance(data, tuple) or all(isinstance(v, (torch.Tensor, np.ndarray)) for v in data)


def of_hugging_face(data: Any) -> bool:
    return "datasets" in sys.modules and type(data).__module__.partition(".")[0] == "datasets"


def is_table(data: Any) -> bool:
    """Whether it is a table of Hugging Face's with rows as they are stored: a transform of the user's is run by row."""
    if not of_hugging_face(data) or not all(hasattr(data, m) for m in ("select_columns", "cast_column", "format")):
        return False
    return bool(data.format["type"] != "custom")


def length_of(data: Any) -> int | None:
    """How many rows or batches there are; None where nobody knows, as of streams, and where asking raises."""
    try:
        return len(data)
    except Exception:  # it is the user's own code
        return None


def attribute_of(data: Any, name: str) -> Any:
    """An attribute of the user's, None where there is none or reading it raises."""
    try:
        return getattr(data, name, None)
    except Exception:
        return None


def kind_of(data: Any) -> str:
    if isinstance(data, (torch.Tensor, np.ndarray)):
        return f"a {type(data).__name__} without labels"
    return f"the class {data.__name__}" if isinstance(data, type) else f"a value of type {type(data).__name__}"


def raised(error: BaseException) -> str:
    """What a user's data raised, on one line; a loader's worker process says it at the end of its traceback."""
    said = failure(error, 160)
    return one_line(str(error).strip().splitlines()[-1], 160) if "worker process" in said else said

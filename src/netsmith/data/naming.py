"""A short name for data in memory that is the same in every process: no address, no contents."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netsmith.data.classes import shorten

_MOST = 160  #: characters of a name
_DEPTH = 6  #: of data sets in data sets that are named


def describe(data: Any) -> str:
    """What ``data`` is, in a few words, such as ``DataLoader of TensorDataset``; a name or a path stays what it is.

    It stands in a run's ``config.json``, so that a run is not resumed with data of another kind.
    """
    if isinstance(data, (str, Path)):
        return str(data)
    return shorten(_describe(data, 0), _MOST)


def _describe(data: Any, depth: int) -> str:
    kind = type(data).__name__
    if depth > _DEPTH:
        return kind
    if "torch" in sys.modules:  # else there is none of these, and netsmith --help need not wait for it
        from torch import Tensor

        from netsmith.data.types import Data

        if isinstance(data, Data):
            return data.name
        if isinstance(data, Tensor):
            return f"{_shape(data)} {str(data.dtype).removeprefix('torch.')} tensor"
    if isinstance(data, Mapping):
        return ", ".join(f"{str(key)[:30]}: {_describe(part, depth + 1)}" for key, part in list(data.items())[:8])
    if type(data).__module__.partition(".")[0] == "numpy" and hasattr(data, "shape"):
        return f"{_shape(data)} {data.dtype} array"
    if isinstance(data, (tuple, list)):
        if len(data) == 2 and all(hasattr(v, "shape") for v in data):
            return " and ".join(_describe(v, depth + 1) for v in data)
        return f"{kind} of {len(data)}"
    inner = getattr(data, "dataset", None)
    if inner is not None and inner is not data:
        return f"{kind} of {_describe(inner, depth + 1)}"
    name = getattr(data, "__name__", None)
    return f"{kind} {name}" if isinstance(name, str) else kind


def _shape(data: Any) -> str:
    return "x".join(str(n) for n in data.shape)

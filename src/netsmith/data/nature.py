"""What a data set says of itself: whether it gives the same rows again, and what its classes are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler, TensorDataset
from torch.utils.data.dataloader import default_collate, default_convert

from netsmith.data.forms import attribute_of, is_rows, length_of
from netsmith.data.sources import LABEL_NAMES

_PROBED = 16  #: rows that are read twice; a random flip is missed once in 65,536
_DEPTH = 6  #: of data sets in data sets that are looked into


def differs(dataset: Any) -> bool | None:
    """Whether rows are others when they are read again; None where that cannot be told."""
    if isinstance(dataset, TensorDataset):
        return False
    if isinstance(dataset, IterableDataset) or not is_rows(dataset):
        return None
    count = length_of(dataset) or 0
    if not count:
        return None
    try:
        return not all(_same(dataset[i], dataset[i]) for i in range(0, count, max(1, -(-count // _PROBED))))
    except (Exception, SystemExit):  # reading it in order says where and why
        return None


def in_order(loader: DataLoader[Any]) -> bool:
    """Whether a loader goes over its data set in order and changes nothing by code of the user's."""
    batches = loader.batch_sampler is None or type(loader.batch_sampler) is BatchSampler
    own = loader.collate_fn not in (default_collate, default_convert)
    return batches and not own and type(loader.sampler) is SequentialSampler


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, torch.Tensor):
        return bool(torch.equal(one, other))
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


def class_names(part: Any, label_column: str | None = None, depth: int = 0) -> tuple[str, ...] | None:
    """Class names that a data set declares, whatever loader or subset it lies in; None where there are none.

    Args:
        label_column: which of the columns has the labels, where there are columns.
    """
    features = attribute_of(part, "features")
    columns = (label_column,) if label_column is not None else LABEL_NAMES
    of_columns = [attribute_of(features.get(c), "names") for c in columns] if isinstance(features, Mapping) else []
    for names in (attribute_of(part, "classes"), *of_columns):
        if isinstance(names, (list, tuple)) and names:
            found = [", ".join(map(str, n)) if isinstance(n, tuple) else n for n in names]  # synonyms, as ImageNet has
            if all(isinstance(n, str) for n in found) and len(set(found)) == len(found):
                return tuple(found)
    several = attribute_of(part, "datasets")
    inner = [attribute_of(part, "dataset"), *(several if isinstance(several, (list, tuple)) else ())]
    known = {class_names(d, label_column, depth + 1) for d in inner if d is not None and depth < _DEPTH}
    return next(iter(known)) if len(known) == 1 else None

"""Train, search and test of data that has parts of its own, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from netsmith.data.collected import Collected
from netsmith.data.splits import balanced, divide
from netsmith.data.types import Split


@dataclass(frozen=True)
class Parted:
    """Examples of three splits, and one sentence on how they were made."""

    train: Collected | None
    search: Collected
    test: Collected
    note: str


def parted(
    parts: Mapping[str, Collected], name: str, seed: int, search_size: int | None = None,
    train_limit: int | None = None, labels: Mapping[str, Any] | None = None,
) -> Parted:  # fmt: skip
    """Divide as data sets of classes are divided, see :func:`netsmith.data.splits.divide`.

    Args:
        parts: by their usual names; ``all`` where there are none.
        labels: of each part whole numbers ``(N,)`` that what is held out is balanced over.

    Raises:
        InputError: there are too few examples, or parts of other names.
    """
    keys, rng = list(parts), np.random.default_rng(seed)
    places = {}
    for i, (key, part) in enumerate(parts.items()):
        rows = torch.stack([torch.full((len(part),), i), torch.arange(len(part))], dim=1)
        known = None if labels is None else torch.as_tensor(labels[key])
        places[key] = Split(rows, torch.zeros(len(part), dtype=torch.int64) if known is None else known)
    train, search, test, note = divide(places, name, search_size, rng)
    if train is not None and train_limit is not None and train_limit < len(train):
        train = train.take(np.sort(balanced(train.labels.numpy(), train_limit, rng)))

    def of(split: Split) -> Collected:
        return parts[keys[int(split.images[0, 0])]].take(split.images[:, 1])

    return Parted(None if train is None else of(train), of(search), of(test), note)

"""Which buffers hold something at which step of a run, once it is known what each step reads, writes and overwrites."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Step:
    """One operator that runs.

    Attributes:
        name: of what runs.
        reads: tensors that it reads.
        writes: tensors that it writes.
        over: those of ``reads`` in whose place the first that it writes may come, where nothing reads them later.
    """

    name: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    over: tuple[int, ...] = ()


def lifetimes(count: int, steps: Sequence[Step], outputs: Collection[int]) -> tuple[NDArray[np.int64], BoolArray]:
    """The buffer of each tensor, ``(V,)``, and which buffers hold something while a step runs, ``(T, B)``.

    A tensor lives from the step that writes it to the last that reads it; one that no step writes is an input, and
    lives from the first step on. While a step runs, all that it reads and all that it writes is there.

    Args:
        count: tensors, numbered from 0.
        outputs: tensors that live to the end.
    """
    end = max(len(steps), 1)
    first, last = np.zeros(count, dtype=np.int64), np.full(count, -1)
    for t, step in enumerate(steps):
        for v in step.writes:
            first[v] = last[v] = t
        for v in step.reads:
            last[v] = t
    last[list(outputs)] = end - 1
    buffer = np.arange(count)
    for t, step in enumerate(steps):
        free = [v for v in step.over if last[buffer[v]] == t]
        if free and step.writes:
            into, new = int(buffer[free[0]]), step.writes[0]
            buffer[new] = into
            last[into] = last[new]
    used, index = np.unique(buffer, return_inverse=True)
    time = np.arange(end)[:, None]
    return index.astype(np.int64), (first[used] <= time) & (time <= last[used])

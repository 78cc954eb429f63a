"""Training examples that come from the user's own code at every epoch, as from a loader with random transforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from netsmith.data.batch import Batch
from netsmith.data.collected import Collected, Make, collected
from netsmith.data.trees import rows_of, taken

Open = Callable[[int, np.random.Generator | None], Iterator[Any]]
Steps = Callable[[int], int]


@dataclass(frozen=True, eq=False)
class Stream:
    """Examples that are read anew in each pass.

    Attributes:
        open: begins a pass: of a wanted size of batches and a generator the trees of batches; loaders have a size and
            an order of their own. A batch is never larger than what was asked for, and may be smaller.
        count: examples of a pass.
        steps: how many batches a training takes of one pass, by the size that is asked for.
        make: of a tree of rows a batch.
        where: what it is, for messages.
    """

    open: Open
    count: int
    steps: Steps
    make: Make
    where: str
    order: str = field(default="stream", init=False)

    def __len__(self) -> int:
        return self.count

    def take(self, index: Any) -> Collected:
        """The examples at ``index`` of one pass, read once; a slice reads no more than it needs."""
        last = index.stop if isinstance(index, slice) and index.stop is not None and index.stop >= 0 else self.count
        read, seen = [], 0
        for tree in self.open(self.count, None):
            read.append(tree)
            seen += rows_of(tree, self.where)
            if seen >= last:
                break
        return collected(read, self.make, self.where).take(index)

    def batches(
        self, size: int, *, rng: np.random.Generator | None = None, start: int = 0, part: tuple[int, int] = (0, 1),
        drop_last: bool = False, augment: Any = None,
    ) -> Iterator[Batch]:  # fmt: skip
        """See :class:`netsmith.data.examples.Examples`; which examples a pass skips is known only of its size."""
        number, most = 0, self.steps(size)
        for tree in self.open(size, rng):
            rows = rows_of(tree, self.where)
            for begin in range(0, rows, size):
                drawn = None if augment is None or rng is None else int(rng.integers(2**63))
                number += 1
                if drop_last and number > most:
                    return
                if number <= start:
                    continue
                mine = taken(tree, slice(begin, min(begin + size, rows)))
                many = min(size, rows - begin) >= part[1]
                if many or not drop_last:  # a step of every process needs rows, of too few each takes them all
                    mine = taken(mine, slice(part[0], None, part[1]))
                if not many and not drop_last and part[0] >= min(size, rows - begin):
                    continue
                yield self.make(mine if drawn is None else augment(mine, np.random.default_rng([drawn, part[0]])))

    def contents(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Nothing: what comes next nobody knows."""
        return iter(())

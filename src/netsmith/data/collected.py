"""Examples of a user's own that lie in memory as trees of tensors; those of one shape lie together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from netsmith.data.batch import Batch
from netsmith.data.examples import n_batches
from netsmith.data.trees import Shapes, joined_rows, rows_of, shapes_of, taken

Make = Callable[[Any], Batch]  #: a batch as the user's code knows it to what a network takes of it


@dataclass(frozen=True, eq=False)
class Collected:
    """Examples in memory.

    A batch has examples of one shape: where sentences have lengths of their own, nothing is padded. Without a generator
    examples of one shape come one after another, and among them in their order.

    Attributes:
        groups: trees of tensors, in each all examples of one shape, a row each.
        place: ``(N, 2)``, of each example its group and its row there.
        make: of rows of a group a batch.
    """

    groups: tuple[Any, ...]
    place: torch.Tensor
    make: Make
    order: str = field(default="position", init=False)

    def __len__(self) -> int:
        return len(self.place)

    def take(self, index: Any) -> Collected:
        """The examples at ``index``, a slice or positions."""
        index = torch.from_numpy(index) if isinstance(index, np.ndarray) else index
        return dataclasses.replace(self, place=self.place[index])

    def made(self, make: Make) -> Collected:
        """The same examples, of which batches are made in another way."""
        return dataclasses.replace(self, make=make)

    def batches(
        self, size: int, *, rng: np.random.Generator | None = None, start: int = 0, part: tuple[int, int] = (0, 1),
        drop_last: bool = False, augment: Any = None,
    ) -> Iterator[Batch]:  # fmt: skip
        """See :class:`netsmith.data.examples.Examples`; ``augment`` changes a tree of rows, with a generator."""
        planned = self._plan(size, rng)
        for number, (group, rows) in enumerate(planned[: self.steps(size)] if drop_last else planned):
            drawn = None if augment is None or rng is None else int(rng.integers(2**63))
            if number < start:
                continue
            mine = rows[part[0] :: part[1]]
            if drop_last and len(rows) < part[1]:
                mine = rows  # a step of every process needs rows: with too few of them the mean is that of all
            if not len(mine):
                continue
            tree = taken(self.groups[group], _run(mine))
            yield self.make(tree if drawn is None else augment(tree, np.random.default_rng([drawn, part[0]])))

    def steps(self, size: int) -> int:
        """How many batches a training takes of one pass."""
        return n_batches(len(self), size, drop_last=True)

    def contents(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield "place", self.place
        for i, group in enumerate(self.groups):
            for j, tensor in enumerate(tree_leaves(group)):
                if isinstance(tensor, torch.Tensor):
                    yield f"{i}.{j}", tensor

    def _plan(self, size: int, rng: np.random.Generator | None) -> list[tuple[int, torch.Tensor]]:
        """The group and the rows of each batch of a pass."""
        place = self.place if rng is None else self.place[torch.from_numpy(rng.permutation(len(self)))]
        found = []
        for group in range(len(self.groups)):
            rows = place[place[:, 0] == group, 1]
            found += [(group, rows[i : i + size]) for i in range(0, len(rows), size)]
        if rng is None or len(self.groups) == 1:
            return found
        return [found[i] for i in rng.permutation(len(found))]


def _run(rows: torch.Tensor) -> Any:
    """Rows as a slice, which shares memory, where they follow one another."""
    first, last = int(rows[0]), int(rows[-1])
    follow = last - first + 1 == len(rows) and bool((rows[1:] > rows[:-1]).all())
    return slice(first, last + 1) if follow else rows


def collected(trees: Sequence[Any], make: Make, where: str) -> Collected:
    """Examples of trees with rows, each of any shapes; they keep their order."""
    groups: dict[Shapes, list[Any]] = {}
    number: list[np.ndarray] = []
    for tree in trees:
        shapes, rows = shapes_of(tree, rows=True), rows_of(tree, where)
        groups.setdefault(shapes, []).append(tree)
        number.append(np.full(rows, list(groups).index(shapes) if len(groups) > 1 else 0))
    group = np.concatenate(number)
    row = np.zeros_like(group)
    for i in range(len(groups)):
        row[group == i] = np.arange(np.count_nonzero(group == i))
    place = torch.from_numpy(np.stack([group, row], axis=1))
    return Collected(tuple(joined_rows(parts) for parts in groups.values()), place, make)

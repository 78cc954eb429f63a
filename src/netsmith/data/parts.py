"""One part of the data of a task by functions, in whatever form the user has it: read once, or anew in each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from netsmith.data.collected import Collected, Make, collected
from netsmith.data.forms import is_pair, is_rows, kind_of, length_of, of_hugging_face, raised
from netsmith.data.nature import differs
from netsmith.data.room import Room
from netsmith.data.stream import Stream
from netsmith.data.trees import Shapes, rows_of, shapes_of, size_of, stacked, tree_of
from netsmith.errors import InputError

FORMS = (
    "give a DataLoader, a Dataset of torch or of Hugging Face datasets, a tuple or a dict of tensors or arrays with a "
    "row for each example, a list of examples, netsmith.data.examples.Rows, or a function that returns one of these"
)


class PartReader:
    """Reads one part.

    Args:
        key: its name, such as ``train``.
        make: what makes a batch of rows.

    Attributes:
        notes: sentences for the user.
    """

    def __init__(self, key: str, make: Make) -> None:
        self.key, self.make, self.notes = key, make, list[str]()
        self._it, self._left_out = f"{key}=", set[str]()

    def read(self, part: Any, *, anew: bool) -> Collected | Stream:
        """The examples.

        Args:
            anew: whether each epoch reads what a loader gives, as random transforms want; else all is read once.

        Raises:
            InputError: it cannot be read, has no examples, or takes more than half of the free memory.
        """
        part = self._called(part)
        if isinstance(part, TensorDataset):
            part = part.tensors
        if isinstance(part, (torch.Tensor, np.ndarray, Mapping, tuple)) or is_pair(part):
            found: Collected | Stream = self._joined([self._tree(tuple(part) if isinstance(part, list) else part)])
        elif is_rows(part):
            found = self._items(part, anew)
        elif isinstance(part, IterableDataset) or of_hugging_face(part):
            found = self._joined(map(_alone, self._trees(part, "example")))
        elif isinstance(part, Iterable):
            again = anew and not isinstance(part, Iterator)
            found = self._loader(part) if again else self._joined(self._trees(part, "batch"))
        else:
            raise InputError(f"{self._it} is {kind_of(part)}, which cannot be read as examples; {FORMS}")
        if not len(found):
            raise InputError(f"{self._it} has no examples (a generator gives them once); {FORMS}")
        if self._left_out:
            names = ", ".join(sorted(self._left_out))
            self.notes.append(f"{names} of {self._it} is text, which no network reads: it is left out of the batches")
        return found

    def _called(self, part: Any) -> Any:
        """What a function returns that takes nothing; anything else is what it is."""
        if isinstance(part, (type, torch.nn.Module)) or not callable(part) or is_rows(part):
            return part
        try:
            return part()
        except (Exception, SystemExit) as error:
            raise InputError(f"{self._it}, called for examples, raised {raised(error)}; repair it") from error

    def _tree(self, item: Any, where: str = "") -> Any:
        return tree_of(item, where or self._it, self._left_out)

    def _trees(self, items: Iterable[Any], unit: str) -> Iterator[Any]:
        """Everything that is iterated over; what the user's own code raises is said with its place."""
        number = 0
        try:
            iterator = iter(items)
            while True:
                try:
                    item = next(iterator)
                except StopIteration:
                    return
                yield self._tree(item, f"{unit} {number} of {self._it}")
                number += 1
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{unit} {number} of {self._it} cannot be read: it raised {raised(error)}; repair it"
            ) from error

    def _joined(self, trees: Iterable[Any]) -> Collected:
        """Batches as examples in memory."""
        room, kept = Room(self._it), []
        for tree in trees:
            room.take(size_of(tree))
            kept.append(tree)
        if not kept:
            raise InputError(f"{self._it} has no examples (a generator gives them once); {FORMS}")
        return collected(kept, self.make, f"a batch of {self._it}")

    def _items(self, rows: Any, anew: bool) -> Collected | Stream:
        count = length_of(rows)
        if count is None:
            raise InputError(f"{self._it} does not say how many examples it has; {FORMS}")
        if not (anew and differs(rows)):
            return self._joined(map(_alone, self._trees((rows[i] for i in range(count)), "example")))

        def open_(size: int, rng: np.random.Generator | None) -> Iterator[Any]:
            order = np.arange(count) if rng is None else rng.permutation(count)
            return _batches_of(self._trees((rows[int(i)] for i in order), "example"), size)

        self.notes.append(f"examples of {self._it} differ each time that they are read; every epoch reads them anew")
        return Stream(open_, count, lambda size: max(1, count // size), self.make, f"a batch of {self._it}")

    def _loader(self, loader: Iterable[Any]) -> Stream:
        sizes = _sizes(loader)
        if sizes is None:
            sizes = [rows_of(tree, f"a batch of {self._it}") for tree in self._trees(loader, "batch")]
        steps = _steps(sizes)
        return Stream(
            lambda size, rng: self._trees(loader, "batch"), sum(sizes), steps, self.make, f"a batch of {self._it}"
        )


def _sizes(loader: Any) -> list[int] | None:
    """How many examples each batch of a pass has, where a loader tells without reading."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset) or not loader.batch_size:
        return None
    count, size = length_of(loader.sampler), loader.batch_size
    if count is None:
        return None
    rest = count % size if not loader.drop_last else 0
    return [size] * (count // size) + ([rest] if rest else [])


def _steps(sizes: list[int]) -> Callable[[int], int]:
    return lambda size: max(1, sum(-(-n // size) for n in sizes))


def _alone(example: Any) -> Any:
    """A batch of one example."""
    return stacked([example])


def _batches_of(examples: Iterable[Any], size: int) -> Iterator[Any]:
    """Examples in batches, each of one shape; what is left of each shape comes at the end."""
    waiting: dict[Shapes, list[Any]] = {}
    for example in examples:
        shapes = shapes_of(example, rows=False)
        alike = waiting.setdefault(shapes, [])
        alike.append(example)
        if len(alike) == size:
            yield stacked(waiting.pop(shapes))
    yield from (stacked(alike) for alike in waiting.values())

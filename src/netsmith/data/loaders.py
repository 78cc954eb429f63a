"""Reads one part of data in memory, in whatever form it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from netsmith.data.forms import FORMS, is_pair, is_rows, is_table, kind_of, length_of, of_hugging_face, raised
from netsmith.data.gather import BATCH, EITHER, ROW, WHOLE, Gathered
from netsmith.data.nature import class_names, differs, in_order
from netsmith.data.pixels import read_picture
from netsmith.data.room import Room
from netsmith.data.sources import Column, read_tables
from netsmith.errors import InputError

_SAMPLED = 8  #: rows of a table that tell how large all of them are once they are decoded
_TOLD_EVERY = 256  #: rows between two reports of how far reading is

Report = Callable[[float, float, str], None]


class Reader:
    """Reads one part.

    Attributes:
        repeatable: whether it would be read alike again.
        notes: sentences for the user.
    """

    def __init__(self, key: str, name: str, room: Room, label_column: str | None, report: Report) -> None:
        self.key, self.name, self.room, self.label_column, self.report = key, name, room, label_column, report
        self.repeatable, self.notes = True, list[str]()

    def read(self, part: Any) -> tuple[Column, tuple[str, ...] | None]:
        """The rows, and class names if the part declares them."""
        if is_table(part):
            return self._table(part)
        gathered = Gathered(self.key, self.room, self.label_column)
        if isinstance(part, TensorDataset):
            part = part.tensors
            if len(part) != 2:
                raise InputError(f"{self._it} has {len(part)} tensors; give two, inputs and targets")
        if is_pair(part):
            self._pair(gathered, *part)
            return gathered.column(), None
        names = class_names(part, self.label_column)
        if isinstance(part, DataLoader):
            known = length_of(part)
            unit = BATCH if part.batch_sampler is not None else EITHER
            self.repeatable = in_order(part) and self._repeats(part.dataset)
            self._items(gathered, part, known, unit)
        elif isinstance(part, (IterableDataset, Iterator)) or (of_hugging_face(part) and not is_rows(part)):
            self.repeatable = False
            self._items(gathered, part, None, EITHER)
        elif is_rows(part):
            self.repeatable = isinstance(part, (list, tuple)) or self._repeats(part)
            count = length_of(part)
            if count is None:
                raise InputError(f"{self._it} is {kind_of(part)}, which does not say how many rows it has; {FORMS}")
            self._items(gathered, (part[i] for i in range(count)), count, ROW)
        else:
            raise InputError(f"{self._it} is {kind_of(part)}, which cannot be read as data; {FORMS}")
        return gathered.column(), names

    @property
    def _it(self) -> str:
        return f"the {self.key} part" if self.key else "the data"

    def _table(self, part: Any) -> tuple[Column, tuple[str, ...] | None]:
        """A table of Hugging Face's, whose cells may name any file: the user has opened it already."""
        self.room.expect(part.data.nbytes * len(part) // max(1, len(part.data)))
        columns, names = read_tables({self.key or "all": part}, self.name, self.label_column, [Path.cwd(), Path("/")])
        column = next(iter(columns.values()))
        if column.rows and all(isinstance(r, np.ndarray) and r.dtype.kind == "f" for r in column.rows):
            gathered = Gathered(self.key, self.room)
            for i, pair in enumerate(zip(column.rows, column.labels)):
                gathered.add(pair, i, ROW)
            return gathered.column(), names
        some = range(0, len(column.rows), max(1, len(column.rows) // _SAMPLED))
        sizes = [read_picture(column.rows[i], column.names[i]).pixels.nbytes for i in some]
        self.room.take(sum(sizes) * len(column.rows) // max(1, len(sizes)))
        return column, names

    def _pair(self, gathered: Gathered, inputs: Any, targets: Any) -> None:
        if isinstance(inputs, (torch.Tensor, np.ndarray)):
            if isinstance(targets, (str, int, float)) or targets is None or not getattr(targets, "ndim", 1):
                raise InputError(f"{self._it} is one input with one label; give many, such as a list of pairs")
            gathered.add((inputs, targets), 0, WHOLE, copy=False)
            return
        if not is_rows(inputs) or not hasattr(targets, "__len__") or len(inputs) != len(targets):
            raise InputError(f"{self._it} is a pair that is not inputs and as many targets; {FORMS}")
        labels = targets.tolist() if isinstance(targets, (torch.Tensor, np.ndarray)) else targets
        self._items(gathered, zip(inputs, labels), len(labels), ROW)

    def _items(self, gathered: Gathered, items: Iterable[Any], known: int | None, unit: str) -> None:
        """Rows or batches one by one; what the user's own code raises is said with its place."""
        number, told = 0, 0
        try:
            iterator = iter(items)
        except (Exception, SystemExit) as error:
            raise InputError(f"{self._it} cannot be read: it raised {raised(error)}; repair it") from error
        while True:
            try:
                item = next(iterator)
            except StopIteration:
                break
            except InputError:
                raise
            except (Exception, SystemExit) as error:
                where = gathered.name(number, unit)
                raise InputError(
                    f"{where} of {self.name!r} cannot be read: it raised {raised(error)}; repair it"
                ) from error
            before = gathered.size if not number else 0
            gathered.add(item, number, unit)
            if not number and known:  # the first one tells what all of them take
                self.room.expect((gathered.size - before) * (known - 1))
            number += 1
            if len(gathered.labels) - told >= _TOLD_EVERY:
                told = len(gathered.labels)
                self.report(number, known or 0, f"{told} rows of {self.name} read")

    def _repeats(self, dataset: Any) -> bool:
        """Whether another process finds the same rows; it is said where they differ each time that they are read."""
        found = differs(dataset)
        if found:
            self.notes.append(
                f"rows of {self._it} differ each time that they are read, by a random transform perhaps; they were "
                "read once, so that every epoch sees the same ones"
            )
        return found is False

"""Regression: numbers of any shape. The outputs have the shape of the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from netsmith.data.batch import Batch
from netsmith.data.collected import collected
from netsmith.data.naming import describe
from netsmith.data.numbers import of_memory, of_tables
from netsmith.data.parted import Parted, parted
from netsmith.data.tables import is_tables
from netsmith.errors import InputError
from netsmith.metrics import FloatArray, Metric
from netsmith.network.outputs import describe_output, tensors_of
from netsmith.tasks.task import Task, Weighted


def _mean_absolute(rows: FloatArray) -> float:
    return float(rows[:, 1].mean()) if len(rows) else float("nan")


def _explained(rows: FloatArray) -> float:
    """One less the squared errors over those of the mean of what was trained on."""
    return float(1 - rows[:, 0].sum() / max(rows[:, 2].sum(), 1e-300)) if len(rows) else float("nan")


MSE = Metric("mse", "MSE", "", higher_is_better=False)
MAE = Metric("mae", "MAE", "", higher_is_better=False, finish=_mean_absolute)
R2 = Metric("r2", "R2", "", finish=_explained)


class Regression(Task):
    """The mean squared error ranks, and is lowered.

    Args:
        data: examples, whose rows are ``(inputs, targets)``; inputs are a tensor or a tuple of such, taken as given,
            and targets floats of any shape.
        name: what they were loaded from.
        sentences: for the user.
    """

    kind: ClassVar[str] = "regression"
    read_words = "its numbers are"
    metrics = (MSE, MAE, R2)

    def __init__(self, data: Parted, name: str, sentences: Sequence[str] = ()) -> None:
        self.name, self.note, self.sentences = name, data.note, tuple(sentences)
        self.train = None if data.train is None else data.train.made(_batch)
        self.search, self.test = data.search.made(_batch), data.test.made(_batch)
        known = (data.train or data.search).groups[0][1]
        self.mean = known.double().mean(dim=0)  #: of each number that is wanted, what R2 compares with

    def read(self, outputs: Any, batch: Batch) -> torch.Tensor:
        wanted = batch.target.shape
        for found in tensors_of(outputs):
            if found.shape == wanted:
                return found
            # one number an example may come with an axis of its own or without it
            if found.numel() == batch.target.numel() and len(found) == batch.size and batch.target[0].numel() == 1:
                return found.reshape(wanted)
        shape = "x".join(map(str, wanted[1:])) or "one number"
        raise InputError(
            f"the network returns {describe_output(outputs)} for {batch.size} {self.each}, but {shape} is wanted of "
            "each; use a network and targets of one shape"
        )

    def compared(self, outputs: Any) -> list[torch.Tensor]:
        return super().compared(outputs)[:1]

    def loss(self, outputs: Any, batch: Batch) -> Weighted:
        values = (self.read(outputs, batch).float() - batch.target).square().reshape(batch.size, -1).mean(dim=1)
        return values, torch.ones_like(values)

    def partial(self, outputs: Any, batch: Batch) -> FloatArray:
        """Mean squared and absolute error of each example, and its mean square around the mean that is known."""
        far = (self.read(outputs, batch).double() - batch.target).reshape(batch.size, -1)
        spread = (batch.target.double() - self.mean.to(far.device)).reshape(batch.size, -1)
        columns = [far.square().mean(dim=1), far.abs().mean(dim=1), spread.square().mean(dim=1)]
        return torch.stack(columns, dim=1).detach().cpu().numpy()

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "each": self.each}


def _batch(tree: Any) -> Batch:
    inputs, targets = tree
    return Batch(inputs if isinstance(inputs, tuple) else (inputs,), {}, targets, len(targets))


def load(
    data: Any, header: Mapping[str, str] | None = None, *, seed: int = 0, label_column: str | None = None,
    search_size: int | None = None, train_limit: int | None = None, record: Path | None = None,
    report: Callable[..., None] | None = None, **pictures: Any,
) -> Regression:  # fmt: skip
    """The task of numbers and those wanted of them, all taken as given: scale them as the network expects.

    Args:
        data: tables with a column ``target`` and columns of numbers, or pairs in memory ``(inputs, targets)``.
        label_column: the column of the targets, or several, with commas between them.
        pictures: how pictures are read, which mean nothing here.

    Raises:
        InputError: it cannot be read, or an option for pictures is given.
    """
    for option, value in pictures.items():
        if value is not None:
            raise InputError(f"--{option.replace('_', '-')} is for pictures, and regression takes numbers; drop it")
    name = describe(data)
    if is_tables(data) or isinstance(data, (str, Path)):
        parts, notes = of_tables(data, label_column)
    else:
        parts, notes = of_memory(data)
    found = {key: collected([pair], lambda tree: Batch(tree), name) for key, pair in parts.items()}
    return Regression(parted(found, name, seed, search_size, train_limit), name, notes)

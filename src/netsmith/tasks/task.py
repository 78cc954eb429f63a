"""What a network is for: its examples, what it should make of them, and how good it is. Nothing else knows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from netsmith.data.batch import Batch
from netsmith.data.examples import Examples
from netsmith.errors import InputError
from netsmith.metrics import FloatArray, Metric
from netsmith.network.outputs import tensors_of

Weighted = tuple[torch.Tensor, torch.Tensor]  #: values, and what each counts, of the same shape


@dataclass(frozen=True)
class Objective:
    """What a training goes by, beside the task itself.

    Attributes:
        alpha: weight of the teacher, where there is one; the target has the rest (Hinton et al. 2015, arXiv:1503.02531,
            equation 4 and section 2).
        temperature: divides both networks' logits, for tasks that have them.
        label_smoothing: of tasks that have labels.
    """

    alpha: float = 0.5
    temperature: float = 4.0
    label_smoothing: float = 0.0


class Task:
    """What a network is for. A subclass gives ``loss`` and ``partial``; everything else has a usual answer.

    Attributes:
        kind: what is known by the name of ``--task``: ``classification``, ``segmentation``, ...
        name: what the data was loaded from, as summaries have it.
        metrics: the first one ranks networks.
        train: for gradients; None where there are too few examples to train on.
        search: for every choice: early stopping, calibration, search. Held out of train.
        test: for the final figure only.
        note: how the splits were made, one sentence.
        sentences: what a user has to know of the data before the job goes on.
        each: what an example is called, in the plural.
    """

    kind: ClassVar[str] = "own"
    name: str = ""
    metrics: tuple[Metric, ...]
    train: Examples | None = None
    search: Examples
    test: Examples
    note: str = ""
    sentences: Sequence[str] = ()
    each: str = "examples"

    # --- what every task has to say ----------------------------------------------------------------------------------

    def loss(self, outputs: Any, batch: Batch) -> Weighted:
        """Values to lower and what each weighs: one an example, a pixel or a token."""
        raise NotImplementedError

    def partial(self, outputs: Any, batch: Batch) -> FloatArray:
        """What is noted of each example, ``(size, F)`` in double precision; scores are made of all rows together."""
        raise NotImplementedError

    # --- what has a usual answer -------------------------------------------------------------------------------------

    def check(self, outputs: Any, batch: Batch) -> None:
        """Refuse outputs that the task cannot read.

        Raises:
            InputError: says what the network returns, and what is needed.
        """

    def total(self, outputs: Any, batch: Batch) -> tuple[float, float]:
        """The sum of all weighted values of the loss, and of all weights."""
        values, weights = self.loss(outputs, batch)
        return float((values * weights).sum()), float(weights.sum())

    def training_loss(self, outputs: Any, teacher: Any, batch: Batch, how: Objective) -> torch.Tensor:
        """The mean loss of a batch, with a gradient, learned from a teacher's outputs as well where there are some."""
        values, weights = self.loss(outputs, batch)
        hard = (values * weights).sum() / weights.sum().clamp(min=1e-12)
        if teacher is None:
            return hard
        far, counts = self.divergence(outputs, teacher, batch, self.scales([teacher]))
        soft = (far * counts).sum() / counts.sum().clamp(min=1e-12)
        return (1 - how.alpha) * hard + how.alpha * soft.to(hard.dtype)

    def divergence(self, outputs: Any, given: Any, batch: Batch, scales: Any = None) -> Weighted:
        """How far outputs are from those of the network as given: a value and a weight an example, ``(size,)``.

        The usual answer is the mean squared distance over the variance that each output of the network as given has,
        summed over the outputs.
        """
        far = torch.zeros(batch.size, dtype=torch.float64)
        for i, (now, before) in enumerate(zip(self.compared(outputs), self.compared(given), strict=True)):
            square = (now.float() - before.float()).square()
            each = square.flatten(1).mean(dim=1) if square.dim() > 1 else square
            far = far.to(each.device) + each.double() / (1.0 if scales is None else float(scales[i]))
        return far, torch.ones_like(far)

    def scales(self, given: Sequence[Any]) -> Any:
        """What divergences are measured in, of what the network as given returns for some batches; a JSON value."""
        each = [self.compared(outputs) for outputs in given]
        joined = [torch.cat([t.detach().float().flatten() for t in column]) for column in zip(*each, strict=True)]
        return [max(float(t.var(correction=0)), 1e-12) for t in joined]

    def compared(self, outputs: Any) -> list[torch.Tensor]:
        """Which tensors of the outputs count: all of floating point."""
        return [t for t in tensors_of(outputs) if t.is_floating_point()]

    def axes(self) -> Mapping[str, Mapping[int, str]]:
        """Axes of inputs, beside that of the batch, that may have any length: name of an input -> axis -> its name."""
        return {}

    def augmentation(self, wanted: Any) -> Any:
        """What is done to training examples at random where ``wanted`` is ``"auto"``; anything else stays."""
        return None if wanted == "auto" else wanted

    def example(self, count: int = 2) -> Batch:
        """Real examples to run a network on, of the search split."""
        return next(self.search.batches(min(count, len(self.search))))

    def need_train(self) -> Examples:
        """The train split.

        Raises:
            InputError: the data set has none.
        """
        if self.train is None:
            raise InputError(f"data set {self.name!r} cannot be trained on: {self.note}; give one with a train split")
        return self.train

    def describe(self) -> dict[str, Any]:
        """The task as JSON values, for summaries and exported files."""
        return {"kind": self.kind, "metrics": [metric.to_dict() for metric in self.metrics]}

    @property
    def metric(self) -> Metric:
        """The one that ranks."""
        return self.metrics[0]


def cross_entropy(logits: torch.Tensor, target: torch.Tensor, ignore: int | None = None) -> Weighted:
    """Cross-entropy of each position and what it weighs, of logits ``(B, classes, ...)`` and targets ``(B, ...)``.

    Args:
        ignore: a target that counts for nothing.
    """
    kept = torch.ones_like(target, dtype=torch.float32) if ignore is None else (target != ignore).float()
    safe = target if ignore is None else target.masked_fill(target == ignore, 0)
    return F.cross_entropy(logits.float(), safe, reduction="none"), kept


def run(model: nn.Module, batches: Iterator[Batch]) -> Iterator[tuple[Any, Batch]]:
    """The outputs of a network for batches, each with its batch."""
    for batch in batches:
        yield batch(model), batch

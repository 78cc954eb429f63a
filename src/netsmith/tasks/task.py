"""What a network is for: its examples, what it should make of them, and how good it is. Nothing else knows it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from netsmith.data.batch import Batch
from netsmith.data.examples import Examples
from netsmith.data.feeding import IMAGES, PIXEL, Feeding
from netsmith.data.normalise import AS_GIVEN, Normalisation
from netsmith.errors import InputError
from netsmith.metrics import FloatArray, Metric
from netsmith.network.graph import Graph
from netsmith.network.outputs import tensors_of
from netsmith.network.ports import ports

GUESS = "guess"  #: kind of a doubt: the network may know nothing, which more examples can tell
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
    names: Sequence[str] = ()  #: of the classes, where there are such
    normalisation: Normalisation = AS_GIVEN  #: of pixels, where inputs are made of them
    pixel_range: tuple[float, float] | None = None  #: lowest and highest pixel, of files of another depth than 8 bits
    optimizer: ClassVar[str] = "adamw"  #: that networks for the task are trained with, where the user names none
    misfit: str = "let it take what its examples have"  #: what to do where a network does not run on them
    needs_scales: ClassVar[bool] = True  #: whether divergences have to be put on a scale, see :meth:`scales`
    read_words: str = "what the task reads of it is"  #: of outputs among others, in a sentence

    # --- what every task has to say ----------------------------------------------------------------------------------

    def loss(self, outputs: Any, batch: Batch) -> Weighted:
        """Values to lower and what each weighs: one an example, a pixel or a token."""
        raise NotImplementedError

    def partial(self, outputs: Any, batch: Batch) -> FloatArray:
        """What is noted of each example, ``(size, F)`` in double precision; scores are made of all rows together."""
        raise NotImplementedError

    # --- what has a usual answer -------------------------------------------------------------------------------------

    def read(self, outputs: Any, batch: Batch) -> Any:
        """What of the outputs the task goes by: all of them, unless it knows its place among others.

        Raises:
            InputError: the network returns what the task cannot read; says what is needed.
        """
        return outputs

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
        far, counts = self.divergence(outputs, teacher, batch, self.scales([self.read(teacher, batch)]))
        soft = (far * counts).sum() / counts.sum().clamp(min=1e-12)
        return (1 - how.alpha) * hard + how.alpha * soft.to(hard.dtype)

    def divergence(self, outputs: Any, given: Any, batch: Batch, scales: Any = None) -> Weighted:
        """How far outputs are from those of the network as given: a value and a weight an example, ``(size,)``.

        The usual answer is the mean squared distance over the variance that each output of the network as given has,
        summed over the outputs.
        """
        far = torch.zeros(batch.size, dtype=torch.float64)
        pairs = zip(self.compared(self.read(outputs, batch)), self.compared(self.read(given, batch)), strict=True)
        for i, (now, before) in enumerate(pairs):
            square = (now.float() - before.float()).square()
            each = square.flatten(1).mean(dim=1) if square.dim() > 1 else square
            far = far.to(each.device) + each.double() / (1.0 if scales is None else float(scales[i]))
        return far, torch.ones_like(far)

    def rooted(self, outputs: Any, signs: Sequence[torch.Tensor], batch: Batch, scales: Any) -> torch.Tensor:
        """A value an example, ``(size,)``, whose squared gradients are the curvature of the divergence, in expectation.

        Near the network as given the Hessian of the divergence in the outputs z is R R^T; for random signs s the
        gradient of (R s)^T z, R held fixed, has the wanted expected square. Of a mean square R is a number.

        Args:
            signs: for each tensor of :meth:`compared`, in its shape.
        """
        found = []
        for i, (z, s) in enumerate(zip(self.compared(self.read(outputs, batch)), signs, strict=True)):
            each = z[0].numel() * (1.0 if scales is None else float(scales[i]))
            found.append((s * z.float()).reshape(len(z), -1).sum(dim=1) * (2.0 / each) ** 0.5)
        return torch.stack(found).sum(dim=0)

    def scales(self, given: Sequence[Any]) -> Any:
        """What divergences are measured in, of what was read of the network as given for some batches; JSON values."""
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

    def doubt(self, rows: FloatArray) -> dict[str, Any] | None:
        """What speaks against the score of the network as given, by the rows of its search split; JSON values."""
        return None

    def doubt_of(self, scores: Mapping[str, float]) -> dict[str, Any] | None:
        """The same by its scores on splits (``search``, ``test``)."""
        return None

    def doubted(self, found: Mapping[str, Any], where: str, weights: bool) -> str:
        """A doubt as a sentence, with what to do.

        Args:
            where: which examples, such as ``search and test``.
            weights: whether the user gave weights.
        """
        return ""

    def ruined(self, who: str, scores: Mapping[str, float], remedy: str) -> list[str]:
        """A warning, if a network knows nothing any more by its scores on splits.

        Args:
            who: the network, in words.
        """
        return []

    def with_splits(self: Self, **splits: Examples | None) -> Self:
        """The same task on other examples: ``train``, ``search`` or ``test``."""
        other = copy.copy(self)
        for name, examples in splits.items():
            setattr(other, name, examples)
        return other

    def contents(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors of all examples, for a digest."""
        for split in ("train", "search", "test"):
            examples = getattr(self, split)
            if examples is not None and examples.order == "position":
                yield from ((f"{split}.{name}", tensor) for name, tensor in examples.contents())

    @property
    def says(self) -> str:
        """What the task is, beside its examples, as a text that is the same for the same task."""
        return json.dumps(self.describe(), sort_keys=True)

    @property
    def code(self) -> dict[str, Any]:
        """Functions that it is made of, by what they are."""
        return {}

    @property
    def metadata(self) -> dict[str, str]:
        """What a reader of weights that were trained for the task needs, for the header of their file."""
        return {"task": json.dumps(self.describe())}

    @property
    def tokenizer(self) -> str:
        """The file of ``tokenizers`` that makes inputs of texts, for exported files; "" where there is none."""
        return ""

    @property
    def built_with(self) -> dict[str, Any]:
        """What a network for the task is built with, as of ``load_model``: ``num_classes``, ``input_shape``."""
        return {}

    @property
    def made_with(self) -> dict[str, Any]:
        """The same for one with fresh weights, which has as many outputs as the examples show."""
        return self.built_with

    def score(self, rows: FloatArray) -> dict[str, float]:
        """Every metric of examples, by its key."""
        return {metric.key: metric.of(rows) for metric in self.metrics}

    def example(self, count: int = 2) -> Batch:
        """Real examples to run a network on, the first of the search split; of several shapes those of one."""
        index = np.arange(count) % len(self.search)
        first = next(self.search.take(index).batches(count))
        if first.size == count:
            return first
        most = first
        for batch in self.search.batches(count):
            most = batch if batch.size > most.size else most
            if most.size == count:
                break
        return most.take(torch.arange(count) % most.size)

    def kept(self, count: int) -> Any:
        """The first examples of the search split, as a result keeps them to find ranges of integers again."""
        few = next(self.search.take(slice(0, count)).batches(count))
        return few.map(torch.clone, inputs_only=True)

    def for_weights(self: Self, metadata: Mapping[str, str], given: bool = False) -> Self:
        """The same task as a network with such weights expects it, by the header of their file.

        Args:
            given: whether the user said otherwise, which goes before the header.
        """
        return self

    def for_network(self: Self, model: nn.Module) -> Self:
        """The same task with batches as a network takes them, where networks for it take them in several ways."""
        return self

    def fits(self, outputs: Any, metadata: Mapping[str, str]) -> None:
        """Check that the task can be done by a network that returns such outputs for one example.

        Raises:
            InputError: it cannot; says why.
        """

    def feeding(self, graph: Graph, outputs: Any) -> Feeding:
        """How a network for the task is fed, and what its outputs stand for; every product says it.

        Args:
            outputs: of one example.
        """
        first, (takes, gives) = graph.example.inputs[0], ports(graph)
        pictures, mean, std = first.dim() == 4, *self.normalisation
        image: dict[str, Any] = {"layout": IMAGES if pictures else None}
        if pictures and std:
            image |= {"scale": PIXEL, "mean": mean, "std": std, "pixel_range": self.pixel_range}
        return Feeding(
            tuple(first.shape[1:]) or (1,), tuple(self.names), inputs=graph.input_names, takes=takes, gives=gives,
            task=self.describe(), tokenizer=self.tokenizer, **image,
        )  # fmt: skip

    def pictures(self, outputs: Any, given: Any, batch: Batch) -> Iterator[tuple[str, bytes, str]]:
        """What a report shows of some test examples, where the task draws anything (:attr:`draws`).

        Args:
            outputs, given: of the result and of the network as given.

        Returns:
            Of each picture the name of its file, such as ``masks.png`` or ``errors.svg``, its content and its caption.
        """
        return iter(())

    @property
    def draws(self) -> bool:
        """Whether it draws pictures of its own."""
        return type(self).pictures is not Task.pictures

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

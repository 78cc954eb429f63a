"""A task of the user's own functions: ``netsmith.Task(...)``."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from netsmith.data.batch import Batch
from netsmith.data.parts import PartReader
from netsmith.data.sources import LABEL_NAMES
from netsmith.errors import InputError, shown
from netsmith.metrics import ACCURACY, Finish, FloatArray, Metric
from netsmith.tasks.task import Task as Contract
from netsmith.tasks.task import Weighted
from netsmith.usercode import failure, lacks_memory

Function = Callable[..., Any]
_SPLITS = ("train", "search", "test")
_MASK = "attention_mask"  #: the name by which networks of Hugging Face's know what is no padding


class Task(Contract):
    """What a network is for, in functions: ``netsmith.Task``.

    It has the name of the contract that all tasks keep, :class:`netsmith.tasks.task.Task`, as it is what most users
    need to know of it. Who needs more than functions writes a subclass of the contract instead.

    In all functions ``batch`` is what the loader gave, or rows of the tensors that were given, on the device of the
    outputs; of examples that are :class:`netsmith.data.examples.Rows` it is a :class:`netsmith.data.batch.Batch`.

    Args:
        train: examples for gradients, in any form of :data:`netsmith.data.parts.FORMS`. A loader is read anew in each
            epoch, in its own order and its own batches. None where nothing is to be trained.
        search: examples for every choice, held out of train; read once.
        test: examples for the final figure; read once.
        inputs: of a batch what the network is called with: a tensor, a tuple, a dict of arguments by name, or a
            ``Batch``. Left out, it is the only part of a batch, or all parts but the last, or all of a dict but its
            labels.
        loss: of ``(outputs, batch)`` the mean loss, or a value for each example, pixel or token, or a pair of values
            and weights. With a first argument called ``model`` it gets a network instead, which returns the outputs
            for the batch's own inputs and refuses all others.
        score: of ``(outputs, batch)`` a number for each example, ``(size,)``, or several, ``(size, F)``; likewise with
            ``model``. A score of one number is asked for one example at a time.
        finish: from the rows ``(N, F)`` of all examples to the score; left out, the mean of the first number.
        metric: what the score is called, or all that is known of it, or several metrics, of which the first one ranks.
        unit: of the score; ``%`` of shares from 0 to 1.
        higher_is_better: which way the score is better.
        divergence: of ``(outputs, given, batch)`` how far outputs are from those of the network as given, ``(size,)``;
            left out, the mean squared distance over each output's variance.
        valid: of a batch a mask ``(size, T)``, true where there is no padding; left out, ``attention_mask`` where the
            network takes one.
        axes: axes of inputs that may have any length, beside the batch: name of an input -> axis -> its name.
        augment: of ``(batch, generator)`` the batch that is trained on, with a generator of numpy.
        name: of the task, for summaries.
        each: what an example is called, in the plural.

    Raises:
        InputError: examples or functions cannot be used; says why and what to give.
    """

    def __init__(
        self, *, train: Any = None, search: Any, test: Any, loss: Function, score: Function,
        inputs: Function | None = None, finish: Finish | None = None,
        metric: str | Metric | Sequence[Metric] = "score", unit: str = "", higher_is_better: bool = True,
        divergence: Function | None = None, valid: Function | None = None,
        axes: Mapping[str, Mapping[int, str]] | None = None, augment: Function | None = None, name: str = "own task",
        each: str = "examples",
    ) -> None:  # fmt: skip
        self.name, self.each = name, each
        given = {"loss": loss, "score": score, "inputs": inputs, "divergence": divergence, "valid": valid}
        for key, function in (given | {"augment": augment, "finish": finish}).items():
            if function is not None and not callable(function):
                raise InputError(f"{key}= is {shown(function)}, no function; give one")
        self._functions = given
        self._augment, self._axes = augment, {} if axes is None else axes
        self.metrics = _metrics(metric, unit, higher_is_better, finish)
        notes: list[str] = [
            f"{key}= takes a network: it gets one that returns the outputs for the batch's inputs, and refuses others"
            for key in ("loss", "score")
            if _takes_model(given[key])
        ]
        parts = {"train": train, "search": search, "test": test}
        ready = {key: _is_ready(part) for key, part in parts.items() if part is not None}
        self._raw = not any(ready.values())
        if not self._raw and not all(ready.values()):
            raise InputError("some of train=, search= and test= are Rows and others are not; give all of one kind")
        for key in _SPLITS:
            part = parts[key]
            if part is None and key != "train":
                raise InputError(f"{key}= is None; give examples, held out of train")
            if part is not None and self._raw:
                reader = PartReader(key, self._batch)
                part = reader.read(part, anew=key == "train")
                notes += reader.notes
            setattr(self, key, part)
        self.sentences = tuple(notes)
        self.note = f"{', '.join(key for key in _SPLITS if parts[key] is not None)} as given"

    # --- the contract ------------------------------------------------------------------------------------------------

    def loss(self, outputs: Any, batch: Batch) -> Weighted:
        found = self._call("loss", outputs, batch)
        if isinstance(found, tuple) and len(found) == 2 and all(isinstance(t, torch.Tensor) for t in found):
            return found
        if not isinstance(found, torch.Tensor):
            raise InputError(f"loss= returned {_said(found)}; return a tensor, or a pair of values and weights")
        if found.dim() == 0:  # a mean, which counts as often as there are examples
            return found.reshape(1), torch.full((1,), float(batch.size), device=found.device)
        return found, torch.ones_like(found)

    def partial(self, outputs: Any, batch: Batch) -> FloatArray:
        found = _array(self._call("score", outputs, batch), "score=")
        if found.ndim == 0 and batch.size > 1:
            every = [torch.tensor([i]) for i in range(batch.size)]
            found = np.array(
                [_array(self._call("score", _taken(outputs, i, batch.size), batch.take(i)), "score=") for i in every]
            )
        rows = found.reshape(batch.size, -1) if found.ndim <= 1 and found.size == batch.size else found
        if rows.ndim != 2 or len(rows) != batch.size:
            raise InputError(
                f"score= returned numbers of the shape {tuple(found.shape)} for {batch.size} {self.each}; return one "
                "number for each, or a row of them, or one number that is a mean over examples"
            )
        if self.metric.share and not np.isin(rows[:, 0], (0.0, 1.0)).all():
            raise InputError(
                f"{self.metric.name} is a share of {self.each}, but score= returned {shown(float(rows[:, 0].max()))}; "
                "return 1 or 0 for each of them, or name another metric"
            )
        return rows

    def divergence(self, outputs: Any, given: Any, batch: Batch, scales: Any = None) -> Weighted:
        if self._functions["divergence"] is None:
            return super().divergence(outputs, given, batch, scales)
        found = self._own("divergence", outputs, given, self._known(batch))
        if not isinstance(found, torch.Tensor) or found.shape != (batch.size,):
            raise InputError(
                f"divergence= returned {_said(found)} for {batch.size} {self.each}; return a number for each of them"
            )
        return found.double(), torch.ones_like(found, dtype=torch.float64)

    def axes(self) -> Mapping[str, Mapping[int, str]]:
        return self._axes

    def augmentation(self, wanted: Any) -> Any:
        """The user's own function; the options of pictures mean nothing here."""
        if self._augment is None or wanted is None:
            return None
        own = self._augment
        if self._raw:
            return lambda tree, rng: own(tree, rng)
        return own

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "name": self.name, "each": self.each}

    # --- the user's functions ----------------------------------------------------------------------------------------

    def _batch(self, tree: Any) -> Batch:
        """Of rows as the user knows them what the network takes."""
        found = _usual(tree) if self._functions["inputs"] is None else self._own("inputs", tree)
        if isinstance(found, Batch):
            batch = dataclasses.replace(found, target=tree)
        elif isinstance(found, Mapping):
            batch = Batch((), dict(found), tree)
        else:
            batch = Batch(tuple(found) if isinstance(found, (tuple, list)) else (found,), {}, tree)
        if not batch.inputs:
            raise InputError(
                f"inputs= gives {_said(found)} of a batch, without a tensor; return what the network takes"
            )
        size = next(len(t) for t in tree_leaves(tree) if isinstance(t, torch.Tensor))
        valid = batch.valid if self._functions["valid"] is None else self._own("valid", tree)
        mask = batch.kwargs.get(_MASK)
        if valid is None and isinstance(mask, torch.Tensor) and mask.dim() == 2:
            valid = mask
        return dataclasses.replace(batch, size=size, valid=None if valid is None else valid.bool())

    def _known(self, batch: Batch) -> Any:
        """The batch as the user's functions know it."""
        return batch.target if self._raw else batch

    def _call(self, key: str, outputs: Any, batch: Batch) -> Any:
        first = Ran(outputs, batch, key) if _takes_model(self._functions[key]) else outputs
        return self._own(key, first, self._known(batch))

    def _own(self, key: str, *args: Any) -> Any:
        function = self._functions[key]
        assert function is not None
        try:
            return function(*args)
        except InputError:
            raise
        except Exception as error:
            if lacks_memory(error):  # which is no fault of the function's
                raise
            raise InputError(f"{key}= of the task raised {failure(error)}; repair it") from error


class Ran(nn.Module):
    """A network that has run: it returns the outputs that it had for a batch, with their gradients.

    Args:
        outputs: of the network for the batch.
        batch: the batch.
        key: which function is told, for messages.
    """

    def __init__(self, outputs: Any, batch: Batch, key: str) -> None:
        super().__init__()
        self.outputs, self.batch, self.key = outputs, batch, key
        # code that asks a network's parameters for their device gets an answer
        device = next((t.device for t in batch.inputs), torch.device("cpu"))
        self.device_of_outputs = nn.Parameter(torch.zeros(0, device=device), requires_grad=False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        theirs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        ours = self.batch.inputs
        if len(theirs) != len(ours) or not all(a is b or torch.equal(a, b) for a, b in zip(theirs, ours, strict=True)):
            raise InputError(
                f"{self.key}= calls the network on something else than the inputs of the batch; call it on those "
                "alone, say them with inputs=, or train in a loop of your own"
            )
        return self.outputs


def _usual(tree: Any) -> Any:
    """What networks usually take of a batch: all but the labels."""
    if isinstance(tree, Mapping):
        return {key: value for key, value in tree.items() if key not in LABEL_NAMES}
    if isinstance(tree, tuple):
        return tuple(tree) if len(tree) == 1 else tuple(tree[:-1])
    return tree


def _metrics(
    metric: str | Metric | Sequence[Metric], unit: str, higher: bool, finish: Finish | None
) -> tuple[Metric, ...]:
    """The scores, the first of which ranks."""
    if isinstance(metric, str):
        if metric == ACCURACY.key and finish is None:
            return (ACCURACY,)
        key = re.sub(r"\W+", "_", metric.strip().lower()).strip("_")
        if not key:
            raise InputError(f"metric={metric!r} is no name; give one, such as 'F1'")
        known: dict[str, Any] = {} if finish is None else {"finish": finish}
        return (Metric(key, metric, unit, higher, **known),)
    several = (metric,) if isinstance(metric, Metric) else tuple(metric)
    if not several or not all(isinstance(m, Metric) for m in several):
        raise InputError(f"metric={shown(metric)} is no name and no Metric; give a name, a Metric, or several of these")
    if finish is not None:
        raise InputError("metric= has a Metric, which says itself how it is finished; leave finish= out")
    if len({m.key for m in several}) < len(several):
        raise InputError("metric= has two metrics of one key; give each a key of its own")
    return several


def _takes_model(function: Function | None) -> bool:
    """Whether a function's first argument is called ``model``."""
    try:
        return function is not None and next(iter(inspect.signature(function).parameters), "") == "model"
    except (TypeError, ValueError):  # of built-in functions nobody knows
        return False


def _is_ready(part: Any) -> bool:
    """Whether a part is examples as tasks know them."""
    return all(hasattr(part, name) for name in ("batches", "take", "order", "contents"))


def _array(found: Any, who: str) -> FloatArray:
    if isinstance(found, (tuple, list)) and found and all(isinstance(t, torch.Tensor) and t.dim() == 1 for t in found):
        found = torch.stack([t.double() for t in found], dim=1)
    try:
        array = found.detach().double().cpu().numpy() if isinstance(found, torch.Tensor) else np.asarray(found, float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{who} returned {_said(found)}, which are no numbers; return numbers") from error
    return array.astype(np.float64)


def _taken(outputs: Any, index: torch.Tensor, size: int) -> Any:
    """What of outputs belongs to examples."""
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, (type, Mapping)):
        values = {f.name: _taken(getattr(outputs, f.name), index, size) for f in dataclasses.fields(outputs)}
        return dataclasses.replace(outputs, **values)
    return tree_map(
        lambda t: t[index.to(t.device)] if isinstance(t, torch.Tensor) and t.dim() and len(t) == size else t, outputs
    )


def _said(found: Any) -> str:
    if isinstance(found, torch.Tensor):
        return f"a tensor of shape {tuple(found.shape)}"
    return f"a {type(found).__name__}"

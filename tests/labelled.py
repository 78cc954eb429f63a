"""A task for tests of rooms that know of none: images and labels, by the contract alone, and calls that are made of it.

Nothing here knows the classification of the house, so that these tests hold whatever becomes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from netsmith import training
from netsmith.accuracy import curvature
from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.data import Data, Normalisation, Split
from netsmith.data.augment import default_augment
from netsmith.data.batch import Batch
from netsmith.data.pictures import Pictures
from netsmith.errors import InputError
from netsmith.metrics import ACCURACY, FloatArray
from netsmith.network.graph import Graph
from netsmith.network.outputs import describe_output, logits_among
from netsmith.tasks.task import Objective, Task, Weighted

Pixels = tuple[tuple[float, ...], tuple[float, ...]]


class Labelled(Task):
    """Images with labels of three splits, or of none."""

    kind, each, read_words, needs_scales = "labelled", "images", "its logits are", False
    metrics = (ACCURACY,)

    def __init__(self, data: Data | None = None) -> None:
        if data is not None:
            self.data, self.name, self.note = data, data.name, data.note
            train, search, test = (
                s if s is None else Pictures(s, data.normalisation) for s in (data.train, data.search, data.test)
            )
            assert search is not None and test is not None
            self.train, self.search, self.test = train, search, test

    def read(self, outputs: Any, batch: Batch) -> torch.Tensor:
        logits = logits_among(outputs)
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
            said = f"the network returns {describe_output(logits)} for {batch.size} images"
            raise InputError(f"{said}, but one tensor of logits is needed")
        return logits

    def loss(self, outputs: Any, batch: Batch) -> Weighted:
        values = F.cross_entropy(self.read(outputs, batch).float(), batch.target, reduction="none")
        return values, torch.ones_like(values)

    def training_loss(self, outputs: Any, teacher: Any, batch: Batch, how: Objective) -> torch.Tensor:
        own = self.read(outputs, batch).float()
        if own.shape[1] <= (most := int(batch.target.max())):
            raise InputError(f"the network has {own.shape[1]} outputs but the data has a label {most}")
        hard = F.cross_entropy(own, batch.target, label_smoothing=how.label_smoothing)
        if teacher is None:
            return hard
        logits, taught = (self.read(x, batch).float() / how.temperature for x in (outputs, teacher))
        soft = (taught.softmax(1) * (taught.log_softmax(1) - logits.log_softmax(1))).sum(dim=1).mean()
        return (1 - how.alpha) * hard + how.alpha * how.temperature**2 * soft

    def partial(self, outputs: Any, batch: Batch) -> FloatArray:
        found: FloatArray = (self.read(outputs, batch).argmax(1) == batch.target).double()[:, None].cpu().numpy()
        return found

    def divergence(self, outputs: Any, given: Any, batch: Batch, scales: Any = None) -> Weighted:
        p, q = (F.log_softmax(self.read(x, batch).float(), dim=1) for x in (given, outputs))
        values = (p.exp() * (p - q)).sum(dim=1).double()
        return values, torch.ones_like(values)

    def rooted(self, outputs: Any, signs: Sequence[torch.Tensor], batch: Batch, scales: Any) -> torch.Tensor:
        z = self.read(outputs, batch)
        root = z.detach().float().softmax(dim=1).sqrt()
        held = root * signs[0]
        return ((held - root * root * held.sum(dim=1, keepdim=True)) * z.float()).sum(dim=1)

    def augmentation(self, wanted: Any) -> Any:
        if wanted == "auto":
            return None if self.data.as_given else default_augment(self.data.input_shape[-1])
        return wanted


def pictures(split: Split, normalisation: Pixels) -> Pictures:
    """A split as examples."""
    return Pictures(split, Normalisation(*normalisation))


def fit(model: nn.Module, data: Data, *args: Any, **kwargs: Any) -> training.FitResult:
    """Train on images with labels."""
    return training.fit(model, Labelled(data), *args, **kwargs)


def evaluate(model: nn.Module, split: Split, *, normalisation: Pixels, **options: Any) -> tuple[float, float]:
    """Accuracy and mean cross-entropy."""
    found = training.evaluate(model, Labelled(), pictures(split, normalisation), **options)
    return found.score, found.loss


def reestimate_batch_norm(
    model: nn.Module, split: Split, most: int = 2000, *, normalisation: Pixels, **how: Any
) -> int:
    return training.reestimate_batch_norm(model, pictures(split, normalisation), most, **how)


def centre_batch_norm(model: nn.Module, split: Split, most: int = 2000, *, normalisation: Pixels, **how: Any) -> int:
    return training.centre_batch_norm(model, pictures(split, normalisation), most, **how)


def settle_batch_norm(model: nn.Module, split: Split, *, normalisation: Pixels) -> bool:
    return training.settle_batch_norm(model, Labelled().with_splits(search=pictures(split, normalisation)))


def evaluator(graph: Graph, images: Any, labels: torch.Tensor, batch_size: int | None = None) -> IncrementalEvaluator:
    """An evaluator on images with labels."""
    return IncrementalEvaluator(graph, Labelled(), Batch((images,), target=labels), batch_size)


def hessian_trace(
    graph: Graph, images: torch.Tensor, labels: torch.Tensor, names: Sequence[str], **how: Any
) -> curvature.Traces:
    """Of the mean cross-entropy."""

    def loss(outputs: Any, batch: Batch) -> torch.Tensor:
        return F.cross_entropy(logits_among(outputs).float(), batch.target)

    return curvature.hessian_trace(graph, Batch((images,), target=labels), loss, names, **how)


def weight_fisher(
    graph: Graph, images: torch.Tensor, labels: torch.Tensor | None, names: Sequence[str], **how: Any
) -> curvature.Fisher:
    """At the labels, or over the network's own outputs."""
    target = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    batch = Batch((images,), target=target)
    return curvature.weight_fisher(graph, Labelled(), batch, names, targets=labels is not None, **how)


def rows(right: np.ndarray) -> FloatArray:
    """Which examples are right as rows of a task."""
    return np.asarray(right, dtype=np.float64)[:, None]

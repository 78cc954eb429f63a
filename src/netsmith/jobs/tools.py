"""What the kinds of decisions of a job need: scores of channels, repair, grids of integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from netsmith.compression.build import histograms_of
from netsmith.compression.calibrate import Histogram
from netsmith.compression.channels import GroupReport
from netsmith.compression.evidence import FloatArray
from netsmith.compression.importance import Criterion, channel_importance
from netsmith.compression.mixed import LayerQuantizer
from netsmith.compression.placement import layer_inputs, place
from netsmith.compression.quantize import Calibration
from netsmith.compression.reconstruct import Moments, Repair, gather
from netsmith.compression.share import CodebookQuantizer
from netsmith.data.batch import Batch
from netsmith.data.examples import Examples
from netsmith.decisions.slim import Slimmed, slim
from netsmith.jobs.config import Prune, Quantize
from netsmith.jobs.contents import code_contents
from netsmith.jobs.subject import CALIBRATION_EXAMPLES, Subject
from netsmith.network.copying import copy_network
from netsmith.progress import Progress
from netsmith.tasks.task import Objective, Task
from netsmith.training.batchnorm import centre_batch_norm

TAYLOR_EXAMPLES = 512
REPAIR_EXAMPLES = 512


class Wanted(Protocol):
    """What of a job's options its tools go by."""

    @property
    def prune(self) -> Prune: ...

    @property
    def quantize(self) -> Quantize: ...

    @property
    def seed(self) -> int: ...


class JobTools:
    """Importance, repair and grids of one job, made when first asked for.

    Equal configurations give equal weights, so that a resumed run goes on with the same network: examples and sampled
    positions follow from the seed.
    """

    def __init__(self, subject: Subject, config: Wanted, progress: Progress) -> None:
        self.subject, self.config, self.progress = subject, config, progress

    settle = True  #: networks are built with their batch norms estimated again

    def slim(self, design: Any) -> Slimmed:
        """The user's module without what a design removes."""
        space = self.subject.space
        changes = (design != space.reference) & space.of_stage("topology", "structure")
        return slim(self.centred if changes.any() else self.subject.model, space, design, self)

    @cached_property
    def centred(self) -> nn.Module:
        """The user's module, its norms ready to be estimated again."""
        model = copy_network(self.subject.model)
        centre_batch_norm(model, self.subject.task.search)
        return model

    @cached_property
    def importance(self) -> dict[str, FloatArray]:
        """Group name -> score of each channel."""
        return scores_of(self.subject.model, self.subject, self.config.prune.importance, lambda: self.moments)

    @cached_property
    def repair(self) -> Repair | None:
        """Least-squares repair, where it is wanted and channels can be pruned."""
        wanted = self.config.prune.reconstruct and groups_of(self.subject).groups
        return Repair(self.moments, self.importance) if wanted else None

    @cached_property
    def moments(self) -> Moments:
        """Moments of what the layers that read prunable channels read."""
        s, seed = self.subject, self.config.seed
        found = gather(s.graph, s.model, groups_of(s).groups, repair_examples(s.task, seed), seed)
        for layer, reason in list(found.skipped.items())[:6]:
            self.progress.note(f"  {layer} is not repaired: {reason}")
        return found

    @cached_property
    def calibration(self) -> Calibration:
        """8-bit grids of the tensors that integer layers read or write."""
        return Calibration(self._histograms, self.config.quantize.calibration)

    @cached_property
    def quantizer(self) -> LayerQuantizer:
        """Grids of every layer at every width, or codebooks."""
        graph = self.subject.graph
        if self.subject.space.scheme == "kmeans":
            return CodebookQuantizer(graph)
        return LayerQuantizer(graph, self._histograms, self.config.quantize.calibration)

    @cached_property
    def _histograms(self) -> dict[str, Histogram]:
        """Of what layers read, and where integers are placed between them of that as well."""
        graph, space = self.subject.graph, self.subject.space
        names = set(layer_inputs(graph, space.quantized).values())
        if not space.is_mixed:
            names = place(graph, space.quantized).scaled
            for layer in space.quantized:
                names |= place(graph, [layer]).scaled
        return histograms_of(graph, self.examples, names)

    @cached_property
    def examples(self) -> Examples:
        """The examples of the search split that grids are calibrated on."""
        return self.subject.searched(CALIBRATION_EXAMPLES)


def groups_of(subject: Subject) -> GroupReport:
    """The channels that may go, whatever kind of decisions says so."""
    return GroupReport([g for kind in subject.space.kinds if kind.decisions for g in kind.scored], {}, {})


def scores_of(
    model: nn.Module, subject: Subject, criterion: str | Criterion, moments: Callable[[], Moments] | None = None
) -> dict[str, FloatArray]:
    """Scores of the channels of a network of the subject's full size, with examples of the search split if needed."""

    def batches() -> Iterator[tuple[Batch, Batch]]:
        yield from ((batch, batch) for batch in subject.searched(TAYLOR_EXAMPLES).batches(64))

    def loss(outputs: Any, batch: Batch) -> torch.Tensor:
        return subject.task.training_loss(outputs, None, batch, Objective())

    return channel_importance(model, groups_of(subject), criterion, batches(), loss, moments=moments)


def criterion_contents(criterion: str | Criterion) -> dict[str, str]:
    """The digest of a criterion of the user's own; of nothing where it is named, as those are of the house."""
    return {} if isinstance(criterion, str) else code_contents("the criterion of --importance", criterion)


def repair_examples(task: Task, seed: int) -> Examples:
    """Examples of the train split, or of the search split where there is none, or where it is a stream."""
    examples = task.search if task.train is None or task.train.order == "stream" else task.train
    count = min(REPAIR_EXAMPLES, len(examples))
    return examples.take(np.sort(np.random.default_rng(seed).choice(len(examples), count, replace=False)))

"""Which channels a job prunes, and what the layers that read them become."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from netsmith.compression.evidence import FloatArray
from netsmith.compression.importance import Criterion, channel_importance
from netsmith.compression.reconstruct import Moments, Repair, gather
from netsmith.data import Data
from netsmith.decisions.slim import Slimmed, slim
from netsmith.jobs.config import CompressConfig
from netsmith.jobs.contents import code_contents
from netsmith.jobs.subject import Subject
from netsmith.network.copying import copy_network
from netsmith.progress import Progress
from netsmith.training.batchnorm import centre_batch_norm

TAYLOR_IMAGES = 512
REPAIR_IMAGES = 512


class Pruning:
    """Importance and repair of one job, made when first asked for.

    Equal configurations give equal weights, so that a resumed run goes on with the same network: images and sampled
    positions follow from the seed.
    """

    def __init__(self, subject: Subject, config: CompressConfig, progress: Progress) -> None:
        self.subject, self.config, self.progress = subject, config, progress

    def slim(self, design: Any) -> Slimmed:
        """The user's module without what a design removes."""
        s = self.subject
        is_smaller = s.choices.kept(design) or s.choices.dropped(design)
        return slim(self.centred if is_smaller else s.model, s.choices, s.report, design, self.importance, self.repair)

    @cached_property
    def centred(self) -> nn.Module:
        """The user's module, its norms ready to be estimated again."""
        model, data = copy_network(self.subject.model), self.subject.data
        centre_batch_norm(model, data.search, normalisation=data.normalisation)
        return model

    @cached_property
    def importance(self) -> dict[str, FloatArray]:
        """Group name -> score of each channel."""
        return scores_of(self.subject.model, self.subject, self.config.prune.importance, lambda: self.moments)

    @cached_property
    def repair(self) -> Repair | None:
        """Least-squares repair, where it is wanted and channels can be pruned."""
        wanted = self.config.prune.reconstruct and self.subject.choices.groups
        return Repair(self.moments, self.importance) if wanted else None

    @cached_property
    def moments(self) -> Moments:
        """Moments of what the layers that read prunable channels read."""
        s, seed = self.subject, self.config.seed
        found = gather(s.graph, s.model, s.report.groups, repair_images(s.data, seed), seed)
        for layer, reason in list(found.skipped.items())[:6]:
            self.progress.note(f"  {layer} is not repaired: {reason}")
        return found


def scores_of(
    model: nn.Module, subject: Subject, criterion: str | Criterion, moments: Callable[[], Moments] | None = None
) -> dict[str, FloatArray]:
    """Scores of the channels of a network of the subject's full size, with images of the search split where needed."""

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        images, labels = subject.search_images(TAYLOR_IMAGES)
        yield from zip(images.split(64), labels.split(64), strict=True)

    return channel_importance(model, subject.report, criterion, batches(), moments=moments)


def criterion_contents(criterion: str | Criterion) -> dict[str, str]:
    """The digest of a criterion of the user's own; of nothing where it is named, as those are of the house."""
    return {} if isinstance(criterion, str) else code_contents("the criterion of --importance", criterion)


def repair_images(data: Data, seed: int) -> torch.Tensor:
    """Normalised images ``(N, C, H, W)`` of the train split, or of the search split where there is none."""
    split = data.search if data.train is None else data.train
    count = min(REPAIR_IMAGES, len(split))
    part = split.take(np.sort(np.random.default_rng(seed).choice(len(split), count, replace=False)))
    return torch.cat([x for x, _ in part.batches(256, normalise=data.normalisation)])

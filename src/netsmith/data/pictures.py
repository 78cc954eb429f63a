"""Images of a split as examples of a task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from netsmith.data.batch import Batch
from netsmith.data.normalise import Normalisation
from netsmith.data.types import Split


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images of a split, normalised as they are asked for.

    Attributes:
        split: images and labels.
        normalisation: mean and standard deviation of x/255; none for inputs that are taken as given.
    """

    split: Split
    normalisation: Normalisation
    order: str = field(default="position", init=False)

    def __len__(self) -> int:
        return len(self.split)

    def take(self, index: Any) -> Pictures:
        """The images at ``index``; slices share memory."""
        return Pictures(self.split.take(index), self.normalisation)

    def batches(
        self, size: int, *, rng: np.random.Generator | None = None, start: int = 0, part: tuple[int, int] = (0, 1),
        drop_last: bool = False, augment: Any = None,
    ) -> Iterator[Batch]:  # fmt: skip
        """See :class:`netsmith.data.examples.Examples`; ``augment`` is a random crop and flip."""
        found = self.split.batches(
            size, normalise=self.normalisation, shuffle_rng=rng, augment=augment, drop_last=drop_last, start=start,
            part=part,
        )  # fmt: skip
        return (Batch((images,), target=labels, size=len(labels)) for images, labels in found)

    def contents(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield "images", self.split.images
        yield "labels", self.split.labels

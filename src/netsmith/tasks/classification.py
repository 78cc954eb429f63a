"""Images of classes: which of them an image is of. The outputs are one row of logits an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from netsmith.data.augment import default_augment
from netsmith.data.batch import Batch
from netsmith.data.feeding import Feeding
from netsmith.data.load import data_for
from netsmith.data.normalise import normalisation_from_metadata
from netsmith.data.pictures import Pictures
from netsmith.data.types import Data, check_classes
from netsmith.metrics import FloatArray
from netsmith.network.outputs import logits_among
from netsmith.tasks import doubt
from netsmith.tasks.logits import LogitsTask, accuracies, answers


class Classification(LogitsTask):
    """Top-1 accuracy ranks; cross-entropy is lowered, and what a network loses is the divergence of its probabilities.

    Args:
        data: images and labels of three splits, normalised as the network expects.
    """

    kind: ClassVar[str] = "classification"
    optimizer: ClassVar[str] = "sgd"
    each, read_words, misfit = "images", "its logits are", "give the size it expects with --image-size"

    def __init__(self, data: Data) -> None:
        self.data, self.name, self.note, self.sentences = data, data.name, data.note, data.sentences
        pixels = data.normalisation
        self.train = None if data.train is None else Pictures(data.train, pixels)
        self.search, self.test = Pictures(data.search, pixels), Pictures(data.test, pixels)
        self.classes, self.metrics = len(data.classes), accuracies(len(data.classes))

    def partial(self, outputs: Any, batch: Batch) -> FloatArray:
        return answers(self.read(outputs, batch), batch.target)

    def augmentation(self, wanted: Any) -> Any:
        """Floats are what the network expects, which need be no image."""
        if wanted == "auto":
            return None if self.data.as_given else default_augment(self.data.input_shape[-1])
        return wanted

    # --- what speaks against a score ---------------------------------------------------------------------------------

    def doubt(self, rows: FloatArray) -> dict[str, Any] | None:
        said, labels = rows[:, 2].astype(np.int64), rows[:, 3].astype(np.int64)
        return doubt.misread(said, labels) or doubt.guessed(int((said == labels).sum()), labels)

    def doubt_of(self, scores: Mapping[str, float]) -> dict[str, Any] | None:
        return doubt.of_splits(scores, self._labels(scores))

    def doubted(self, found: Mapping[str, Any], where: str, weights: bool) -> str:
        return doubt.sentence(found, self.data.classes, where, weights)

    def ruined(self, who: str, scores: Mapping[str, float], remedy: str) -> list[str]:
        return doubt.ruined(who, scores, self._labels(scores), remedy)

    def _labels(self, scores: Mapping[str, float]) -> dict[str, NDArray[np.int64]]:
        splits = {"search": self.data.search, "test": self.data.test}
        return {name: splits[name].labels.numpy() for name in scores}

    # --- what products say -------------------------------------------------------------------------------------------

    def for_weights(self, metadata: Mapping[str, str], given: bool = False) -> Classification:
        """The same images normalised as the header says, or with a note where it says otherwise than the user."""
        if given:
            return Classification(self.data.compared_with(metadata))
        return Classification(self.data.with_normalisation(normalisation_from_metadata(metadata)))

    def fits(self, outputs: Any, metadata: Mapping[str, str]) -> None:
        check_classes(self.data, int(logits_among(outputs).shape[1]), metadata)

    def kept(self, count: int) -> torch.Tensor:
        """The images as they are, ``(N, C, H, W)``."""
        return self.data.search.images[:count].clone()

    def feeding(self, graph: Any, outputs: Any) -> Feeding:
        """As the data is fed, with a label for each of the outputs."""
        return self.data.feeding.for_outputs(int(logits_among(outputs).shape[1]))

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "each": self.each}

    @property
    def says(self) -> str:
        return repr(self.data.classes)

    @property
    def metadata(self) -> dict[str, str]:
        return self.data.metadata

    @property
    def built_with(self) -> dict[str, Any]:
        return {"num_classes": self.data.known_classes, "input_shape": tuple(self.data.input_shape)}

    @property
    def made_with(self) -> dict[str, Any]:
        return self.built_with | {"num_classes": len(self.data.classes)}


def load(data: Any, header: Mapping[str, str], **reading: Any) -> Classification:
    """Images of classes from whatever ``netsmith.data.load_data`` reads.

    Args:
        header: of the weights, whose order of classes goes for a network that has them.
        reading: as of ``netsmith.data.data_for``.
    """
    return Classification(data_for(data, header, **reading))

"""Images of classes: which of them an image is of. The outputs are one row of logits an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from netsmith.data.augment import default_augment
from netsmith.data.batch import Batch
from netsmith.data.feeding import Feeding
from netsmith.data.load import data_for
from netsmith.data.normalise import normalisation_from_metadata
from netsmith.data.pictures import Pictures
from netsmith.data.types import Data, check_classes
from netsmith.errors import InputError
from netsmith.metrics import ACCURACY, FloatArray, Metric
from netsmith.network.outputs import describe_output, logits_among
from netsmith.tasks import doubt
from netsmith.tasks.task import Objective, Task, Weighted

_TOP = 5


def _top5(rows: FloatArray) -> float:
    return float(rows[:, 1].mean()) if len(rows) else float("nan")


TOP5 = Metric("top5", "top-5 accuracy", "%", finish=_top5)


class Classification(Task):
    """Top-1 accuracy ranks; cross-entropy is lowered, and what a network loses is the divergence of its probabilities.

    Args:
        data: images and labels of three splits, normalised as the network expects.
    """

    kind: ClassVar[str] = "classification"
    needs_scales: ClassVar[bool] = False
    optimizer: ClassVar[str] = "sgd"
    each, read_words, misfit = "images", "its logits are", "give the size it expects with --image-size"

    def __init__(self, data: Data) -> None:
        self.data, self.name, self.note, self.sentences = data, data.name, data.note, data.sentences
        pixels = data.normalisation
        self.train = None if data.train is None else Pictures(data.train, pixels)
        self.search, self.test = Pictures(data.search, pixels), Pictures(data.test, pixels)
        self.metrics = (ACCURACY, TOP5) if len(data.classes) > _TOP else (ACCURACY,)

    def read(self, outputs: Any, batch: Batch) -> torch.Tensor:
        """The logits ``(size, classes)``, by their name or their place where there are other outputs."""
        logits, count = logits_among(outputs), batch.size
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != count:
            said = f"{count} images" if count != 1 else "one image"
            raise InputError(
                f"the network returns {describe_output(logits)} for {said}, but one tensor of logits "
                f"({count}, classes) is needed; let its forward return that alone"
            )
        return logits

    def _scored(self, outputs: Any, batch: Batch) -> torch.Tensor:
        """The logits, in single precision, if there is one for every label."""
        logits = self.read(outputs, batch).float()
        if batch.size and logits.shape[1] <= (most := int(batch.target.max())):
            raise InputError(
                f"the network has {logits.shape[1]} outputs but the data has a label {most}; use data and weights of "
                "the same classes"
            )
        return logits

    def loss(self, outputs: Any, batch: Batch) -> Weighted:
        values = F.cross_entropy(self.read(outputs, batch).float(), batch.target, reduction="none")
        return values, torch.ones_like(values)

    def total(self, outputs: Any, batch: Batch) -> tuple[float, float]:
        return float(F.cross_entropy(self._scored(outputs, batch), batch.target, reduction="sum")), float(batch.size)

    def training_loss(self, outputs: Any, teacher: Any, batch: Batch, how: Objective) -> torch.Tensor:
        logits = self._scored(outputs, batch)
        hard = F.cross_entropy(logits, batch.target, label_smoothing=how.label_smoothing)
        if teacher is None:
            return hard
        t, taught = how.temperature, self.read(teacher, batch).float()
        soft = F.kl_div(
            F.log_softmax(logits / t, 1), F.log_softmax(taught / t, 1), reduction="batchmean", log_target=True
        )
        return (1 - how.alpha) * hard + how.alpha * t * t * soft

    def divergence(self, outputs: Any, given: Any, batch: Batch, scales: Any = None) -> Weighted:
        """KL divergence of each image's class probabilities from those given, in nats."""
        reference = F.log_softmax(self.read(given, batch).float(), dim=1)
        log_p = F.log_softmax(self.read(outputs, batch).float(), dim=1)
        values = (reference.exp() * (reference - log_p)).sum(dim=1).double()
        return values, torch.ones_like(values)

    def rooted(self, outputs: Any, signs: Sequence[torch.Tensor], batch: Batch, scales: Any) -> torch.Tensor:
        """Of cross-entropy R = diag(sqrt(p)) - p sqrt(p)^T, as its Hessian in the logits is diag(p) - p p^T."""
        z = self.read(outputs, batch)
        p = F.softmax(z.detach().float(), dim=1)
        scaled = p.sqrt() * signs[0]
        return ((scaled - p * scaled.sum(dim=1, keepdim=True)) * z.float()).sum(dim=1)

    def partial(self, outputs: Any, batch: Batch) -> FloatArray:
        """Whether the class is the first of an image's, whether it is among its first five, what was said, and it."""
        logits, labels = self.read(outputs, batch), batch.target
        said = logits.argmax(1)
        among = logits.topk(min(_TOP, logits.shape[1]), dim=1).indices == labels[:, None]
        columns = [said == labels, among.any(dim=1), said, labels]
        return torch.stack([c.double() for c in columns], dim=1).cpu().numpy()

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

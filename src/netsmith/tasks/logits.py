"""What tasks of classes have in common: a row of logits an example, or one a pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch.nn import functional as F

from netsmith.data.batch import Batch
from netsmith.errors import InputError
from netsmith.metrics import ACCURACY, FloatArray, Metric
from netsmith.network.outputs import describe_output, logits_among
from netsmith.tasks.task import Objective, Task, Weighted

_AXES = ("classes", "height", "width")
_TOP = 5


class LogitsTask(Task):
    """Outputs are logits ``(size, classes, ...)`` and targets whole numbers ``(size, ...)``.

    What a network loses is the divergence of its probabilities from those of the network as given.

    Attributes:
        classes: how many there are, at least: a network may have more outputs.
        ignore: a target that counts for nothing; None where each counts.
    """

    classes: int
    ignore: int | None = None
    needs_scales: ClassVar[bool] = False
    positions: ClassVar[int] = 0  #: axes behind that of the classes

    def read(self, outputs: Any, batch: Batch) -> torch.Tensor:
        """The logits, by their name or their place where there are other outputs."""
        logits, count = logits_among(outputs), batch.size
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2 + self.positions or len(logits) != count:
            one = count == 1
            said = f"one {self.each.removesuffix('s')}" if one else f"{count} {self.each}"
            raise InputError(
                f"the network returns {describe_output(logits)} for {said}, but one tensor of logits "
                f"({', '.join([str(count), *_AXES[: 1 + self.positions]])}) is needed; let its forward return that "
                "alone, or as `logits`"
            )
        return logits

    def fits(self, outputs: Any, metadata: Mapping[str, str]) -> None:
        count = int(logits_among(outputs).shape[1])
        if count < self.classes:
            raise InputError(
                f"the network has {count} outputs but the data has a label {self.classes - 1}; use data and weights of "
                "the same classes"
            )

    def total(self, outputs: Any, batch: Batch) -> tuple[float, float]:
        logits, target = self._counted(outputs, batch)
        return float(F.cross_entropy(logits, target, reduction="sum")), float(target.numel())

    def loss(self, outputs: Any, batch: Batch) -> Weighted:
        logits, target, kept = self.read(outputs, batch).float(), batch.target.long(), self._kept(batch)
        safe = target if self.ignore is None else target.masked_fill(~kept, 0)
        return F.cross_entropy(logits, safe, reduction="none"), kept.float()

    def training_loss(self, outputs: Any, teacher: Any, batch: Batch, how: Objective) -> torch.Tensor:
        logits, target = self._counted(outputs, batch)
        if not target.numel():  # of a batch in which nothing counts
            return logits.sum() * 0.0
        hard = F.cross_entropy(logits, target, label_smoothing=how.label_smoothing)
        if teacher is None:
            return hard
        t, taught = how.temperature, self._counted(teacher, batch)[0]
        soft = F.kl_div(
            F.log_softmax(logits / t, 1), F.log_softmax(taught / t, 1), reduction="batchmean", log_target=True
        )
        return (1 - how.alpha) * hard + how.alpha * t * t * soft

    def divergence(self, outputs: Any, given: Any, batch: Batch, scales: Any = None) -> Weighted:
        """KL divergence of the class probabilities from those given, the mean over an example's positions, in nats."""
        reference = F.log_softmax(self.read(given, batch).float(), dim=1)
        log_p = F.log_softmax(self.read(outputs, batch).float(), dim=1)
        far = (reference.exp() * (reference - log_p)).sum(dim=1).double().reshape(batch.size, -1)
        kept = self._kept(batch).reshape(batch.size, -1)
        values = (far * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
        return values, torch.ones_like(values)

    def rooted(self, outputs: Any, signs: Sequence[torch.Tensor], batch: Batch, scales: Any) -> torch.Tensor:
        """Of cross-entropy R = diag(sqrt(p)) - p sqrt(p)^T at each position, over the root of how many there are.

        For the Hessian of cross-entropy in the logits is diag(p) - p p^T.
        """
        z, kept = self.read(outputs, batch), self._kept(batch)
        p = F.softmax(z.detach().float(), dim=1)
        scaled = p.sqrt() * signs[0]
        each = ((scaled - p * scaled.sum(dim=1, keepdim=True)) * z.float()).sum(dim=1) * kept
        return each.reshape(len(z), -1).sum(dim=1) / kept.reshape(len(z), -1).sum(dim=1).clamp(min=1).sqrt()

    def _counted(self, outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits ``(M, classes)`` in single precision and targets ``(M,)`` of all positions that count.

        Raises:
            InputError: a target is of a class that the network has no output for.
        """
        logits, target = self.read(outputs, batch).float(), batch.target.long()
        if self.positions or self.ignore is not None:
            kept = self._kept(batch)
            logits, target = logits.movedim(1, -1)[kept], target[kept]
        if target.numel() and logits.shape[1] <= (most := int(target.max())):
            raise InputError(
                f"the network has {logits.shape[1]} outputs but the data has a label {most}; use data and weights of "
                "the same classes"
            )
        return logits, target

    def _kept(self, batch: Batch) -> torch.Tensor:
        """Which targets count."""
        target = batch.target
        return torch.ones_like(target, dtype=torch.bool) if self.ignore is None else target != self.ignore


def _top5(rows: FloatArray) -> float:
    return float(rows[:, 1].mean()) if len(rows) else float("nan")


TOP5 = Metric("top5", "top-5 accuracy", "%", finish=_top5)


def accuracies(classes: int) -> tuple[Metric, ...]:
    """The scores of a task of one label an example, by how many classes it has."""
    return (ACCURACY, TOP5) if classes > _TOP else (ACCURACY,)


def answers(logits: torch.Tensor, labels: torch.Tensor) -> FloatArray:
    """Of each example whether its label is said first, whether it is among the first five, what was said, and it."""
    said = logits.argmax(1)
    among = logits.topk(min(_TOP, logits.shape[1]), dim=1).indices == labels[:, None]
    columns = [said == labels, among.any(dim=1), said, labels]
    found: FloatArray = torch.stack([c.double() for c in columns], dim=1).cpu().numpy()
    return found

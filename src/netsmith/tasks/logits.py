"""What tasks of classes have in common: a row of logits an example, a pixel or a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch.nn import functional as F

from netsmith.data.batch import Batch
from netsmith.errors import InputError
from netsmith.network.outputs import describe_output, logits_among
from netsmith.tasks.task import Objective, Task, Weighted, cross_entropy


class LogitsTask(Task):
    """Outputs are logits ``(size, classes, ...)`` and targets whole numbers ``(size, ...)``.

    Attributes:
        classes: how many there are.
        ignore: a target that counts for nothing; None where each counts.
    """

    classes: int
    ignore: int | None = None
    needs_scales: ClassVar[bool] = False
    positions: ClassVar[int] = 0  #: axes behind that of the classes

    def read(self, outputs: Any, batch: Batch) -> torch.Tensor:
        found = logits_among(outputs)
        if not isinstance(found, torch.Tensor) or found.dim() != 2 + self.positions or len(found) != batch.size:
            raise InputError(
                f"the network returns {describe_output(outputs)} for {batch.size} {self.each}, but logits "
                f"({', '.join(['batch', 'classes', 'height', 'width'][: 2 + self.positions])}) are needed; let its "
                "forward return them, alone or as `logits`"
            )
        if found.shape[1] < self.classes:
            raise InputError(
                f"the network has {found.shape[1]} outputs but the data has a label {self.classes - 1}; use data and "
                "weights of the same classes"
            )
        return found

    def loss(self, outputs: Any, batch: Batch) -> Weighted:
        return cross_entropy(self.read(outputs, batch), batch.target.long(), self.ignore)

    def training_loss(self, outputs: Any, teacher: Any, batch: Batch, how: Objective) -> torch.Tensor:
        logits, target = self.read(outputs, batch).float(), batch.target.long()
        kept = self._kept(batch)
        safe = target.masked_fill(~kept, 0)
        values = F.cross_entropy(logits, safe, reduction="none", label_smoothing=how.label_smoothing)
        counts = kept.sum().clamp(min=1)
        hard = (values * kept).sum() / counts
        if teacher is None:
            return hard
        t = how.temperature
        far = _kl(logits / t, self.read(teacher, batch).float() / t)
        return (1 - how.alpha) * hard + how.alpha * t * t * (far * kept).sum() / counts

    def divergence(self, outputs: Any, given: Any, batch: Batch, scales: Any = None) -> Weighted:
        """KL divergence of the class probabilities from those given, the mean over an example's positions, in nats."""
        far = _kl(self.read(outputs, batch).float(), self.read(given, batch).float()).double().reshape(batch.size, -1)
        kept = self._kept(batch).reshape(batch.size, -1)
        values = (far * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
        return values, torch.ones_like(values)

    def scales(self, given: Sequence[Any]) -> None:
        """Probabilities need none."""

    def rooted(self, outputs: Any, signs: Sequence[torch.Tensor], batch: Batch, scales: Any) -> torch.Tensor:
        """Of cross-entropy R = diag(sqrt(p)) - p sqrt(p)^T at each position, over the root of how many there are."""
        z, kept = self.read(outputs, batch), self._kept(batch)
        p = F.softmax(z.detach().float(), dim=1)
        scaled = p.sqrt() * signs[0]
        each = ((scaled - p * scaled.sum(dim=1, keepdim=True)) * z.float()).sum(dim=1) * kept
        return each.reshape(len(z), -1).sum(dim=1) / kept.reshape(len(z), -1).sum(dim=1).clamp(min=1).sqrt()

    def _kept(self, batch: Batch) -> torch.Tensor:
        """Which targets count."""
        target = batch.target
        return torch.ones_like(target, dtype=torch.bool) if self.ignore is None else target != self.ignore


def _kl(logits: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """How far class probabilities are from those given, ``(B, ...)`` of ``(B, classes, ...)``."""
    reference, log_p = F.log_softmax(given, dim=1), F.log_softmax(logits, dim=1)
    return (reference.exp() * (reference - log_p)).sum(dim=1)

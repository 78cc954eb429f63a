"""Training loss: cross-entropy, and distillation from a teacher."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Distillation:
    """Hinton et al. 2015 (arXiv:1503.02531), equation 4 and section 2.

    Attributes:
        alpha: weight of the teacher's soft targets; the labels have the rest.
        temperature: divides both networks' logits; the loss is scaled back by its square.
    """

    alpha: float = 0.5
    temperature: float = 4.0


def training_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    teacher_logits: torch.Tensor | None = None,
    distillation: Distillation | None = None,
) -> torch.Tensor:
    """Mean loss over a batch, in float32, of logits ``(B, classes)`` and labels ``(B,)``."""
    logits = logits.float()
    hard = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    if teacher_logits is None:
        return hard
    setting = distillation or Distillation()
    t = setting.temperature
    soft = F.kl_div(
        F.log_softmax(logits / t, 1),
        F.log_softmax(teacher_logits.float() / t, 1),
        reduction="batchmean",
        log_target=True,
    )
    return (1 - setting.alpha) * hard + setting.alpha * t * t * soft

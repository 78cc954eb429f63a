"""Training: fit, distil, early stopping, checkpoints, batch-norm re-estimation, evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsmith.lazy import lazy_names

if TYPE_CHECKING:
    from netsmith.training.batchnorm import centre_batch_norm, reestimate_batch_norm, settle_batch_norm
    from netsmith.training.loop import fit
    from netsmith.training.result import Event, FitResult, Progress
    from netsmith.training.schedule import learning_rate
    from netsmith.training.score import evaluate
    from netsmith.training.settings import Checkpoints, Training
    from netsmith.training.workers import Workers

__all__ = [
    "Checkpoints",
    "Event",
    "FitResult",
    "Progress",
    "Training",
    "Workers",
    "centre_batch_norm",
    "evaluate",
    "fit",
    "learning_rate",
    "reestimate_batch_norm",
    "settle_batch_norm",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "batchnorm": ("centre_batch_norm", "reestimate_batch_norm", "settle_batch_norm"),
        "loop": ("fit",),
        "result": ("Event", "FitResult", "Progress"),
        "schedule": ("learning_rate",),
        "score": ("evaluate",),
        "settings": ("Checkpoints", "Training"),
        "workers": ("Workers",),
    },
)

"""Training: fit, distil, early stopping, checkpoints, batch-norm re-estimation, evaluation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsmith.training.batchnorm import centre_batch_norm as centre_batch_norm
    from netsmith.training.batchnorm import reestimate_batch_norm as reestimate_batch_norm
    from netsmith.training.batchnorm import settle_batch_norm as settle_batch_norm
    from netsmith.training.loop import fit as fit
    from netsmith.training.result import Event as Event
    from netsmith.training.result import FitResult as FitResult
    from netsmith.training.result import Progress as Progress
    from netsmith.training.schedule import learning_rate as learning_rate
    from netsmith.training.score import evaluate as evaluate
    from netsmith.training.settings import Checkpoints as Checkpoints
    from netsmith.training.settings import Training as Training
    from netsmith.training.workers import Workers as Workers

_HOME = {
    "Checkpoints": "settings",
    "Event": "result",
    "FitResult": "result",
    "Progress": "result",
    "Training": "settings",
    "Workers": "workers",
    "centre_batch_norm": "batchnorm",
    "evaluate": "score",
    "fit": "loop",
    "learning_rate": "schedule",
    "reestimate_batch_norm": "batchnorm",
    "settle_batch_norm": "batchnorm",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    # torch loads only when a name is used, so that `netsmith --help` stays fast
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

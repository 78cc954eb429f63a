"""Training: SGD with momentum or AdamW, bfloat16 where it pays, checkpoints that resume to the same weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from netsmith.tasks.task import Task
from netsmith.training.device import choose_device, placed, seeded
from netsmith.training.result import FitResult, Progress
from netsmith.training.settings import Checkpoints, Training, recorded
from netsmith.training.trainer import AfterEpoch, AfterStep, Trainer
from netsmith.training.workers import Workers


def fit(
    model: nn.Module, task: Task, training: Training, *, teacher: nn.Module | None = None,
    checkpoints: Checkpoints | None = None, memory: dict[str, Any] | None = None, progress: Progress | None = None,
    after_step: AfterStep | None = None, device: str = "auto", workers: Workers | None = None,
    after_epoch: AfterEpoch | None = None,
) -> FitResult:  # fmt: skip
    """Train ``model`` in place on ``task.train``; it ends in eval mode with the best weights on ``task.search``.

    Order and augmentation of epoch ``e`` depend on ``(seed, e)`` alone, and checkpoints hold weights, momentum,
    random state and the position within the epoch, so a killed and resumed training ends with the same bits as an
    uninterrupted one on the same number of threads. Examples that come as a stream, in an order of their own, are not
    the same ones again: checkpoints are then of whole epochs, and a resumed training is another one from there on.

    Args:
        model: returns what the task reads. Networks from torch.export keep their mode (batch norm stays fixed).
        task: with a train split.
        training: for how long, how fast, and what is kept.
        teacher: network whose outputs are learned beside the targets; it sees the same augmented examples.
        checkpoints: where the training is kept, and what it must have been made with to go on; None keeps nothing.
        memory: JSON values that ``after_step`` keeps outside of the network; they are part of every checkpoint, and a
            resumed training puts back what they were.
        progress: called about every second and after every epoch.
        after_step: called as ``after_step(step, total)`` after every step of the optimizer, while the gradients are
            still there; ``step`` counts from 0 over the whole training of ``total`` steps. What it changes must live
            in the network's state (parameters and persistent buffers, all finite), and what it draws must come from
            torch's global generator or from ``step``: checkpoints, retries and resumed trainings then cover it.
        device: ``"auto"`` is a GPU where torch finds one, else the CPU; or ``"cpu"``, ``"cuda"``, ``"cuda:1"``. The
            network ends on the CPU. Checkpoints of one device go on on another. Not every kernel of a GPU gives the
            same bits twice.
        workers: ``Workers.from_environment()`` in each of several processes that share every batch; they start from
            the first one's weights and end with the same ones. Gradients, losses, scores and running statistics are
            averaged; batch norm normalises with each process's own rows. Paths without a gradient must be the same
            in all processes, and what a hook makes of gradients of its own it averages with ``Workers.average``.
            The first process alone writes checkpoints and reports progress.

        after_epoch: called with the network and what was logged of the epoch, by :attr:`FitResult.history`, after each
            epoch; what it returns ends the training if it is true. A resumed training calls it for epochs to come.

    Raises:
        InputError: no train split, no such device, a network without trainable weights, a checkpoint of other
            settings, or a loss that is still not finite after the learning rate was halved three times.
    """
    task.need_train()
    kept = checkpoints or Checkpoints()
    settings = recorded(
        training, kept, task, shapes=_shapes(model), teacher=teacher is not None,
        after_step=after_step is not None,
    )  # fmt: skip
    where = choose_device(device)
    # seeds dropout without touching the caller's generators
    with seeded(training.seed, where), placed(where, model, teacher):
        trainer = Trainer(
            model, task, training, teacher, settings, progress, after_step, workers or Workers(), memory, after_epoch
        )
        return trainer.run(kept)


def _shapes(model: nn.Module) -> str:
    """A short word for the names and shapes of a network's state: a checkpoint only fits the same ones."""
    import hashlib

    text = repr([(k, tuple(v.shape)) for k, v in model.state_dict().items()])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

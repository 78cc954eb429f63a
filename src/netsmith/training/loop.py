"""Training: SGD with momentum, bfloat16 where it pays, checkpoints that resume to the same weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import nn

from netsmith.data.augment import Augment, default_augment
from netsmith.data.types import Data
from netsmith.errors import InputError
from netsmith.training.device import choose_device, placed, seeded
from netsmith.training.loss import Distillation
from netsmith.training.result import FitResult, Progress
from netsmith.training.schedule import SCHEDULES, check_training
from netsmith.training.trainer import AfterStep, Trainer
from netsmith.training.workers import Workers


def fit(
    model: nn.Module,
    data: Data,
    *,
    epochs: int,
    lr: float = 0.05,
    batch_size: int = 128,
    weight_decay: float = 1e-4,
    momentum: float = 0.9,
    schedule: str = "one-cycle",
    teacher: nn.Module | None = None,
    alpha: float = 0.5,
    temperature: float = 4.0,
    label_smoothing: float = 0.0,
    augment: Augment | Literal["auto"] | None = "auto",
    grad_clip: float | None = None,
    seed: int = 0,
    bf16: bool | Literal["auto"] = "auto",
    patience: int | None = None,
    eval_every: int = 1,
    checkpoint: str | Path | None = None,
    checkpoint_steps: int = 200,
    resume: bool = True,
    tag: str = "",
    contents: Mapping[str, str] | None = None,
    memory: dict[str, Any] | None = None,
    progress: Progress | None = None,
    after_step: AfterStep | None = None,
    keep: Literal["best", "last"] = "best",
    device: str = "auto",
    workers: Workers | None = None,
) -> FitResult:
    """Train ``model`` in place on ``data.train``; it ends in eval mode with the best weights on ``data.search``.

    Order and augmentation of epoch ``e`` depend on ``(seed, e)`` alone, and checkpoints hold weights, momentum,
    random state and the position within the epoch, so a killed and resumed training ends with the same bits as an
    uninterrupted one on the same number of threads.

    Args:
        model: returns ``(B, classes)`` logits. Networks from torch.export keep their mode (batch norm stays fixed).
        data: with a train split; ``data.normalisation`` is applied to the images.
        epochs: passes over the train split.
        lr: peak learning rate.
        batch_size: images a step.
        weight_decay: on weights; biases and norm parameters are left alone.
        momentum: of SGD (Nesterov).
        schedule: ``one-cycle``, ``cosine`` or ``constant``, each after its warm-up.
        teacher: network whose outputs are learned beside the labels; it sees the same augmented images.
        alpha: weight of the teacher.
        temperature: of the teacher's and the network's outputs.
        label_smoothing: in 0..1.
        augment: random crop and flip; ``"auto"`` fits them to the image size; None for none.
        grad_clip: largest norm of the gradient.
        seed: of order, augmentation and dropout.
        bf16: run convolutions and products in bfloat16; weights, norms and the loss stay float32. ``"auto"``
            does so on devices that multiply it natively.
        patience: stop after this many scored epochs without a better accuracy.
        eval_every: epochs between scores on the search split; the last epoch is always scored.
        checkpoint: file to write after every epoch and ``checkpoint_steps`` steps.
        checkpoint_steps: steps between checkpoints within an epoch.
        resume: go on from ``checkpoint`` if it exists.
        tag: words that a checkpoint must share to be resumed, such as the names of the network and its weights.
        contents: what is trained, in words -> digest; a checkpoint of other contents is not resumed.
        memory: JSON values that ``after_step`` keeps outside of the network; they are part of every checkpoint, and a
            resumed training puts back what they were.
        progress: called about every second and after every epoch.
        after_step: called as ``after_step(step, total)`` after every step of the optimizer, while the gradients are
            still there; ``step`` counts from 0 over the whole training of ``total`` steps. What it changes must live
            in the network's state (parameters and persistent buffers, all finite), and what it draws must come from
            torch's global generator or from ``step``: checkpoints, retries and resumed trainings then cover it.
        keep: ``"best"`` ends with the weights of the best score, ``"last"`` with those of the last epoch.
        device: ``"auto"`` is a GPU where torch finds one, else the CPU; or ``"cpu"``, ``"cuda"``, ``"cuda:1"``. The
            network ends on the CPU. Checkpoints of one device go on on another. Not every kernel of a GPU gives the
            same bits twice.
        workers: ``Workers.from_environment()`` in each of several processes that share every batch; they start from
            the first one's weights and end with the same ones. Gradients, losses, scores and running statistics are
            averaged; batch norm normalises with each process's own rows. Paths without a gradient must be the same
            in all processes, and what a hook makes of gradients of its own it averages with ``Workers.average``.
            The first process alone writes checkpoints and reports progress.

    Raises:
        InputError: no train split, no such device, a network without trainable weights, a checkpoint of other
            settings, or a loss that is still not finite after the learning rate was halved three times.
    """
    if keep not in ("best", "last"):
        raise InputError(f"keep {keep!r} is unknown; choose best or last")
    if schedule not in SCHEDULES:
        raise InputError(f"schedule {schedule!r} is unknown; choose one of {', '.join(SCHEDULES)}")
    check_training(lr=lr, epochs=epochs, patience=patience, seed=seed)
    if epochs < 1 or batch_size < 1 or eval_every < 1 or checkpoint_steps < 1:
        raise InputError("epochs, batch size, eval-every and checkpoint-steps must be at least 1")
    numbers = {
        "weight decay": weight_decay, "momentum": momentum, "alpha": alpha, "temperature": temperature,
        "label smoothing": label_smoothing, "grad clip": grad_clip or 0.0,
    }  # fmt: skip
    for name, value in numbers.items():
        if not math.isfinite(value) or value < 0:
            raise InputError(f"{name} is {value:g}; it must be a finite number of 0 or more")
    for name, value in (("alpha", alpha), ("label smoothing", label_smoothing)):
        if value > 1:
            raise InputError(f"{name} is {value:g}; it is a share, at most 1")
    if temperature == 0:
        raise InputError("temperature is 0; logits are divided by it, so it must be above 0")
    data.need_train()
    if augment == "auto":  # inputs that are floats are what the network expects, which need be no image
        augment = None if data.as_given else default_augment(data.input_shape[-1])
    extra: Augment | None = augment
    settings: dict[str, Any] = {
        "tag": tag, "data": data.name,
        "epochs": epochs, "lr": lr, "batch_size": batch_size, "weight_decay": weight_decay, "momentum": momentum,
        "schedule": schedule, "seed": seed, "label_smoothing": label_smoothing, "grad_clip": grad_clip,
        "teacher": teacher is not None, "alpha": alpha, "temperature": temperature,
        "augment": [extra.pad, extra.flip] if extra else None, "rows": len(data.need_train()),
        "eval_every": eval_every, "patience": patience, "bf16": bf16, "shapes": _shapes(model),
        "keep": keep, "after_step": after_step is not None, "contents": dict(contents) if contents else None,
    }  # fmt: skip
    where, soft = choose_device(device), Distillation(alpha, temperature)
    # seeds dropout without touching the caller's generators
    with seeded(seed, where), placed(where, model, teacher):
        trainer = Trainer(
            model, data, teacher, extra, settings, soft, progress, after_step, workers or Workers(), memory
        )
        return trainer.run(Path(checkpoint) if checkpoint else None, checkpoint_steps, resume, bf16)


def _shapes(model: nn.Module) -> str:
    """A short word for the names and shapes of a network's state: a checkpoint only fits the same ones."""
    import hashlib

    text = repr([(k, tuple(v.shape)) for k, v in model.state_dict().items()])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

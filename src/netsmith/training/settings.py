"""How a network is trained, and where a training that may be killed is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from netsmith.data.augment import Augment
from netsmith.errors import InputError
from netsmith.tasks.task import Task
from netsmith.training.optimizers import OPTIMIZERS
from netsmith.training.schedule import SCHEDULES, check_training

_SHARES = ("alpha", "label_smoothing")
_NOT_NEGATIVE = ("weight_decay", "momentum", "alpha", "temperature", "label_smoothing", "grad_clip")


@dataclass(frozen=True)
class Training:
    """Settings of one training.

    Attributes:
        epochs: passes over the train split.
        lr: peak learning rate.
        batch_size: examples a step.
        weight_decay: on weights; biases and parameters of norms are left alone.
        momentum: of SGD (Nesterov).
        optimizer: ``sgd`` or ``adamw``.
        schedule: ``one-cycle``, ``cosine`` or ``constant``, each after its warm-up.
        alpha: weight of the teacher, where there is one.
        temperature: of the teacher's and the network's outputs, where these are logits.
        label_smoothing: in 0..1.
        augment: what is done to examples at random, as a crop and flip of images; ``"auto"`` leaves it to the task.
        grad_clip: largest Euclidean norm of the gradient.
        seed: of order, augmentation and dropout.
        bf16: run convolutions and products in bfloat16; weights, norms and the loss stay float32. ``"auto"``
            does so on devices that multiply it natively.
        patience: stop after this many scored epochs without a better score.
        eval_every: epochs between scores on the search split; the last epoch is always scored.
        keep: ``"best"`` ends with the weights of the best score, ``"last"`` with those of the last epoch.

    Raises:
        InputError: a value with which nothing could be trained.
    """

    epochs: int
    lr: float = 0.05
    batch_size: int = 128
    weight_decay: float = 1e-4
    momentum: float = 0.9
    optimizer: str = "sgd"
    schedule: str = "one-cycle"
    alpha: float = 0.5
    temperature: float = 4.0
    label_smoothing: float = 0.0
    augment: Any = "auto"
    grad_clip: float | None = None
    seed: int = 0
    bf16: bool | Literal["auto"] = "auto"
    patience: int | None = None
    eval_every: int = 1
    keep: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        if self.keep not in ("best", "last"):
            raise InputError(f"keep {self.keep!r} is unknown; choose best or last")
        if self.optimizer not in OPTIMIZERS:
            raise InputError(f"optimizer {self.optimizer!r} is unknown; choose one of {', '.join(OPTIMIZERS)}")
        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule {self.schedule!r} is unknown; choose one of {', '.join(SCHEDULES)}")
        check_training(lr=self.lr, epochs=self.epochs, patience=self.patience, seed=self.seed)
        if self.batch_size < 1 or self.eval_every < 1:
            raise InputError("batch size and eval-every must be at least 1")
        for name in _NOT_NEGATIVE:
            value, words = getattr(self, name) or 0.0, name.replace("_", " ")
            if not math.isfinite(value) or value < 0:
                raise InputError(f"{words} is {value:g}; it must be a finite number of 0 or more")
            if name in _SHARES and value > 1:
                raise InputError(f"{words} is {value:g}; it is a share, at most 1")
        if self.temperature == 0:
            raise InputError("temperature is 0; logits are divided by it, so it must be above 0")


@dataclass(frozen=True)
class Checkpoints:
    """Where a training is kept, so that it goes on after it was killed.

    Attributes:
        path: file to write after every epoch and every ``steps`` steps; None keeps nothing.
        steps: between checkpoints within an epoch.
        resume: go on from ``path`` if it exists.
        tag: words that a checkpoint must share to be resumed, such as the names of the network and its weights.
        contents: what is trained, in words -> digest; a checkpoint of other contents is not resumed.

    Raises:
        InputError: fewer steps than one.
    """

    path: Path | None = None
    steps: int = 200
    resume: bool = True
    tag: str = ""
    contents: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError("checkpoint-steps must be at least 1")


def recorded(
    training: Training, checkpoints: Checkpoints, task: Task, *, shapes: str, teacher: bool, after_step: bool
) -> dict[str, Any]:
    """What a checkpoint says it was made with, as JSON values; one that was made otherwise is not resumed."""
    t, augment = training, task.augmentation(training.augment)
    return {
        "tag": checkpoints.tag, "data": task.name,
        "epochs": t.epochs, "lr": t.lr, "batch_size": t.batch_size, "weight_decay": t.weight_decay,
        "optimizer": t.optimizer, "momentum": t.momentum, "schedule": t.schedule, "seed": t.seed,
        "label_smoothing": t.label_smoothing,
        "grad_clip": t.grad_clip, "teacher": teacher, "alpha": t.alpha, "temperature": t.temperature,
        "augment": list(asdict(augment).values()) if isinstance(augment, Augment) else getattr(
            augment, "__qualname__", None
        ),
        "rows": len(task.need_train()),
        "eval_every": t.eval_every, "patience": t.patience, "bf16": t.bf16, "shapes": shapes, "keep": t.keep,
        "after_step": after_step, "contents": dict(checkpoints.contents) if checkpoints.contents else None,
    }  # fmt: skip

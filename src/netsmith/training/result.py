"""What training reports while it runs and when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One line of progress.

    Attributes:
        epoch: counted from 1.
        epochs: how many there will be.
        step: within the epoch, counted from 1.
        steps: of an epoch.
        loss: mean training loss of the epoch so far.
        lr: current learning rate.
        per_s: examples a second since the epoch (or the resumed part of it) began.
        score: after an epoch that was scored, on the search split, in words: ``accuracy 88.12 %``.
        message: something the user should know (a retry, a full disk), one sentence.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    lr: float
    per_s: float
    score: str | None = None
    message: str | None = None


Progress = Callable[[Event], None]


@dataclass(frozen=True)
class FitResult:
    """What a training came to; the network itself holds the weights.

    Attributes:
        history: a mapping an epoch: ``epoch``, ``loss``, ``lr``, ``seconds`` and, where scored, ``search_`` with the
            key of the task's metric, such as ``search_accuracy``, and ``search_loss``.
        best_score: on the search split; None if there was nothing to score.
        best_epoch: counted from 1; the epoch of that score, whose weights the network holds unless the last were kept.
        epochs_run: fewer than asked for if stopped early.
        bf16: whether convolutions and products ran in bfloat16.
        messages: retries and failed checkpoints, one sentence each.
    """

    history: list[dict[str, Any]]
    best_score: float | None
    best_epoch: int
    epochs_run: int
    bf16: bool
    messages: list[str] = field(default_factory=list)

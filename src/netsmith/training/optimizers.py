"""The optimizers of trainings, and which of their state a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from netsmith.training.settings import Training

#: Optimizer -> name of a tensor of its state -> what checkpoints call it.
STATE = {
    "sgd": {"momentum_buffer": "momentum"},
    "adamw": {"exp_avg": "momentum", "exp_avg_sq": "square", "step": "count"},
}
OPTIMIZERS = tuple(STATE)


def optimizer_of(training: Training, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of a training: SGD with Nesterov's momentum, or AdamW (Loshchilov and Hutter, ICLR 2019).

    Weights decay; biases and parameters of norms, which have one axis, do not.
    """
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    used = [g for g in groups if g["params"]]
    if training.optimizer == "adamw":
        return torch.optim.AdamW(used, lr=training.lr, foreach=True)
    return torch.optim.SGD(
        used, lr=training.lr, momentum=training.momentum, nesterov=training.momentum > 0, foreach=True
    )

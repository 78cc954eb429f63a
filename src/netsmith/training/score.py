"""Score and loss of a network on examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map

from netsmith.data.batch import Batch
from netsmith.data.examples import Examples
from netsmith.errors import InputError
from netsmith.metrics import FloatArray
from netsmith.network.layout import run_batch
from netsmith.tasks.task import Task
from netsmith.training.device import autocast, device_of
from netsmith.training.modes import set_mode


@dataclass(frozen=True)
class Scored:
    """What a network makes of examples.

    Attributes:
        score: of the task's first metric.
        loss: the mean that training lowers.
        rows: what was noted of each example, ``(N, F)``.
    """

    score: float
    loss: float
    rows: FloatArray


def evaluate(model: nn.Module, task: Task, examples: Examples, *, batch_size: int = 256, bf16: bool = False) -> Scored:
    """Score and loss of ``model`` on ``examples``; the network's mode is put back afterwards.

    The examples go to the device of the network's parameters.

    Raises:
        InputError: there are no examples, or the network's output is not what the task reads.
    """
    if not len(examples):
        raise InputError(
            f"there are no {task.each} to evaluate on; give a data set with a non-empty search and test split"
        )
    was_training, device = model.training, device_of(model)
    set_mode(model, False)
    total, weight, rows = 0.0, 0.0, []
    try:
        with torch.inference_mode(), autocast(device, bf16):
            for batch in examples.batches(batch_size):
                outputs = in_floats(run_batch(model, batch.to(device)))
                value, counts = task.total(outputs, batch)
                total, weight = total + value, weight + counts
                rows.append(task.partial(outputs, batch))
    finally:
        set_mode(model, was_training)
    noted = np.concatenate(rows)
    return Scored(task.metric.of(noted), total / max(weight, 1e-12), noted)


def in_floats(outputs: Any) -> Any:
    """Outputs on the CPU, what is of floating point in single precision."""
    return tree_map(
        lambda t: (t.float() if t.is_floating_point() else t).cpu() if isinstance(t, torch.Tensor) else t, outputs
    )


def rows_of(task: Task, seen: Iterable[tuple[Any, Batch]]) -> FloatArray:
    """What is noted of each example, ``(N, F)``, from outputs with their batches."""
    found = [task.partial(outputs, batch) for outputs, batch in seen]
    return np.concatenate(found) if found else np.zeros((0, 1))

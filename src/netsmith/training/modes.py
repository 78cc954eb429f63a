"""Train and eval mode for any module, and whether bfloat16 pays on a device."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from netsmith.training.device import has_bf16


def set_mode(model: nn.Module, training: bool) -> None:
    """``model.train(training)``; networks from torch.export are frozen in one mode and stay in it."""
    with contextlib.suppress(NotImplementedError):
        model.train(training)


@contextlib.contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Train mode, in which batch norm uses the statistics of its batch, without running statistics being changed."""
    was_training = model.training
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta, counters = [m.momentum for m in norms], [m.num_batches_tracked for m in norms]
    counts = [None if c is None else c.clone() for c in counters]
    set_mode(model, True)
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum, counter, count in zip(norms, momenta, counters, counts, strict=True):
            norm.momentum = momentum
            if counter is not None and count is not None:
                counter.copy_(count)
        set_mode(model, was_training)


def choose_bf16(step: Callable[[bool], float], bf16: str | bool, device: torch.device) -> bool:
    """Decide on bfloat16: as asked, or for ``"auto"`` wherever the device multiplies it natively and the network can.

    It cannot if a loss is not finite in it. Nothing is timed: a choice that depends on how busy the machine is would
    give another network on another day.

    Args:
        step: does the work of a training step without changing anything, and returns the loss; its argument switches
            bfloat16 on.
        bf16: True, False or ``"auto"``.
        device: that trains.
    """
    if isinstance(bf16, bool):
        return bf16
    if not has_bf16(device):
        return False
    try:
        return math.isfinite(step(True))
    except RuntimeError:
        return False  # an operator of this network has no bfloat16 kernel

"""Train and eval mode for any module, and whether bfloat16 pays on a device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import nn

from netsmith.training.device import has_bf16


def set_mode(model: nn.Module, training: bool) -> None:
    """``model.train(training)``; networks from torch.export are frozen in one mode and stay in it."""
    with contextlib.suppress(NotImplementedError):
        model.train(training)


def choose_bf16(step: Callable[[bool], None], bf16: str | bool, device: torch.device) -> bool:
    """Decide on bfloat16: as asked, or for ``"auto"`` wherever the device multiplies it natively and the network can.

    Nothing is timed: a choice that depends on how busy the machine is would give another network on another day.

    Args:
        step: does the work of a training step without changing anything; its argument switches bfloat16 on.
        bf16: True, False or ``"auto"``.
        device: that trains.
    """
    if isinstance(bf16, bool):
        return bf16
    if not has_bf16(device):
        return False
    try:
        step(True)
    except RuntimeError:
        return False  # an operator of this network has no bfloat16 kernel
    return True

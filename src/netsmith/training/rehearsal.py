"""A step of training on a copy of a network, so that what only training does fails at once and in words."""

from __future__ import annotations

import torch
from torch import nn

from netsmith.data.batch import Batch
from netsmith.errors import InputError
from netsmith.network.behaviour import failure_of
from netsmith.network.copying import copy_network
from netsmith.network.layout import laid_out
from netsmith.tasks.task import Objective, Task
from netsmith.training.depthwise import working_precision
from netsmith.training.device import device_of, random_state, set_random_state
from netsmith.training.modes import set_mode
from netsmith.usercode import words_of


def rehearse(model: nn.Module, task: Task, batch: Batch) -> None:
    """Run forward and backward once; the network and torch's generators stay as they are.

    Args:
        batch: a few examples, on the device of the network.

    Raises:
        InputError: the network fails in training mode, and with which module; or its loss reaches no weight.
    """
    device = device_of(model)
    state = random_state(device)
    try:
        _rehearse(copy_network(model), task, laid_out(model, batch), device)
    finally:
        set_random_state(state, device)


def _rehearse(probe: nn.Module, task: Task, batch: Batch, device: torch.device) -> None:
    set_mode(probe, True)
    with torch.enable_grad(), working_precision(device, False):
        try:
            output = batch(probe)
        except Exception as error:
            why = failure_of(probe, batch, error)
            raise InputError(f"the network does not run in training mode: {why}") from error
        loss = task.training_loss(output, None, batch, Objective())
        try:
            torch.autograd.backward(loss)
        except RuntimeError as error:
            text = words_of(error, 160).split(":")[0]
            raise InputError(
                f"the network cannot be trained, as its loss has no gradients ({text}); its forward must neither "
                "detach its values nor write in place to what gradients need"
            ) from error

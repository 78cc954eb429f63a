"""A step of training on a copy of a network, so that what only training does fails at once and in words."""

from __future__ import annotations

import torch
from torch import nn

from netsmith.errors import InputError
from netsmith.network.behaviour import failure_of
from netsmith.network.copying import copy_network
from netsmith.network.layout import laid_out
from netsmith.network.outputs import logits_among
from netsmith.training.depthwise import working_precision
from netsmith.training.device import random_state, set_random_state
from netsmith.training.loss import training_loss
from netsmith.training.modes import set_mode
from netsmith.training.score import check_logits
from netsmith.usercode import words_of


def rehearse(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Run forward and backward once; the network and torch's generators stay as they are.

    Args:
        images, labels: a few, ``(N, C, H, W)`` and ``(N,)``, on the device of the network.

    Raises:
        InputError: the network fails in training mode, and with which module; or its loss reaches no weight.
    """
    state = random_state(images.device)
    try:
        _rehearse(copy_network(model), laid_out(model, images), labels)
    finally:
        set_random_state(state, images.device)


def _rehearse(probe: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    set_mode(probe, True)
    with torch.enable_grad(), working_precision(images.device, False):
        try:
            output = probe(images)
        except Exception as error:
            why = failure_of(probe, images, error)
            raise InputError(f"the network does not run in training mode: {why}") from error
        logits = logits_among(output)
        if isinstance(logits, torch.Tensor) and logits.dim() > 1:  # what else is wrong with labels, all of them tell
            labels = labels.clamp(max=logits.shape[1] - 1)
        loss = training_loss(check_logits(logits, labels), labels)
        try:
            torch.autograd.backward(loss)
        except RuntimeError as error:
            text = words_of(error, 160).split(":")[0]
            raise InputError(
                f"the network cannot be trained, as its loss has no gradients ({text}); its forward must neither "
                "detach its values nor write in place to what gradients need"
            ) from error

"""Accuracy and loss of a network on a split."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from netsmith.data.normalise import Normalisation
from netsmith.data.types import Split
from netsmith.errors import InputError
from netsmith.network.layout import run_images
from netsmith.network.outputs import describe_output
from netsmith.training.device import autocast, device_of
from netsmith.training.modes import set_mode


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    batch_size: int = 256,
    normalisation: tuple[tuple[float, ...], tuple[float, ...]],
    bf16: bool = False,
) -> tuple[float, float]:
    """Accuracy in 0..1 and mean cross-entropy of ``model`` on ``split``; the network's mode is put back afterwards.

    The images go to the device of the network's parameters.

    Raises:
        InputError: the split is empty, or the network's output is not one row of logits an image.
    """
    if not len(split):
        raise InputError("there are no images to evaluate on; give a data set with a non-empty search and test split")
    was_training, device = model.training, device_of(model)
    set_mode(model, False)
    correct, loss = 0, 0.0
    try:
        with torch.inference_mode(), autocast(device, bf16):
            for images, labels in split.batches(batch_size, normalise=Normalisation(*normalisation)):
                logits = check_logits(run_images(model, images.to(device, non_blocking=True)), labels).float().cpu()
                correct += int((logits.argmax(1) == labels).sum())
                loss += float(F.cross_entropy(logits, labels, reduction="sum"))
    finally:
        set_mode(model, was_training)
    return correct / len(split), loss / len(split)


def check_logits(logits: object, labels: torch.Tensor) -> torch.Tensor:
    """The logits, if they are ``(B, classes)`` for these labels ``(B,)``."""
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(labels):
        raise InputError(
            f"the network returns {describe_output(logits)} for {len(labels)} images, but one tensor of logits "
            f"({len(labels)}, classes) is needed; let its forward return that alone"
        )
    if logits.shape[1] <= int(labels.max()):
        raise InputError(
            f"the network has {logits.shape[1]} outputs but the data has a label {int(labels.max())}; "
            "use data and weights of the same classes"
        )
    return logits

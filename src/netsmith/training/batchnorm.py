"""Re-estimation of batch-norm statistics after weights or channels have changed."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from netsmith.data.normalise import Normalisation
from netsmith.data.types import Split
from netsmith.training.device import device_of
from netsmith.training.modes import set_mode
from netsmith.training.score import evaluate


def reestimate_batch_norm(
    model: nn.Module,
    split: Split,
    n_images: int = 2000,
    *,
    batch_size: int = 250,
    normalisation: tuple[tuple[float, ...], tuple[float, ...]],
    rng: np.random.Generator | None = None,
) -> int:
    """Set running mean and variance to their averages over ``n_images`` images; weights stay as they are.

    The images are the first rows, or random rows with ``rng``; they go to the device of the network's parameters.

    Returns:
        The number of batch-norm layers; 0 for networks whose batch norm is folded or traced away.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers or not len(split):
        return 0
    n = min(n_images, len(split))
    index = np.arange(n) if rng is None else np.sort(rng.choice(len(split), n, replace=False))
    part = split.take(index)
    was_training, momenta = model.training, [m.momentum for m in layers]
    set_mode(model, False)
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain average instead of a moving one
            layer.train()
        _run(model, part, batch_size, normalisation)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        set_mode(model, was_training)
    return len(layers)


def centre_batch_norm(
    model: nn.Module, split: Split, n_images: int = 2000, *, batch_size: int = 250,
    normalisation: tuple[tuple[float, ...], tuple[float, ...]],
) -> int:  # fmt: skip
    """Make the running statistics those of images, and let weight and bias make up for it: the function stays.

    A trained network's norms seldom give what they promise, a mean of ``bias`` and a deviation of ``weight``: running
    statistics lag behind the weights, and were those of augmented images. Estimating them again then moves every value
    of the network, however little was pruned. After this it gives back what the network had, and nothing else.

    Returns:
        The number of layers so expressed; those without weights or running statistics stay as they are.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats and m.affine]
    if not layers or not len(split):
        return 0
    seen: dict[_BatchNorm, list[tuple[torch.Tensor, torch.Tensor]]] = {layer: [] for layer in layers}

    def look(layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(layer, _BatchNorm)
        seen[layer].append(torch.var_mean(args[0].float(), [d for d in range(args[0].dim()) if d != 1], correction=0))

    part, was_training = split.take(np.arange(min(n_images, len(split)))), model.training
    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    set_mode(model, False)
    try:
        _run(model, part, batch_size, normalisation)
    finally:
        for hook in hooks:
            hook.remove()
        set_mode(model, was_training)
    used = [layer for layer in layers if seen[layer]]
    for layer in used:
        variance, mean = (torch.stack(values).mean(dim=0) for values in zip(*seen[layer], strict=True))
        _express(layer, mean, variance)
    return len(used)


def _run(
    model: nn.Module, part: Split, batch_size: int, normalisation: tuple[tuple[float, ...], tuple[float, ...]]
) -> None:
    """Over all images but a short last batch, which would weigh as much as a full one."""
    device, size = device_of(model), min(batch_size, len(part))
    with torch.no_grad():
        for images, _ in part.batches(size, normalise=Normalisation(*normalisation), drop_last=True):
            model(images.to(device, non_blocking=True))


def _express(layer: _BatchNorm, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Give a norm these running statistics; its outputs in evaluation stay what they were."""
    assert layer.running_mean is not None and layer.running_var is not None
    with torch.no_grad():
        slope = layer.weight / (layer.running_var + layer.eps).sqrt()
        layer.bias.add_(slope * (mean - layer.running_mean))
        layer.weight.copy_(slope * (variance + layer.eps).sqrt())
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)


def settle_batch_norm(
    model: nn.Module, split: Split, n_images: int = 2000, *, normalisation: tuple[tuple[float, ...], tuple[float, ...]]
) -> bool:
    """Estimate running statistics again, and keep those of before where these lose less.

    Layers that were repaired by least squares expect the statistics that they were repaired with: where little was
    pruned new ones lose accuracy, where much was they save it.

    Returns:
        Whether the statistics are new ones.
    """
    part = split.take(np.arange(min(n_images, len(split))))
    before = {
        k: v.clone()
        for name, m in model.named_modules()
        if isinstance(m, _BatchNorm)
        for k, v in m.state_dict(prefix=f"{name}." if name else "").items()
    }
    if not before or not len(part):
        return False
    loss = evaluate(model, part, normalisation=normalisation)[1]
    if not reestimate_batch_norm(model, part, n_images, normalisation=normalisation):
        return False
    if evaluate(model, part, normalisation=normalisation)[1] <= loss or np.isnan(loss):
        return True
    model.load_state_dict(before, strict=False)
    return False

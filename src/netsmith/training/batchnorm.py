"""Re-estimation of batch-norm statistics after weights or channels have changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from netsmith.data.batch import Batch
from netsmith.data.examples import Examples
from netsmith.network.layout import find_layout, laid_out
from netsmith.tasks.task import Task
from netsmith.training.device import device_of
from netsmith.training.modes import set_mode
from netsmith.training.score import evaluate


def reestimate_batch_norm(
    model: nn.Module, examples: Examples, most: int = 2000, *, batch_size: int = 250,
    rng: np.random.Generator | None = None,
) -> int:  # fmt: skip
    """Set running mean and variance to their averages over ``most`` examples; weights stay as they are.

    The examples are the first, or random ones with ``rng``; they go to the device of the network's parameters.

    Returns:
        The number of batch-norm layers; 0 for networks whose batch norm is folded or traced away.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers or not len(examples):
        return 0
    n = min(most, len(examples))
    index = np.arange(n) if rng is None else np.sort(rng.choice(len(examples), n, replace=False))
    part = examples.take(index)
    _find_layout(model, part)
    seen = Passing()
    was_training, averages = model.training, {layer: _Average(seen) for layer in layers}
    hooks = [h for layer, average in averages.items() for h in average.watch(layer)]
    set_mode(model, False)
    try:
        for layer in layers:
            layer.train()
        _run(model, part, batch_size, seen)
    finally:
        for hook in hooks:
            hook.remove()
        set_mode(model, was_training)
    for layer, average in averages.items():
        average.put(layer)
    return len(layers)


class _Average:
    """Plain averages of the statistics that a norm in training mode takes of each batch, whatever its moving ones are.

    A norm keeps a share of its running statistics and adds of the batch's, by its momentum or, in norms of a user's
    own, by any rule that is linear in them. So the share is found by running the norm once more from another start, and
    taken out. Norms that keep everything are frozen ones: they stay as they are.
    """

    def __init__(self, seen: Passing) -> None:
        self.seen = seen
        self.found: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.before: tuple[torch.Tensor, torch.Tensor] | None = None
        self.share: float | None = None

    def watch(self, layer: _BatchNorm) -> list[RemovableHandle]:
        """Hooks that collect statistics in :attr:`found` whenever the norm runs; it keeps those that it has."""
        return [layer.register_forward_pre_hook(self._start), layer.register_forward_hook(self._take)]

    def _start(self, layer: nn.Module, args: Any) -> None:
        assert isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked.zero_()  # of cumulative averages: a first batch counts in full
        self.before = layer.running_mean.clone(), layer.running_var.clone()

    def _take(self, layer: nn.Module, args: Any, _: Any) -> None:
        assert isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None
        assert self.before is not None
        args = self._without_padding(layer, args)
        after = layer.running_mean.clone(), layer.running_var.clone()
        if self.share is None:
            self.share = self._kept(layer, args, self.before, after[0])
        _restore(layer, *self.before)
        if self.share < 1:
            mean, var = (
                (new.double() - self.share * old.double()) / (1 - self.share)
                for old, new in zip(self.before, after, strict=True)
            )
            self.found.append((mean, var.clamp(min=0)))

    def _without_padding(self, layer: _BatchNorm, args: Any) -> Any:
        """Where a batch has padding, take the statistics of a sequence's values once more without it.

        Returns:
            What the norm was run on.
        """
        value = self.seen.unpadded(args[0])
        if value is args[0] or not isinstance(layer, nn.BatchNorm1d):
            return args
        assert self.before is not None
        _restore(layer, *self.before)
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked.zero_()
        layer.forward(value)
        return (value,)

    @staticmethod
    def _kept(layer: _BatchNorm, args: Any, before: tuple[torch.Tensor, torch.Tensor], after: torch.Tensor) -> float:
        """The share of running statistics that a batch leaves; that of the momentum where it is to rounding."""
        assert layer.running_mean is not None
        _restore(layer, before[0] + 1, before[1])
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked.zero_()
        layer.forward(*args)
        share = float((layer.running_mean - after).double().median())
        usual = (0.0, 1.0, *((1 - layer.momentum,) if layer.momentum is not None else ()))
        return next((u for u in usual if abs(share - u) < 1e-4), share)

    def put(self, layer: _BatchNorm) -> None:
        """Make the average the running statistics; those of a norm that never ran, or is frozen, stay."""
        if self.found:
            _restore(layer, *(torch.stack(values).mean(dim=0) for values in zip(*self.found, strict=True)))
            if layer.num_batches_tracked is not None:
                layer.num_batches_tracked.fill_(len(self.found))


def _restore(layer: _BatchNorm, mean: torch.Tensor, var: torch.Tensor) -> None:
    assert layer.running_mean is not None and layer.running_var is not None
    with torch.no_grad():
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(var)


class Passing:
    """The batch that is passing through a network, for those who watch its layers."""

    def __init__(self) -> None:
        self.batch: Batch | None = None

    def unpadded(self, value: torch.Tensor) -> torch.Tensor:
        """What of a value is no padding."""
        return value if self.batch is None else self.batch.unpadded(value)


def centre_batch_norm(model: nn.Module, examples: Examples, most: int = 2000, *, batch_size: int = 250) -> int:
    """Make the running statistics those of examples, and let weight and bias make up for it: the function stays.

    A trained network's norms seldom give what they promise, a mean of ``bias`` and a deviation of ``weight``: running
    statistics lag behind the weights, and were those of augmented images. Estimating them again then moves every value
    of the network, however little was pruned. After this it gives back what the network had, and nothing else.

    Returns:
        The number of layers so expressed; those without weights or running statistics stay as they are.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats and m.affine]
    if not layers or not len(examples):
        return 0
    passing = Passing()
    seen: dict[_BatchNorm, list[tuple[torch.Tensor, torch.Tensor]]] = {layer: [] for layer in layers}

    def look(layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(layer, _BatchNorm)
        value = passing.unpadded(args[0]).float()
        seen[layer].append(torch.var_mean(value, [d for d in range(value.dim()) if d != 1], correction=0))

    part, was_training = examples.take(np.arange(min(most, len(examples)))), model.training
    _find_layout(model, part)
    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    set_mode(model, False)
    try:
        _run(model, part, batch_size, passing)
    finally:
        for hook in hooks:
            hook.remove()
        set_mode(model, was_training)
    used = [layer for layer in layers if seen[layer]]
    for layer in used:
        variance, mean = (torch.stack(values).mean(dim=0) for values in zip(*seen[layer], strict=True))
        _express(layer, mean, variance)
    return len(used)


def _find_layout(model: nn.Module, part: Examples) -> None:
    """Before anything watches the network: it is tried on a copy."""
    find_layout(model, next(part.batches(2)).to(device_of(model)))


def _run(model: nn.Module, part: Examples, batch_size: int, passing: Passing) -> None:
    """Over all examples but a short last batch, which would weigh as much as a full one."""
    device, size = device_of(model), min(batch_size, len(part))
    with torch.no_grad():
        for batch in part.batches(size, drop_last=True):
            passing.batch = batch.to(device)
            laid_out(model, passing.batch)(model)


def _express(layer: _BatchNorm, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Give a norm these running statistics; its outputs in evaluation stay what they were."""
    assert layer.running_mean is not None and layer.running_var is not None
    with torch.no_grad():
        slope = layer.weight / (layer.running_var + layer.eps).sqrt()
        layer.bias.add_(slope * (mean - layer.running_mean))
        layer.weight.copy_(slope * (variance + layer.eps).sqrt())
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)


def settle_batch_norm(model: nn.Module, task: Task, most: int = 2000) -> bool:
    """Estimate running statistics again on the search split, and keep those of before where these lose less.

    Layers that were repaired by least squares expect the statistics that they were repaired with: where little was
    pruned new ones lose accuracy, where much was they save it.

    Returns:
        Whether the statistics are new ones.
    """
    part = task.search.take(np.arange(min(most, len(task.search))))
    before = {
        k: v.clone()
        for name, m in model.named_modules()
        if isinstance(m, _BatchNorm)
        for k, v in m.state_dict(prefix=f"{name}." if name else "").items()
    }
    if not before or not len(part):
        return False
    loss = evaluate(model, task, part).loss
    if not reestimate_batch_norm(model, part, most):
        return False
    if evaluate(model, task, part).loss <= loss or np.isnan(loss):
        return True
    model.load_state_dict(before, strict=False)
    return False

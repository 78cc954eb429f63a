"""How much each channel of a group matters, and which ones stay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.conv import _ConvNd

from netsmith.compression.channels import ChannelGroup, GroupReport, Member
from netsmith.errors import InputError

FloatArray = NDArray[np.float64]
Criterion = Literal["l1", "l2", "taylor"]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def channel_importance(
    model: nn.Module,
    report: GroupReport,
    criterion: Criterion = "l2",
    batches: Iterable[tuple[Any, torch.Tensor]] = (),
    loss: Loss | None = None,
) -> dict[str, FloatArray]:
    """Score every channel of every group; more is more important.

    A channel's score is the sum, over the weights of all member convolutions and linear layers that leave with it
    (rows of producers, columns of consumers), of ``|w|`` (l1), of ``w**2``, under a root (l2), or of ``|w * dL/dw|``
    averaged over the batches (taylor: Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019).

    Args:
        model: the network that ``report`` is about; its gradients and its training flag are left as they were.
        criterion: "l1", "l2" or "taylor".
        batches: for taylor, pairs of inputs and targets on the model's device.
        loss: for taylor, from outputs and targets to a scalar; cross entropy if ``None``.

    Returns:
        Group name -> ``(channels,)``.

    Raises:
        InputError: unknown criterion, or taylor without batches.
    """
    if criterion == "taylor":
        values = _taylor(model, batches, loss or nn.functional.cross_entropy)
    elif criterion in ("l1", "l2"):
        power = 1 if criterion == "l1" else 2
        values = {n: w.detach().abs().double() ** power for n, w in _weights(model)}
    else:
        raise InputError(f"unknown importance {criterion!r}; use l1, l2 or taylor")
    scores = {g.name: _score(g, values, model) for g in report.groups}
    return {k: np.sqrt(v) for k, v in scores.items()} if criterion == "l2" else scores


def keep_indices(scores: FloatArray, n_keep: int, unit: int = 1) -> list[int]:
    """Return the ``n_keep`` most important channels, ascending, in whole units.

    Args:
        scores: ``(channels,)``.
        n_keep: how many stay; rounded down to whole units, at least one unit.
        unit: consecutive channels that stay or go together.
    """
    units = scores.reshape(-1, unit).sum(axis=1)
    n = min(len(units), max(1, n_keep // unit))
    best = np.sort(np.argsort(-units, kind="stable")[:n])
    return [int(u) * unit + i for u in best for i in range(unit)]


def widths(channels: int, multiple: int = 1, ratios: Sequence[float] = (), unit: int = 1) -> tuple[int, ...]:
    """Return the widths that a group may take, ascending: hardware-friendly multiples, and the full width.

    Args:
        channels: the full width, always among the widths.
        multiple: what the hardware likes; widths are multiples of it and of ``unit``.
        ratios: fractions of the full width, rounded to multiples; without any, all multiples.
        unit: the group's unit.
    """
    step = math.lcm(max(1, multiple), unit)
    if step >= channels:
        step = unit if unit > 1 else channels
    grid = range(step, channels, step)
    if ratios:
        chosen = {min(grid, key=lambda w: (abs(w - r * channels), -w)) for r in ratios if r < 1} if len(grid) else set()
        return (*sorted(chosen), channels)
    return (*grid, channels)


def _weights(model: nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    for name, module in model.named_modules():
        if isinstance(module, (_ConvNd, nn.Linear)):
            yield name, module.weight


def _score(group: ChannelGroup, values: dict[str, torch.Tensor], model: nn.Module) -> FloatArray:
    scores = np.zeros(group.channels)

    def add(member: Member, out: bool) -> None:
        if member.layer not in values:
            return  # norms and bare parameters scale with what precedes them; they say little on their own
        module = model.get_submodule(member.layer)
        per_channel = _per_channel(module, values[member.layer], out)
        np.add.at(scores, member.root, per_channel[member.index])

    for m in group.outputs:
        add(m, True)
    for m in group.inputs:
        add(m, False)
    return scores


def _per_channel(module: nn.Module, value: torch.Tensor, out: bool) -> FloatArray:
    """Sum of a layer's values per output or input channel, ``(channels of that side,)``."""
    groups = getattr(module, "groups", 1)
    flat = value.reshape(*value.shape[:2], -1).sum(dim=2)  # (dim 0, dim 1)
    first = out != bool(getattr(module, "transposed", False))  # the asked side is dimension 0 of the weight
    if first:
        sums = flat.sum(dim=1)
    else:  # dimension 1 counts within a convolution group
        sums = flat.reshape(groups, -1, flat.shape[1]).sum(dim=1).reshape(-1)
    return np.asarray(sums.cpu().numpy(), dtype=np.float64)


def _taylor(model: nn.Module, batches: Iterable[tuple[Any, torch.Tensor]], loss: Loss) -> dict[str, torch.Tensor]:
    weights = dict(_weights(model))
    total = {n: torch.zeros_like(w, dtype=torch.float64) for n, w in weights.items()}
    frozen = [w for w in weights.values() if not w.requires_grad]
    was_training = model.training
    count = 0
    model.eval()
    for w in frozen:
        w.requires_grad_(True)
    try:
        for x, y in batches:
            out = model(*x) if isinstance(x, tuple) else model(x)
            gradients = torch.autograd.grad(loss(out, y), list(weights.values()), allow_unused=True)
            for (n, w), g in zip(weights.items(), gradients, strict=True):
                if g is not None:
                    total[n] += (w.detach() * g).abs().double()
            count += 1
    finally:
        model.train(was_training)
        for w in frozen:
            w.requires_grad_(False)
    if not count:
        raise InputError("the taylor importance needs batches of data; pass some, or use l2")
    return {n: t / count for n, t in total.items()}

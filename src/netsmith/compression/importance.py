"""How much each channel of a group matters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.channels import ChannelGroup, GroupReport, Member
from netsmith.compression.filters import batch_norm_scales, filter_distances, per_channel, weighted_layers
from netsmith.errors import InputError, did_you_mean
from netsmith.network.layout import run_images
from netsmith.network.strided import Subsampled

if TYPE_CHECKING:
    from netsmith.compression.reconstruct import Moments

FloatArray = NDArray[np.float64]
Criterion = Literal["l1", "l2", "taylor", "fpgm", "bn", "reconstruction"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def channel_importance(
    model: nn.Module,
    report: GroupReport,
    criterion: Criterion = "l2",
    batches: Iterable[tuple[Any, torch.Tensor]] = (),
    loss: Loss | None = None,
    moments: Moments | None = None,
) -> dict[str, FloatArray]:
    """Score every channel of every group; more is more important.

    A channel's score is the sum, over the weights of all member convolutions and linear layers that leave with it
    (rows of producers, columns of consumers), of ``|w|`` (l1), of ``w**2``, under a root (l2), or of ``|w * dL/dw|``
    averaged over the batches (taylor: Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019).
    Others: the distances of a producer's filter from its other filters (fpgm: He et al., "Filter Pruning via Geometric
    Median", CVPR 2019), the size of the scale of the batch norms behind (bn: Liu et al., "Network Slimming", ICCV 2017;
    groups that pass none by l2), the place in the order in which channels go when each time the one leaves whose loss
    least squares best make up for (reconstruction, see ``reconstruct.selection``).

    Args:
        model: the network that ``report`` is about; its gradients and its training flag are left as they were.
        criterion: one of ``CRITERIA``.
        batches: for taylor, pairs of inputs and targets on the model's device.
        loss: for taylor, from outputs and targets to a scalar; cross entropy if ``None``.
        moments: for reconstruction, of what the network's layers read. A group that no layer reads whose weights can
            be repaired is ranked as by l2.

    Returns:
        Group name -> ``(channels,)``.

    Raises:
        InputError: unknown criterion, taylor without batches, bn where no batch norm follows, reconstruction without
            moments.
    """
    if criterion == "fpgm":
        return {g.name: filter_distances(g, model) for g in report.groups}
    if criterion == "bn":
        return _by_norms(model, report)
    if criterion == "reconstruction":
        return _by_reconstruction(model, report, moments)
    if criterion == "taylor":
        values = _taylor(model, batches, loss or nn.functional.cross_entropy)
    elif criterion in ("l1", "l2"):
        power = 1 if criterion == "l1" else 2
        values = {n: w.detach().abs().double() ** power for n, w in weighted_layers(model)}
    else:
        raise InputError(
            f"unknown importance {criterion!r}{did_you_mean(criterion, list(CRITERIA))}; known: {', '.join(CRITERIA)}"
        )
    scores = {g.name: _score(g, values, model) for g in report.groups}
    return {k: np.sqrt(v) for k, v in scores.items()} if criterion == "l2" else scores


def _score(group: ChannelGroup, values: dict[str, torch.Tensor], model: nn.Module) -> FloatArray:
    scores = np.zeros(group.channels)

    def add(member: Member, out: bool) -> None:
        if member.layer not in values:
            return  # norms and bare parameters scale with what precedes them; they say little on their own
        module = model.get_submodule(member.layer)
        np.add.at(scores, member.root, per_channel(module, values[member.layer], out)[member.index])

    for m in group.outputs:
        add(m, True)
    for m in group.inputs:
        add(m, False)
    return scores


def _by_reconstruction(model: nn.Module, report: GroupReport, moments: Moments | None) -> dict[str, FloatArray]:
    """The place of each channel's unit in the order in which units go."""
    from netsmith.compression.reconstruct import removal_order

    scores = channel_importance(model, report, "l2")
    for group in report.groups:
        if moments is None:
            raise InputError("the reconstruction importance needs moments of what layers read; gather some, or use l2")
        order = removal_order(moments, group)
        if order is not None:
            place = np.empty(len(order))
            place[order] = np.arange(len(order))
            scores[group.name] = np.repeat(place, group.unit)
    return scores


def _by_norms(model: nn.Module, report: GroupReport) -> dict[str, FloatArray]:
    scores = {g.name: batch_norm_scales(g, model) for g in report.groups}
    if report.groups and all(s is None for s in scores.values()):
        raise InputError(
            "the bn importance ranks channels by the scale of the batch norm behind them, but no channels here pass "
            "one; use l1, l2, taylor, fpgm or reconstruction"
        )
    plain = channel_importance(model, report, "l2")  # channels are ranked within their group only
    return {name: plain[name] if s is None else s for name, s in scores.items()}


def _taylor(model: nn.Module, batches: Iterable[tuple[Any, torch.Tensor]], loss: Loss) -> dict[str, torch.Tensor]:
    weights = dict(weighted_layers(model))
    total = {n: torch.zeros_like(w, dtype=torch.float64) for n, w in weights.items()}
    frozen = [w for w in weights.values() if not w.requires_grad]
    was_training = model.training
    count = 0
    model.eval()
    for w in frozen:
        w.requires_grad_(True)
    try:
        for x, y in batches:
            with Subsampled():
                out = model(*x) if isinstance(x, tuple) else run_images(model, x)
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

"""How much each channel of a group matters: the criteria, and the scores of a whole network by one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from netsmith.compression.channels import ChannelGroup, GroupReport
from netsmith.compression.evidence import Evidence, FloatArray, Importance, Loss
from netsmith.compression.filters import batch_norm_scales, filter_distances
from netsmith.errors import InputError, did_you_mean, shown

if TYPE_CHECKING:
    from netsmith.compression.reconstruct import Moments

Criterion = Callable[[ChannelGroup, Evidence], FloatArray | None]  #: an Importance, or a function that does the same


class AbsoluteWeights(Importance):
    """Sum of ``|w|`` over all weights that leave with a channel."""

    name = "l1"

    def __call__(self, group: ChannelGroup, evidence: Evidence) -> FloatArray:
        return evidence.summed(group, lambda layer: evidence.weights[layer].abs().double())


class WeightNorm(Importance):
    """Euclidean norm of all weights that leave with a channel."""

    name = "l2"

    def __call__(self, group: ChannelGroup, evidence: Evidence) -> FloatArray:
        scores: FloatArray = np.sqrt(evidence.summed(group, lambda layer: evidence.weights[layer].abs().double() ** 2))
        return scores


class Taylor(Importance):
    """Sum of ``|w * dL/dw|`` over all weights that leave with a channel, averaged over batches of data.

    Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019.
    """

    name = "taylor"

    def __call__(self, group: ChannelGroup, evidence: Evidence) -> FloatArray:
        return evidence.summed(group, evidence.saliency.__getitem__)


class GeometricMedian(Importance):
    """Distances of a producer's filter from its other filters.

    He et al., "Filter Pruning via Geometric Median", CVPR 2019.
    """

    name = "fpgm"

    def __call__(self, group: ChannelGroup, evidence: Evidence) -> FloatArray:
        return filter_distances(group, evidence.model)


class NormScale(Importance):
    """Size of the scale of the batch norms behind a channel; a group that passes none goes by l2.

    Liu et al., "Network Slimming", ICCV 2017.
    """

    name = "bn"

    def __call__(self, group: ChannelGroup, evidence: Evidence) -> FloatArray | None:
        scores = batch_norm_scales(group, evidence.model)
        if scores is None and all(batch_norm_scales(g, evidence.model) is None for g in evidence.report.groups):
            raise InputError(
                "the bn importance ranks channels by the scale of the batch norm behind them, but no channels here "
                "pass one; use l1, l2, taylor, fpgm or reconstruction"
            )
        return scores


class Reconstruction(Importance):
    """Place in the order in which channels go when each time the one leaves whose loss least squares best make up for.

    A group that no layer reads whose weights can be repaired goes by l2. See ``reconstruct.selection``.
    """

    name = "reconstruction"
    reads_moments = True

    def __call__(self, group: ChannelGroup, evidence: Evidence) -> FloatArray | None:
        from netsmith.compression.reconstruct import removal_order

        order = removal_order(evidence.moments, group)
        if order is None:
            return None
        place = np.empty(len(order))
        place[order] = np.arange(len(order))
        scores: FloatArray = np.repeat(place, group.unit)
        return scores


#: those that ``--importance`` names
CRITERIA: dict[str, Importance] = {
    c.name: c for c in (AbsoluteWeights(), WeightNorm(), Taylor(), GeometricMedian(), NormScale(), Reconstruction())
}


def channel_importance(
    model: nn.Module, report: GroupReport, criterion: str | Criterion = "l2",
    batches: Iterable[tuple[Any, Any]] = (), loss: Loss | None = None,
    moments: Moments | Callable[[], Moments] | None = None,
) -> dict[str, FloatArray]:  # fmt: skip
    """Score every channel of every group; more is more important.

    Args:
        model: the network that ``report`` is about; its gradients and its training flag are left as they were.
        criterion: the name of one of ``CRITERIA``, or a criterion of the caller's own.
        batches: for taylor, pairs of inputs and targets on the model's device.
        loss: for taylor, from outputs and targets to a scalar; cross entropy if ``None``.
        moments: for reconstruction, of what the network's layers read, or a function that gathers them.

    Returns:
        Group name -> ``(channels,)``.

    Raises:
        InputError: unknown criterion, taylor without batches, bn where no batch norm follows, reconstruction without
            moments, or a criterion whose scores are not one finite number for each channel.
    """
    asked = CRITERIA.get(criterion) if isinstance(criterion, str) else criterion
    if asked is None:
        known = list(CRITERIA)
        raise InputError(
            f"unknown importance {criterion!r}{did_you_mean(str(criterion), known)}; known: {', '.join(known)}"
        )
    evidence = Evidence(model, report, batches, loss, moments)
    return {group.name: _scores(asked, group, evidence) for group in report.groups}


def _scores(criterion: Criterion, group: ChannelGroup, evidence: Evidence) -> FloatArray:
    """The scores of one group, checked, as a user's criterion may return anything."""
    said = criterion(group, evidence)
    if said is None:
        said = CRITERIA["l2"](group, evidence)
    try:
        scores = np.asarray(said.detach().cpu() if isinstance(said, torch.Tensor) else said, dtype=np.float64)
    except (TypeError, ValueError):
        scores = np.array(np.nan)
    if scores.shape != (group.channels,) or not np.isfinite(scores).all():
        name = getattr(criterion, "name", None) or getattr(criterion, "__name__", type(criterion).__name__)
        raise InputError(
            f"the importance {name} must give {group.channels} finite numbers for the channels of {group.name}, one "
            f"each, not {shown(said)}"
        )
    return scores

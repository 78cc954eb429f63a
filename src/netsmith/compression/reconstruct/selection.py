"""Channels ordered by what their removal leaves after repair: greedy backward elimination on the moments.

The least-squares form of channel selection (He et al., "Channel Pruning for Accelerating Very Deep Neural Networks",
ICCV 2017), solved greedily, so that the kept sets of all widths are nested. Removing a block B of columns from a fit
with weights ``W`` and inverse ``P = M^-1`` raises the error by ``tr(W_B P_BB^-1 W_B^T)``, and weights and inverse
follow by an update of rank |B| (the optimal brain surgeon, Hassibi and Stork 1993, for blocks of columns).
"""

from __future__ import annotations

import numpy as np
import torch

from netsmith.compression.channels import ChannelGroup
from netsmith.compression.reconstruct.consumers import Consumer
from netsmith.compression.reconstruct.moments import Moments
from netsmith.compression.reconstruct.solve import IntArray, LayerSolver


class _Fit:
    """One layer's fit on what is left of a group.

    Args:
        blocks: ``(units, n)`` columns that leave with each unit.
    """

    def __init__(self, solver: LayerSolver, blocks: IntArray) -> None:
        self.weight = solver.weight.clone()
        self.inverse = torch.linalg.inv(solver.matrix)
        self.blocks = torch.from_numpy(blocks)
        # layers count alike, whatever the scale of their outputs
        self.energy = max(float(((self.weight @ solver.matrix) * self.weight).sum()), 1e-30)

    def costs(self, units: torch.Tensor) -> torch.Tensor:
        """Share of the output's energy that the removal of each unit would cost, ``(len(units),)``."""
        b = self.blocks[units]  # (u, n)
        inner = self.inverse[b[:, :, None], b[:, None, :]]
        w = self.weight[:, b].transpose(0, 1)  # (u, C_out, n)
        cost: torch.Tensor = (torch.linalg.solve(inner, w.transpose(1, 2)) * w.transpose(1, 2)).sum(dim=(1, 2))
        return cost / self.energy

    def remove(self, unit: int) -> None:
        b = self.blocks[unit]
        step = torch.linalg.solve(self.inverse[b][:, b], self.inverse[b])  # (n, p)
        self.weight -= self.weight[:, b] @ step
        self.inverse -= self.inverse[:, b] @ step
        # what is gone stays exactly zero, and its block invertible
        self.weight[:, b] = 0.0
        self.inverse[b] = 0.0
        self.inverse[:, b] = 0.0
        self.inverse[b, b] = 1.0


def removal_order(moments: Moments, group: ChannelGroup, intercept: bool = False) -> IntArray | None:
    """Units of a group in the order in which they go, the least useful first, ``(channels // unit,)``.

    Each step removes the unit whose loss the layers that read the group can best make up for, all else being as given.

    Returns:
        None where no such layer can be repaired.
    """
    units = group.channels // group.unit
    fits = []
    for consumer in moments.consumers.values():
        blocks = _blocks(consumer, group, units)
        if blocks is not None:
            fitted = intercept and consumer.bias is not None
            solver = LayerSolver(moments.grams[consumer.layer], consumer.weight(moments.graph), fitted)
            fits.append(_Fit(solver, blocks))
    if not fits:
        return None
    left, order = torch.arange(units), []
    while len(left) > 1:
        cost = torch.stack([fit.costs(left) for fit in fits]).sum(dim=0)
        worst = int(cost.argmin())
        order.append(int(left[worst]))
        for fit in fits:
            fit.remove(order[-1])
        left = torch.cat([left[:worst], left[worst + 1 :]])
    return np.array([*order, int(left[0])], dtype=np.int64)


def _blocks(consumer: Consumer, group: ChannelGroup, units: int) -> IntArray | None:
    """Columns of each unit ``(units, n)``; None if the layer does not read all units alike."""
    member = consumer.sources.get(group.name)
    if member is None:
        return None
    unit = member.root // group.unit
    counts = np.bincount(unit, minlength=units)
    if (counts != counts[0]).any() or not counts[0]:
        return None
    channels = member.index[np.argsort(unit, kind="stable")]
    return consumer.columns(channels).reshape(units, -1)

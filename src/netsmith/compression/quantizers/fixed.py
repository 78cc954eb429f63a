"""Quantizers without trained state: a weight scale fitted anew at every call, and a calibrated activation grid."""

from __future__ import annotations

import torch
from torch import nn

from netsmith.compression.quantizers.gradients import straight_through
from netsmith.compression.quantizers.learned import on_grid
from netsmith.compression.quantizers.linear import check_bits, fit_scale, per_row, qmax, quantize
from netsmith.network.edit import QuantParams


class FixedWeight(nn.Module):
    """Weights on the grid that ``linear.fit_scale`` fits to them as they are now.

    The gradient passes straight through where the weight rounds into the grid, and is 0 where it is clipped; binary
    weights have no clip, so there it always passes (DoReFa, Zhou et al. 2016, eq. 8).
    """

    def __init__(self, bits: int, clip: str = "mse", per_channel: bool = True) -> None:
        super().__init__()
        check_bits(bits)
        self.bits, self.clip, self.per_channel = bits, clip, per_channel

    def _scale(self, weight: torch.Tensor) -> torch.Tensor:
        return fit_scale(weight.detach(), self.bits, per_channel=self.per_channel, clip=self.clip)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        fixed, scale = weight.detach(), self._scale(weight)
        inside = torch.ones_like(fixed)
        if self.bits > 1:
            inside = (fixed.abs() <= (qmax(self.bits) + 0.5) * per_row(scale, fixed)).to(fixed)
        value = quantize(fixed, scale, self.bits)
        return straight_through(weight, value, inside)

    def export(self, weight: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Scales ``(C_out,)`` and bits with which ``linear.quantize`` computes what ``forward`` does."""
        return self._scale(weight).expand(len(weight)).clone(), self.bits


class FixedActivation(nn.Module):
    """Activations on a calibrated grid (``calibrate.fit_range``), with the straight-through gradient inside it."""

    scale: torch.Tensor
    levels: torch.Tensor

    def __init__(self, grid: QuantParams) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor([grid.scale]))
        self.register_buffer("levels", torch.tensor([grid.zero_point, grid.qmin, grid.qmax]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return on_grid(x, self.grid())

    def grid(self) -> QuantParams:
        """The grid that ``forward`` rounds to."""
        return QuantParams(float(self.scale), *self.levels.tolist())

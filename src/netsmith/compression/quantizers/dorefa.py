"""DoReFa quantizers (Zhou et al. 2016): tanh-normalised weights, activations between 0 and 1."""

from __future__ import annotations

import torch
from torch import nn

from netsmith.compression.quantizers.gradients import straight_through
from netsmith.compression.quantizers.learned import on_grid
from netsmith.compression.quantizers.linear import check_bits, fit_scale, integers, weight_rows
from netsmith.network.edit import QuantParams


class DorefaWeight(nn.Module):
    """2 round_b(tanh(w) / (2 max|tanh w|) + 1/2) - 1 (eq. 9); with 1 bit sign(w) mean|w| per tensor (eq. 8).

    The levels are the odd multiples of 1 / (2^b - 1): there is no zero, and a symmetric integer grid holds them only
    with one bit more. ``integers`` gives them for deployment. The gradient passes the rounding, not the tanh.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        check_bits(bits)
        self.bits = bits

    def _normalised(self, weight: torch.Tensor) -> torch.Tensor:
        squashed = torch.tanh(weight)
        return squashed / squashed.abs().amax().clamp(min=torch.finfo(weight.dtype).tiny) / 2 + 0.5

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        numbers, scale = self.integers(weight)
        value = numbers.to(weight.dtype) * scale
        if self.bits == 1:
            return straight_through(weight, value, torch.ones_like(value))
        smooth = 2 * self._normalised(weight) - 1
        return straight_through(smooth, value, torch.ones_like(value))

    def integers(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """int16 numbers of the weight's shape, odd and at most 2^b - 1 in magnitude, and the scale ``(1,)``."""
        weight_rows(weight, per_channel=False)  # refuses weights that are not finite
        if self.bits == 1:
            scale = fit_scale(weight, 1, per_channel=False)
            return integers(weight, scale, 1).to(torch.int16), scale
        levels = 2**self.bits - 1
        steps = torch.round(self._normalised(weight.detach()) * levels)
        return (2 * steps - levels).to(torch.int16), torch.tensor([1.0 / levels], device=weight.device)


class DorefaActivation(nn.Module):
    """Activations clipped to [0, 1] on 2^b - 1 steps (eq. 10); the gradient is 1 inside and 0 outside."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        check_bits(bits)
        self.bits = bits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fixed = x.detach()
        return straight_through(x, on_grid(fixed, self.grid()), ((fixed >= 0) & (fixed <= 1)).to(fixed))

    def grid(self) -> QuantParams:
        """The grid that ``forward`` rounds to."""
        return QuantParams(1.0 / (2**self.bits - 1), 0, 0, 2**self.bits - 1)

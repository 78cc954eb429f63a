"""Quantizers that are trained with the network: learned step sizes (LSQ) and clipping levels (PACT)."""

from __future__ import annotations

import math

import torch
from torch import nn

from netsmith.compression.quantizers.gradients import keep_positive, learned_clip, learned_step
from netsmith.compression.quantizers.linear import (
    SMALLEST_SCALE,
    check_bits,
    per_row,
    positive_scale,
    qmax,
    quantize,
    weight_rows,
)
from netsmith.errors import InputError
from netsmith.network.edit import QuantParams
from netsmith.network.fake_quantize import FAKE_QUANTIZE


def on_grid(x: torch.Tensor, grid: QuantParams) -> torch.Tensor:
    """``x`` rounded to a grid, as deployed."""
    value: torch.Tensor = FAKE_QUANTIZE(x, grid.scale, grid.zero_point, grid.qmin, grid.qmax)
    return value


class LsqWeight(nn.Module):
    """Weights on a symmetric grid whose step is learned (LSQ, Esser et al. 2020).

    The step starts at 2 mean|w| / sqrt(Qmax) and its gradient is scaled by 1 / sqrt(N Qmax), N weights to a step.
    With 1 bit the weights are -step or +step, and the gradient passes within one step.

    Args:
        weight: the weight ``(C_out, ...)`` that the steps start from.
    """

    def __init__(self, weight: torch.Tensor, bits: int, per_channel: bool = True) -> None:
        super().__init__()
        check_bits(bits)
        self.bits = bits
        rows = weight_rows(weight, per_channel)
        self.step = nn.Parameter(positive_scale(2 * rows.double().mean(dim=1) / math.sqrt(qmax(bits)), bits))

    @classmethod
    def from_scale(cls, scale: torch.Tensor, bits: int) -> LsqWeight:
        """Steps that start at fitted scales ``(C_out,)`` or ``(1,)``."""
        made = cls(scale.detach().reshape(-1, 1), bits)
        with torch.no_grad():
            made.step.copy_(scale)
        return made

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        step = keep_positive(self.step, SMALLEST_SCALE)
        top = qmax(self.bits)
        value = quantize(weight.detach(), step.detach(), self.bits)
        gain = 1 / math.sqrt(weight.numel() / len(self.step) * top)
        return learned_step(weight, per_row(step, weight), value, -top, top, gain)

    def export(self, weight: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Scales ``(C_out,)`` and bits with which ``linear.quantize`` computes what ``forward`` does."""
        return keep_positive(self.step.detach(), SMALLEST_SCALE).expand(len(weight)).clone(), self.bits


class LsqActivation(nn.Module):
    """Activations on a grid whose step is learned, {0 .. 2^b - 1} or, signed, {-2^(b-1) .. 2^(b-1) - 1}.

    The step starts at 2 mean|x| / sqrt(Qmax) of the first batch that is not all zeros; a batch before it passes as it
    is. Its gradient is scaled by 1 / sqrt(N Qmax), N features of one image (Esser et al. 2020, section 2.2).
    """

    ready: torch.Tensor

    def __init__(self, bits: int, signed: bool = False) -> None:
        super().__init__()
        check_bits(bits, 2 if signed else 1)
        self.zero_point = 2 ** (bits - 1) if signed else 0
        self.qmax = 2**bits - 1
        self.step = nn.Parameter(torch.ones(1))
        self.register_buffer("ready", torch.tensor(False))

    @classmethod
    def from_grid(cls, grid: QuantParams) -> LsqActivation:
        """A step that starts at a calibrated grid, whose zero point and number of levels stay."""
        made = cls((grid.qmax + 1).bit_length() - 1)
        made.zero_point, made.qmax = grid.zero_point, grid.qmax
        with torch.no_grad():
            made.step.fill_(grid.scale)
            made.ready.fill_(True)
        return made

    def _start(self, x: torch.Tensor) -> None:
        mean = x.detach().abs().mean(dtype=torch.float32)
        if not bool(torch.isfinite(mean)):
            raise InputError("the first batch of an LSQ quantizer holds NaN or infinite values; check the network")
        if bool(mean > 0):
            with torch.no_grad():
                self.step.fill_(2 * mean / math.sqrt(self.qmax - self.zero_point))
                self.ready.fill_(True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not bool(self.ready):
            self._start(x)
            if not bool(self.ready):
                return x
        step = keep_positive(self.step, SMALLEST_SCALE)
        low, high = -self.zero_point, self.qmax - self.zero_point
        gain = 1 / math.sqrt(max(x[0].numel(), 1) * (high if high > 0 else -low))
        return learned_step(x, step, on_grid(x.detach(), self.grid()), low, high, gain)

    def grid(self) -> QuantParams:
        """The grid that ``forward`` rounds to."""
        if not bool(self.ready):
            raise InputError("an LSQ quantizer has no grid before its first batch; run one batch of images through it")
        return QuantParams(float(keep_positive(self.step.detach(), SMALLEST_SCALE)), self.zero_point, 0, self.qmax)


class PactActivation(nn.Module):
    """Activations clipped at a learned level c: x' = 0.5 (|x| - |x - c| + c), on 2^b - 1 steps (Choi et al. 2018).

    The signed form clips to [-c, c] and has b-1 bits of magnitude, as HAQ has it for linear bottlenecks.

    Args:
        c: where the level starts; min(6, max|x|) in HAQ.
    """

    def __init__(self, bits: int, c: float, signed: bool = False) -> None:
        super().__init__()
        check_bits(bits, 2 if signed else 1)
        if not 0 < c < math.inf:
            raise InputError(f"a PACT clipping level is positive and finite, not {c}; start at the largest activation")
        self.bits, self.signed = bits, signed
        self.c = nn.Parameter(torch.tensor([float(c)]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        c = keep_positive(self.c, SMALLEST_SCALE)
        return learned_clip(x, c, on_grid(x.detach(), self.grid()), self.signed)

    def grid(self) -> QuantParams:
        """The grid that ``forward`` rounds to; the lowest unsigned integer stays unused in the signed form."""
        c = float(keep_positive(self.c.detach(), SMALLEST_SCALE))
        if self.signed:
            return QuantParams(c / qmax(self.bits), 2 ** (self.bits - 1), 1, 2**self.bits - 1)
        return QuantParams(c / (2**self.bits - 1), 0, 0, 2**self.bits - 1)

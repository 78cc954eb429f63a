"""The fake-quantization operator that traced graphs hold: rounds to a grid, passes gradients inside the range."""

from __future__ import annotations

from typing import Any

import torch


def round_to_grid(x: torch.Tensor, scale: float, zero_point: int, qmin: int, qmax: int) -> torch.Tensor:
    """``(clamp(round(x / scale) + zero_point, qmin, qmax) - zero_point) * scale``, any shape, a new tensor.

    The same values as ``torch.fake_quantize_per_tensor_affine``, in vectorised passes: that kernel also writes a mask
    and takes five times as long.
    """
    inverse = float(torch.tensor(1.0) / torch.tensor(scale))  # of single precision, as that kernel has it
    return (x * inverse).round_().clamp_(qmin - zero_point, qmax - zero_point).mul_(scale)


@torch.library.custom_op("netsmith::fake_quantize", mutates_args=())
def fake_quantize(x: torch.Tensor, scale: float, zero_point: int, qmin: int, qmax: int) -> torch.Tensor:
    """The operator form of ``round_to_grid``."""
    return round_to_grid(x, scale, zero_point, qmin, qmax)


@fake_quantize.register_fake
def _shape(x: torch.Tensor, scale: float, zero_point: int, qmin: int, qmax: int) -> torch.Tensor:
    return torch.empty_like(x)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    x, scale, zero_point, qmin, qmax = inputs
    q = x / scale + zero_point
    ctx.save_for_backward((q >= qmin - 0.5) & (q <= qmax + 0.5))


def _straight_through(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
    (inside,) = ctx.saved_tensors
    return grad * inside, None, None, None, None


fake_quantize.register_autograd(_straight_through, setup_context=_remember)

FAKE_QUANTIZE = torch.ops.netsmith.fake_quantize.default

"""The fake-quantization operator that traced graphs hold: rounds to a grid, passes gradients inside the range."""

from __future__ import annotations

from typing import Any

import torch


@torch.library.custom_op("netsmith::fake_quantize", mutates_args=())
def fake_quantize(x: torch.Tensor, scale: float, zero_point: int, qmin: int, qmax: int) -> torch.Tensor:
    """``(clamp(round(x / scale) + zero_point, qmin, qmax) - zero_point) * scale``, any shape."""
    return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, qmin, qmax)


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

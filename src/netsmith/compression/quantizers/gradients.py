"""Gradients through rounding: straight-through, of a learned step, of a learned clipping level."""

from __future__ import annotations

from typing import Any

import torch


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, value: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(factor)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (factor,) = ctx.saved_tensors
        return grads[0] * factor, None, None


class _LearnedStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, step: torch.Tensor, value: torch.Tensor, low: int, high: int, gain: float
    ) -> torch.Tensor:
        ctx.save_for_backward(x, step, value)
        ctx.range, ctx.gain = (low, high), gain
        return value.view_as(value)

    @staticmethod
    def backward(
        ctx: Any, *grads: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None, None, None]:
        x, step, value = ctx.saved_tensors
        low, high = ctx.range
        ratio = x / step
        inside = (ratio > low) & (ratio < high)
        to_x = grads[0] * inside if ctx.needs_input_grad[0] else None
        to_step = None
        if ctx.needs_input_grad[1]:
            slope = value / step - torch.where(inside, ratio, 0.0)  # outside, value / step is low or high
            to_step = (grads[0] * slope).sum_to_size(step.shape) * ctx.gain
            to_step = to_step.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        return to_x, to_step, None, None, None, None


class _LearnedClip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, c: torch.Tensor, value: torch.Tensor, signed: bool) -> torch.Tensor:
        ctx.save_for_backward(x, c)
        ctx.signed = signed
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        x, c = ctx.saved_tensors
        above = x >= c
        below = x <= -c if ctx.signed else x < 0
        to_c = (grads[0] * above).sum()
        if ctx.signed:
            to_c = to_c - (grads[0] * below).sum()
        to_c = to_c.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).reshape(c.shape)
        return grads[0] * ~(above | below), to_c, None, None


def straight_through(x: torch.Tensor, value: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """``value``, with the incoming gradient times ``factor`` for ``x``."""
    result: torch.Tensor = _StraightThrough.apply(x, value, factor)  # type: ignore[no-untyped-call]
    return result


def learned_step(
    x: torch.Tensor, step: torch.Tensor, value: torch.Tensor, low: int, high: int, gain: float
) -> torch.Tensor:
    """``value``, which is x rounded to step * {low..high}, with the gradients of LSQ (Esser et al. 2020).

    To ``x``: 1 where low < x / step < high, else 0 (eq. 5). To ``step``, which broadcasts against x:
    round(x / step) - x / step inside, low or high outside (eq. 3), times ``gain``. A sum that is not finite becomes
    0, so that one bad batch cannot destroy the step.
    """
    result: torch.Tensor = _LearnedStep.apply(x, step, value, low, high, gain)  # type: ignore[no-untyped-call]
    return result


def learned_clip(x: torch.Tensor, c: torch.Tensor, value: torch.Tensor, signed: bool) -> torch.Tensor:
    """``value``, which is x clipped to [0, c] or [-c, c] and rounded, with the gradients of PACT (Choi et al. 2018).

    To ``x``: 1 inside, else 0. To ``c`` (one number): the sign of x where it is clipped at c or -c, else 0 (eq. 3).
    """
    result: torch.Tensor = _LearnedClip.apply(x, c, value, signed)  # type: ignore[no-untyped-call]
    return result


def keep_positive(parameter: torch.Tensor, least: float) -> torch.Tensor:
    """|parameter|, at least ``least`` also where it is NaN, with a gradient that never dies.

    The gradient of a plain clamp is zero below its bound, and a parameter that got there would stay.
    """
    value = parameter.detach().abs().nan_to_num(nan=least).clamp(min=least)
    sign = torch.where(parameter.detach() < 0, -1.0, 1.0)
    return straight_through(parameter, value, sign)

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
        if step.numel() == 1:  # activations: few passes over large tensors
            bound = float(step)
            to_x = torch.ops.aten.hardtanh_backward(grads[0], x, low * bound, high * bound)
        else:
            to_x = grads[0] * ((x > low * step) & (x < high * step))
        to_step = None
        if ctx.needs_input_grad[1]:
            # grad * (value - x inside) / step, where outside value / step is low or high
            to_step = (_sum_of_products(grads[0], value, step) - _sum_of_products(to_x, x, step)) / step * ctx.gain
            to_step = to_step.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        return to_x if ctx.needs_input_grad[0] else None, to_step, None, None, None, None


def _sum_of_products(a: torch.Tensor, b: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The sum of a * b in the shape of ``like``, which broadcasts against them."""
    if like.numel() > 1:
        summed: torch.Tensor = (a * b).sum_to_size(like.shape)
        return summed
    layout = torch.channels_last if b.dim() == 4 and b.is_contiguous(memory_format=torch.channels_last) else None
    flat = [t.contiguous(memory_format=layout or torch.contiguous_format) for t in (a, b)]
    rows = [t.permute(0, 2, 3, 1).reshape(len(t), -1) if layout else t.reshape(len(t), -1) for t in flat]
    # a dot product an image: one long sum in single precision would lose the small terms
    total: torch.Tensor = torch.linalg.vecdot(*rows).sum()
    return total.reshape(like.shape)


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


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, index: torch.Tensor, damping: float) -> torch.Tensor:
        ctx.save_for_backward(index)
        ctx.count, ctx.damping = len(values), damping
        return values[index.long()]

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (index,) = ctx.saved_tensors
        flat = index.reshape(-1)
        total = torch.bincount(flat, grads[0].reshape(-1).double(), minlength=ctx.count)
        members = torch.bincount(flat, minlength=ctx.count).clamp(min=1).double()
        return (total / members**ctx.damping).to(grads[0].dtype), None, None


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


def gather(values: torch.Tensor, index: torch.Tensor, damping: float) -> torch.Tensor:
    """``values[index]``, for values ``(K,)`` and uint8 indices of any shape.

    The gradient of a value is the sum of its members' gradients over ``members ** damping``: with 0 the true one (Deep
    Compression, Han et al. 2016, section 3.3); with 1 the mean, so that a step moves a value to the mean of where its
    members alone would have gone (HAQ, Wang et al. 2019).
    """
    result: torch.Tensor = _Gather.apply(values, index, damping)  # type: ignore[no-untyped-call]
    return result


def keep_positive(parameter: torch.Tensor, least: float) -> torch.Tensor:
    """|parameter|, at least ``least`` also where it is NaN, with a gradient that never dies.

    The gradient of a plain clamp is zero below its bound, and a parameter that got there would stay.
    """
    value = parameter.detach().abs().nan_to_num(nan=least).clamp(min=least)
    sign = torch.where(parameter.detach() < 0, -1.0, 1.0)
    return straight_through(parameter, value, sign)

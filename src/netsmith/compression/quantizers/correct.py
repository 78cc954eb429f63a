"""Give a quantized layer the output statistics of the float one: batch-norm re-estimation in folded form."""

from __future__ import annotations

import torch

from netsmith.errors import InputError


def match_statistics(
    weight_q: torch.Tensor,
    bias: torch.Tensor | None,
    want_mean: torch.Tensor,
    want_std: torch.Tensor,
    got_mean: torch.Tensor,
    got_std: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gain and bias ``(C_out,)`` after which each output channel has the wanted mean and standard deviation.

    With y = W_q x + bias measured, the layer gain * W_q x + bias' has them for gain = want_std / got_std and
    bias' = want_mean - gain (got_mean - bias). The gain multiplies the channel's scale, so the integers stay.
    A channel that does not vary (all its integers 0, or got_std 0) keeps its gain of 1 and is only shifted.

    Args:
        weight_q: the quantized weight ``(C_out, ...)``.
        bias: the layer's bias ``(C_out,)``; None stands for zeros.
        want_mean, want_std: statistics ``(C_out,)`` of the float layer's output.
        got_mean, got_std: those of the quantized layer's output on the same images.
    """
    channels = len(weight_q)
    given = (want_mean, want_std, got_mean, got_std, *([] if bias is None else [bias]))
    if any(t.shape != (channels,) for t in given):
        raise InputError(f"statistics and bias must have shape ({channels},), one number an output channel")
    if not all(bool(torch.isfinite(t).all()) for t in given):
        raise InputError("statistics of a layer are NaN or infinite; measure them on more than one image")
    old = torch.zeros_like(got_mean) if bias is None else bias.detach()
    varies = (got_std > 0) & (weight_q.detach().reshape(channels, -1) != 0).any(dim=1)
    gain = torch.where(varies, want_std / torch.where(varies, got_std, 1.0), 1.0)
    gain = gain.clamp(min=1e-8)  # a scale must stay positive
    return gain, want_mean - gain * (got_mean - old)

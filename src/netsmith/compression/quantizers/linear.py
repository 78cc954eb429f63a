"""Symmetric linear grids for weights, 1 to 8 bits, one scale per output channel or one per tensor."""

from __future__ import annotations

import torch

from netsmith.compression.quantizers.clipping import kl_threshold, mse_scale, percentile_threshold
from netsmith.errors import InputError, did_you_mean

CLIPS = ("max", "mse", "percentile", "kl", "haq")
SMALLEST_SCALE = 1e-8  # as for activations (calibrate.affine)


def check_bits(bits: int, least: int = 1) -> None:
    """Raise InputError unless ``least <= bits <= 8``."""
    if not least <= bits <= 8:
        raise InputError(f"this quantizer has {least} to 8 bits, not {bits}; choose a bit-width in that range")


def qmax(bits: int) -> int:
    """Largest integer of a weight grid: 2^(bits-1) - 1, and 1 for binary weights.

    The most negative two's complement value stays unused, so that the grid is symmetric (2 bits are ternary) and the
    product of two extremes cannot overflow.
    """
    return max((1 << bits - 1) - 1, 1)


def weight_rows(weight: torch.Tensor, per_channel: bool) -> torch.Tensor:
    """Magnitudes ``(C_out, N)``, or ``(1, N)`` for one scale per tensor, without gradient."""
    if weight.numel() == 0 or weight.dim() == 0:
        raise InputError(f"a weight of shape {tuple(weight.shape)} cannot be quantized; leave the layer out")
    rows = weight.detach().abs().reshape(len(weight) if per_channel else 1, -1)
    if not bool(torch.isfinite(rows.amax(dim=1)).all()):  # amax hands NaN on
        raise InputError("a weight holds NaN or infinite values; check the checkpoint or lower the learning rate")
    return rows


def positive_scale(scale: torch.Tensor, bits: int) -> torch.Tensor:
    """Replace scales of zero, in double, and return float32.

    A channel of zeros takes the mean scale of the others: any grid with a zero holds it, and nothing downstream meets
    an odd magnitude. Binary weights have no zero, so there it takes the smallest scale.
    """
    scale = scale.double()
    used = scale > 0
    if bits == 1:
        filler = scale.new_tensor(SMALLEST_SCALE)
    else:
        filler = scale[used].mean() if bool(used.any()) else scale.new_tensor(1.0)
    return torch.where(used, scale, filler).float().clamp(min=torch.finfo(torch.float32).tiny)  # float may underflow


def fit_scale(
    weight: torch.Tensor, bits: int, *, per_channel: bool = True, clip: str = "mse", percentile: float = 99.99
) -> torch.Tensor:
    """Step of the symmetric grid of a weight ``(C_out, ...)``.

    Binary weights take mean|w|, the least squared error in closed form (XNOR-Net, Rastegari et al. 2016, eq. 6),
    whatever the clipping rule.

    Args:
        clip: where the grid ends. ``max`` (no clipping), ``mse`` (least squared error), ``percentile`` (of |w|),
            ``kl`` (least divergence of the histogram of |w|; it wants thousands of weights a row) or ``haq``
            (``max`` from 5 bits on, ``kl`` below, always per tensor; Wang et al. 2019).
        percentile: used by that rule only.

    Returns:
        Positive float32 scales ``(C_out,)``, or ``(1,)`` per tensor.
    """
    check_bits(bits)
    if clip not in CLIPS:
        raise InputError(f"unknown clipping rule {clip!r}{did_you_mean(clip, list(CLIPS))}; known: {', '.join(CLIPS)}")
    rows = weight_rows(weight, per_channel and clip != "haq")
    if bits == 1:
        return positive_scale(rows.double().mean(dim=1), bits)
    if clip == "haq":
        clip = "max" if bits >= 5 else "kl"
    if clip == "mse":
        return positive_scale(mse_scale(rows.float(), qmax(bits)), bits)
    if clip == "percentile":
        threshold = percentile_threshold(rows, percentile)
    elif clip == "kl":
        threshold = kl_threshold(rows, bits)
    else:
        threshold = rows.amax(dim=1)
    return positive_scale(threshold.double() / qmax(bits), bits)


def per_row(scale: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Scales ``(C_out,)`` or ``(1,)`` shaped to multiply a weight ``(C_out, ...)``."""
    if scale.numel() not in (1, len(weight)):
        raise InputError(f"{scale.numel()} scales do not fit a weight of {len(weight)} output channels; fit them to it")
    return scale.reshape(-1, *[1] * (weight.dim() - 1))


def _rounded(weight: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    if bits == 1:
        return torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)
    return torch.clamp(torch.round(weight / scale), -qmax(bits), qmax(bits))


def integers(weight: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    """The int8 values of a weight on its grid; -1 or +1 for 1 bit, where zero counts as +1."""
    check_bits(bits)
    return _rounded(weight.detach(), per_row(scale, weight), bits).to(torch.int8)


def quantize(weight: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    """Round a weight ``(C_out, ...)`` to its grid: ``integers * scale``. Idempotent for a fixed scale."""
    check_bits(bits)
    s = per_row(scale, weight)
    return _rounded(weight, s, bits) * s

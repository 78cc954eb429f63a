"""Ternary weights by a threshold (TWN): an alternative to the least-squares grid of 2 bits."""

from __future__ import annotations

import torch

from netsmith.compression.quantizers.linear import per_row, positive_scale, weight_rows


def ternarize(weight: torch.Tensor, *, per_channel: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights -scale, 0 or scale (Ternary Weight Networks, Li and Liu 2016, eq. 5 and 6).

    The threshold is 0.7 mean|w| and the scale is the mean of the magnitudes above it, which is the best scale for
    that threshold. ``linear.quantize(integers * scale, scale, 2)`` gives the same values back.

    Returns:
        int8 integers of the weight's shape, and float32 scales ``(C_out,)`` or ``(1,)``.
    """
    rows = weight_rows(weight, per_channel).double()
    threshold = 0.7 * rows.mean(dim=1, keepdim=True)
    above = rows > threshold
    scale = (rows * above).sum(dim=1) / above.sum(dim=1).clamp(min=1)
    w = weight.detach().double()
    signs = torch.where(w.abs() > per_row(threshold, w), w.sign(), 0.0).to(torch.int8)
    return signs, positive_scale(scale, 2)

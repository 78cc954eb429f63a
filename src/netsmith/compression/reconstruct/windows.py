"""What a convolution or linear layer multiplies its weight with, at a few output positions: rows of its im2col."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx
from torch.nn import functional as F

from netsmith.network.passes import CONVS

aten = torch.ops.aten


def output_positions(node: fx.Node, x: torch.Tensor) -> int:
    """Output positions beside the first dimension: pixels of a convolution's output, tokens of a linear layer's.

    Args:
        x: the layer's input. The tokens are its own, as the batch of a sequence may lie among them.
    """
    return math.prod(int(n) for n in (node.meta["val"].shape[2:] if node.target in CONVS else x.shape[1:-1]))


def rows(node: fx.Node, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Rows of im2col at some output positions of every image.

    Args:
        node: a convolution without groups, or a linear layer.
        x: its input ``(N, C, ...)``, or ``(N, ..., C)`` of a linear layer.
        positions: ``(P,)`` flat output positions.

    Returns:
        ``(N * P, p)``; the layer's outputs there are these times its weight as a matrix ``(C_out, p)``, plus its bias.
    """
    if node.target not in CONVS:
        return x.reshape(len(x), -1, x.shape[-1])[:, positions].reshape(-1, x.shape[-1])
    weight = node.args[1].meta["val"]  # type: ignore[union-attr]
    kernel = [int(k) for k in weight.shape[2:]]
    d = len(kernel)
    args: list[Any] = list(node.args) + [None] * (7 - len(node.args))
    stride, dilation = _each(args[3], 1, d), _each(args[5], 1, d)
    view = F.pad(x, _padding(args[4], kernel, dilation))
    for i, (k, s, step) in enumerate(zip(kernel, stride, dilation, strict=True)):
        view = view.unfold(2 + i, step * (k - 1) + 1, s)[..., ::step]
    index = torch.unravel_index(positions, view.shape[2 : 2 + d])
    at: Any = (slice(None), slice(None), *index)
    picked = view[at]  # (N, C, P, *kernel): only these windows are copied
    return picked.transpose(1, 2).reshape(len(x) * len(positions), -1)


def _each(value: Any, default: int, d: int) -> list[int]:
    numbers = [int(v) for v in value] if isinstance(value, (tuple, list)) and value else [int(value or default)]
    return numbers * d if len(numbers) == 1 else numbers


def _padding(value: Any, kernel: list[int], dilation: list[int]) -> list[int]:
    """Arguments of ``F.pad``: before and after, the last dimension first."""
    if value == "same":
        total = [step * (k - 1) for k, step in zip(kernel, dilation, strict=True)]
        sides = [(t // 2, t - t // 2) for t in total]
    else:
        sides = [(p, p) for p in _each(0 if value == "valid" else value, 0, len(kernel))]
    return [p for side in reversed(sides) for p in side]

"""Binary gates before the candidates of a block, and their gradients with one path in memory.

ProxylessNAS, section 3.2: the output of a block is ``sum_k g_k o_k(x)`` with a one-hot gate ``g``, so that one
candidate runs. The gradient of gate k is the inner product of the output's gradient with ``o_k(x)``, for which every
other candidate has to run as well: all of them in the graph (``full``), or one after the other while the gradient
passes, nothing of them kept (``recompute``). With ``two``, the caller names two candidates and only these have a
gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

Mode = Literal["full", "recompute", "two"]


class GatedBlock(nn.Module):
    """Candidates of one place in a network, one of which runs; and a shortcut around them where there may be one.

    Attributes:
        candidates: modules from ``(B, C, H, W)`` to maps of one shape; None is the candidate that gives zeros, which
            takes no module and no time.
        residual: whether the input is added to what the candidates give.
    """

    def __init__(self, candidates: Sequence[nn.Module | None], residual: bool) -> None:
        super().__init__()
        # a module of its own for every index, so that names of weights do not depend on whether there is a zero
        self.candidates = nn.ModuleDict({str(k): m for k, m in enumerate(candidates) if m is not None})
        self.residual = residual

    def run(self, k: int, x: torch.Tensor) -> torch.Tensor | None:
        """The output of candidate ``k`` without the shortcut; None for zeros."""
        return self.candidates[str(k)](x) if str(k) in self.candidates else None

    def forward(
        self, x: torch.Tensor, k: int, gates: torch.Tensor | None = None, mode: Mode = "recompute",
        others: Sequence[int] = (),
    ) -> torch.Tensor:  # fmt: skip
        """The output with candidate ``k``.

        Args:
            x: ``(B, C, H, W)``.
            k: the candidate that runs.
            gates: one-hot at ``k``, ``(K,)``; given, they get a gradient.
            mode: how.
            others: candidates beside ``k`` whose gates get a gradient.
        """
        if gates is None:
            y = self.run(k, x)
        elif mode == "full":
            # a gate of 0 still has a gradient; zeros contribute nothing to either
            parts = [gates[i] * y for i in (k, *others) if (y := self.run(i, x)) is not None]
            y = torch.stack(parts).sum(0) if parts else None
        else:
            y = _Gate.apply(x, gates, self, k, tuple(others))  # type: ignore[no-untyped-call]
        if y is None:
            return x
        return x + y if self.residual else y


class _Gate(torch.autograd.Function):
    """Runs one candidate; the others run in the backward pass, one at a time and without a graph."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, gates: torch.Tensor, block: GatedBlock, k: int, others: tuple[int, ...]
    ) -> torch.Tensor:
        kind = x.device.type
        ctx.autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        ctx.block, ctx.k, ctx.others, ctx.n = block, k, others, len(gates)
        ctx.x = x.detach()
        with torch.enable_grad():
            ctx.inner = ctx.x.requires_grad_() if x.requires_grad else ctx.x
            ctx.y = block.run(k, ctx.inner)
        # without a candidate that runs the shape is that of the input: only there may a block be skipped
        return torch.zeros_like(x) if ctx.y is None else ctx.y.detach().clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None, None, None]:
        grad = grads[0]
        gates = torch.zeros(ctx.n, dtype=torch.float32, device=grad.device)
        back: torch.Tensor | None = None
        if ctx.y is not None:
            gates[ctx.k] = _inner(grad, ctx.y)
            if ctx.needs_input_grad[0]:
                (back,) = torch.autograd.grad(ctx.y, ctx.inner, grad.to(ctx.y.dtype))
        elif ctx.needs_input_grad[0]:
            back = torch.zeros_like(grad)
        kind, dtype, on = ctx.autocast
        x, ctx.y, ctx.inner = ctx.x.detach(), None, None  # nothing of the path that ran is needed any more
        with torch.no_grad(), torch.autocast(kind, dtype, enabled=on):
            for i in ctx.others:
                y = ctx.block.run(i, x)
                if y is not None:
                    gates[i] = _inner(grad, y)
        return back, gates, None, None, None


def _inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.detach().float() * b.detach().float()).sum()

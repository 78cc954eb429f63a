"""Depthwise convolutions in a training in bfloat16 on a CPU: most are many times faster in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from netsmith.network.strided import CONVOLUTIONS, Subsampled
from netsmith.training.device import autocast


class Float32Depthwise(TorchFunctionMode):
    """Within CPU autocast, runs depthwise convolutions that are trained in float32 where bfloat16 is slow.

    oneDNN has a fast backward pass in bfloat16 for 3x3 at stride 1 alone. Measured with 96 channels at 16x16, batch
    64, forward and backward in ms, bfloat16 and float32: 3x3 2.9 and 6.0; 3x3 at stride 2 43 and 3.5; 5x5 40 and 18;
    7x7 39 and 28. As autocast would, the result is in bfloat16. Forward passes without gradients are left alone.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in CONVOLUTIONS or not torch.is_autocast_enabled("cpu") or not _is_slow(*args, **kwargs):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            x, weight, bias = (v.float() if v is not None else None for v in _tensors(*args, **kwargs))
            rest = {k: v for k, v in kwargs.items() if k not in ("input", "weight", "bias")}
            return func(x, weight, bias, *args[3:], **rest).to(torch.get_autocast_dtype("cpu"))


@contextmanager
def working_precision(device: torch.device, bf16: bool) -> Iterator[None]:
    """Convolutions and products in bfloat16 on ``device`` wherever that is faster, or explicitly not; see also
    :class:`Subsampled`.
    """
    slow = Float32Depthwise() if bf16 and device.type == "cpu" else nullcontext()
    with autocast(device, bf16), Subsampled() if device.type == "cpu" else nullcontext(), slow:
        yield


Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]


def _tensors(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, *_: Any, **__: Any
) -> Tensors:
    return input, weight, bias


def _is_slow(
    input: torch.Tensor, weight: torch.Tensor, bias: object = None, stride: Any = 1, padding: object = 0,
    dilation: object = 1, groups: int = 1,
) -> bool:  # fmt: skip
    """Whether the backward pass of this convolution, of which there must be one, is slow in bfloat16."""
    depthwise = groups > 1 and weight.shape[1] == 1
    if not depthwise or not torch.is_grad_enabled() or not (input.requires_grad or weight.requires_grad):
        return False
    steps = {stride} if isinstance(stride, int) else set(stride)
    return tuple(weight.shape[2:]) != (3, 3) or steps != {1} or min(input.shape[2:]) < 3

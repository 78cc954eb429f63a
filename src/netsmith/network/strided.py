"""Pointwise convolutions with a stride whose gradients oneDNN writes outside their memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = {torch.conv2d, torch.ops.aten.conv2d.default}
_BLOCK = 16  # channels of oneDNN's widest block


class Subsampled(TorchFunctionMode):
    """Runs 1x1 convolutions of few channels with a stride as those of every stride-th pixel, which is what they are.

    On a CPU, with images in channels-last layout and fewer input channels than a block (8 with AVX2, 16 with AVX512),
    the gradient of their weights writes behind a workspace of oneDNN: processes crash at a later time, or hang
    (https://github.com/uxlfoundation/oneDNN/issues/6035). Pruned shortcuts of residual networks are such. At stride 1
    there is no such workspace.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        steps = _steps(*args, **kwargs) if func in CONVOLUTIONS else None
        if steps is None:
            return func(*args, **kwargs)
        names = ("input", "weight", "bias", "stride")
        given = dict(zip(names, args, strict=False)) | kwargs
        given |= {"input": given["input"][:, :, :: steps[0], :: steps[1]], "stride": (1, 1)}
        return func(*(given.pop(n, None) for n in names), *args[4:], **given)


def _steps(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> tuple[int, int] | None:  # fmt: skip
    """Vertical and horizontal stride of a convolution that must not run as it is, None for any other."""
    if (
        tuple(weight.shape[2:]) != (1, 1) or input.dim() != 4 or input.shape[1] >= _BLOCK or groups != 1
        or isinstance(padding, str) or _pair(padding) != (0, 0)
        or input.device.type != "cpu" or not torch.is_grad_enabled()
    ):  # fmt: skip
        return None
    steps = _pair(stride)
    return steps if max(steps) > 1 else None


def _pair(value: Any) -> tuple[int, int]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return int(values[0]), int(values[-1])

"""What of a module is counted in channels."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.conv import _ConvNd


def is_depthwise(module: nn.Module | None) -> bool:
    """Whether it is a convolution whose input and output channels are one."""
    return isinstance(module, _ConvNd) and 1 < module.groups == module.in_channels == module.out_channels


def sides_of(module: nn.Module) -> tuple[int, int]:
    """``(c_in, c_out)`` of a convolution or linear layer."""
    if isinstance(module, _ConvNd):
        return module.in_channels, module.out_channels
    assert isinstance(module, nn.Linear)
    return module.in_features, module.out_features

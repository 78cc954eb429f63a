"""MobileNet (Howard et al. 2017) and MobileNetV2 (Sandler et al. 2018), any width and input size.

MobileNetV2 has the names of torchvision; in the folded variant, those names without the batch norms and with a bias
on every convolution.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

#: expansion, channels, blocks, stride of the first block (Sandler et al. 2018, table 2)
_V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
#: channels, stride of every depthwise separable layer (Howard et al. 2017, table 1)
_V1_LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: what is missing for ``ceil(side / stride)`` outputs, more of it at
    the right and the bottom."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (top, bottom), (left, right) = (
            _same(x.shape[2 + i], self.kernel_size[i], self.stride[i], self.dilation[i]) for i in (0, 1)
        )
        return super().forward(F.pad(x, (left, right, top, bottom)))


def _same(side: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    total = max((math.ceil(side / stride) - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)
    return total // 2, total - total // 2


def round_channels(channels: float, multiple: int = 8) -> int:
    """Nearest multiple, at least one of them and never more than 10 % below ``channels``."""
    rounded = max(multiple, int(channels + multiple / 2) // multiple * multiple)
    return rounded + multiple if rounded < 0.9 * channels else rounded


class Style:
    """How a variant writes a convolution: with batch norm or folded, symmetric or SAME padding."""

    def __init__(self, folded: bool, same_padding: bool, activation: type[nn.Module], eps: float = 1e-5) -> None:
        self.folded = folded
        self.same_padding = same_padding
        self.activation = activation
        self.eps = eps

    def conv(
        self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, active: bool = True
    ) -> list[nn.Module]:
        # at stride 1 SAME is the symmetric padding, and a plain convolution is what every tool understands
        same = self.same_padding and stride > 1
        kind, padding = (SameConv2d, 0) if same else (nn.Conv2d, kernel // 2)
        parts: list[nn.Module] = [kind(c_in, c_out, kernel, stride, padding, groups=groups, bias=self.folded)]
        if not self.folded:
            parts.append(nn.BatchNorm2d(c_out, eps=self.eps))
        if active:
            parts.append(self.activation())
        return parts


class InvertedResidual(nn.Module):
    """Expansion 1x1, depthwise, linear projection 1x1; added to its input where the shapes agree."""

    def __init__(self, style: Style, c_in: int, c_out: int, stride: int, expansion: int, kernel: int = 3) -> None:
        super().__init__()
        hidden = c_in * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(nn.Sequential(*style.conv(c_in, hidden)))
        layers.append(nn.Sequential(*style.conv(hidden, hidden, kernel, stride, groups=hidden)))
        layers += style.conv(hidden, c_out, active=False)
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return x + y if self.residual else y


def fresh_weights(network: nn.Module) -> None:
    """Draw the weights of every convolution and linear layer anew, as MobileNets are started."""
    for m in network.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out")
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, 0, 0.01)
            nn.init.zeros_(m.bias)


class MobileNet(nn.Module):
    """``(N, C, H, W)`` to logits: features, global mean, dropout and one linear layer."""

    def __init__(self, features: nn.Sequential, channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.features = features
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))
        fresh_weights(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.adaptive_avg_pool2d(self.features(x), 1).flatten(1)
        logits: torch.Tensor = self.classifier(y)
        return logits


def mobilenet_v1(
    *,
    width: float = 1.0,
    num_classes: int = 1000,
    in_channels: int = 3,
    folded: bool = False,
    same_padding: bool = False,
    stem_stride: int = 2,
    dropout: float = 0.2,
) -> MobileNet:
    """MobileNet; the arguments are those of ``mobilenet_v2``. ReLU after every convolution, as in the paper."""
    style = Style(folded, same_padding, nn.ReLU)
    c_in = round_channels(32 * width)
    layers = [nn.Sequential(*style.conv(in_channels, c_in, 3, stem_stride))]
    for channels, stride in _V1_LAYERS:
        c_out = round_channels(channels * width)
        depthwise = nn.Sequential(*style.conv(c_in, c_in, 3, stride, groups=c_in))
        layers.append(nn.Sequential(depthwise, nn.Sequential(*style.conv(c_in, c_out))))
        c_in = c_out
    return MobileNet(nn.Sequential(*layers), c_in, num_classes, dropout)


def mobilenet_v2(
    *,
    width: float = 1.0,
    num_classes: int = 1000,
    in_channels: int = 3,
    folded: bool = False,
    same_padding: bool = False,
    stem_stride: int = 2,
    dropout: float = 0.2,
) -> MobileNet:
    """MobileNetV2.

    Args:
        width: multiplier of all channels, rounded to multiples of 8; the last layer never shrinks below 1280.
        num_classes: number of logits.
        in_channels: channels of the images.
        folded: no batch norm, but a bias on every convolution (for weights where it was folded in).
        same_padding: TensorFlow's SAME padding at stride 2 instead of the symmetric one.
        stem_stride: stride of the first convolution; 1 for small images.
        dropout: before the classifier, in training.
    """
    style = Style(folded, same_padding, nn.ReLU6)
    c_in = round_channels(32 * width)
    layers: list[nn.Module] = [nn.Sequential(*style.conv(in_channels, c_in, 3, stem_stride))]
    for expansion, channels, blocks, stride in _V2_STAGES:
        c_out = round_channels(channels * width)
        for i in range(blocks):
            layers.append(InvertedResidual(style, c_in, c_out, stride if i == 0 else 1, expansion))
            c_in = c_out
    last = round_channels(1280 * max(1.0, width))
    layers.append(nn.Sequential(*style.conv(c_in, last)))
    return MobileNet(nn.Sequential(*layers), last, num_classes, dropout)

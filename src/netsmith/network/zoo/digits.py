"""A small residual network for the 8x8 digits of scikit-learn."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from netsmith.network.zoo.cifar_resnet import BasicBlock


class DigitsNet(nn.Module):
    """``(N, C, 8, 8)`` to logits; two stages of residual blocks, 1x1 convolutions where the shape changes.

    Wide enough that channels can be pruned, and with blocks of identity shortcut that can be removed.
    """

    def __init__(self, num_classes: int, in_channels: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.Sequential(*(BasicBlock(channels, channels, 1, "B") for _ in range(blocks)))
        wide = 2 * channels
        self.layer2 = nn.Sequential(
            BasicBlock(channels, wide, 2, "B"), *(BasicBlock(wide, wide, 1, "B") for _ in range(blocks - 1))
        )
        self.linear = nn.Linear(wide, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.layer2(self.layer1(y))
        logits: torch.Tensor = self.linear(F.adaptive_avg_pool2d(y, 1).flatten(1))
        return logits


def digits(*, num_classes: int = 10, in_channels: int = 1, channels: int = 32, blocks: int = 2) -> DigitsNet:
    """The network for digits.

    Args:
        num_classes: number of logits.
        in_channels: channels of the images.
        channels: width of the first stage; the second is twice as wide.
        blocks: residual blocks a stage.
    """
    return DigitsNet(num_classes, in_channels, channels, blocks)

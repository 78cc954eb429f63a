"""The residual networks for 32x32 images of He et al. 2016 (section 4.2), and their plain twin without shortcuts.

Names follow github.com/akamaster/pytorch_resnet_cifar10: ``conv1``, ``bn1``,
``layer{1,2,3}.{block}.{conv1,bn1,conv2,bn2}`` and ``linear``.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from netsmith.errors import InputError


class PadShortcut(nn.Module):
    """Option A: every second pixel, and zero channels in front and behind; no parameters."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.front = (c_out - c_in) // 2
        self.behind = c_out - c_in - self.front

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.front, self.behind))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, added to a shortcut (or not, in the plain network)."""

    def __init__(self, c_in: int, c_out: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.residual = shortcut != "none"
        self.shortcut: nn.Module = nn.Sequential()
        if self.residual and (stride != 1 or c_in != c_out):
            if shortcut == "A":
                self.shortcut = PadShortcut(c_in, c_out, stride)
            else:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
                )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.residual:
            y = y + self.shortcut(x)
        return F.relu(y)


class CifarResNet(nn.Module):
    """``(N, C, 32, 32)`` to logits ``(N, num_classes)``; any side that survives two halvings works."""

    def __init__(self, depth: int, num_classes: int, in_channels: int, shortcut: str) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, 1, shortcut)
        self.layer2 = _stage(16, 32, blocks, 2, shortcut)
        self.layer3 = _stage(32, 64, blocks, 2, shortcut)
        self.linear = nn.Linear(64, num_classes)
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        y = F.adaptive_avg_pool2d(y, 1).flatten(1)
        logits: torch.Tensor = self.linear(y)
        return logits


def _stage(c_in: int, c_out: int, blocks: int, stride: int, shortcut: str) -> nn.Sequential:
    first = BasicBlock(c_in, c_out, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(c_out, c_out, 1, shortcut) for _ in range(blocks - 1)))


def cifar_resnet(depth: int, *, num_classes: int = 10, in_channels: int = 3, shortcut: str = "A") -> CifarResNet:
    """A residual network of ``depth`` layers, ``6n + 2``.

    Args:
        depth: 20, 32, 44, 56, ...
        num_classes: number of logits.
        in_channels: channels of the images.
        shortcut: ``A`` (zero channels, no parameters), ``B`` (1x1 convolutions) or ``none`` (the plain network).

    Raises:
        InputError: unknown kind of shortcut or a depth that is not ``6n + 2``.
    """
    if shortcut not in ("A", "B", "none"):
        raise InputError(f"shortcut {shortcut!r} is not known: choose A, B or none")
    if depth < 8 or depth % 6 != 2:
        raise InputError(f"depth {depth} does not fit: it must be 6n + 2, for instance 20, 32, 44 or 56")
    return CifarResNet(depth, num_classes, in_channels, shortcut)

"""Networks for tests of repair: every kind of layer that reads pruned channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def sample(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.zeros(*shape).normal_(generator=torch.Generator().manual_seed(seed))


def correlated(n: int, channels: int = 3, size: int = 10) -> torch.Tensor:
    """Smooth images ``(n, channels, size, size)``: neighbours resemble each other, as in photographs."""
    rough = sample(n, channels, size // 2, size // 2, seed=5)
    return F.interpolate(rough, size=(size, size), mode="bilinear") + 0.1 * sample(n, channels, size, size, seed=6)


class Mixed(nn.Module):
    """Strides, dilation, a depthwise and a grouped convolution, concatenation, residual addition, flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn0 = nn.BatchNorm2d(8)
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False)
        self.bn2 = nn.BatchNorm2d(12)
        self.point = nn.Conv2d(12, 8, 1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.wide = nn.Conv2d(8, 6, 3, padding=2, dilation=2)
        self.join = nn.Conv2d(14, 8, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 10, 3, padding=1)
        self.outer = nn.Conv2d(10, 8, 3, padding=1)
        self.head = nn.Linear(8 * 25, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn0(self.stem(x)))
        y = F.relu(self.bn1(self.down(y)))
        y = F.relu(self.bn2(self.depthwise(y)))
        y = F.relu(self.point(y))
        y = F.relu(self.bn3(self.join(torch.cat([F.relu(self.grouped(y)), F.relu(self.wide(y))], 1))))
        y = F.relu(y + self.outer(F.relu(self.inner(y))))
        out: torch.Tensor = self.head(y.flatten(1))
        return out


def warmed(model: nn.Module, images: torch.Tensor) -> nn.Module:
    """Weights drawn from a fixed seed, batch norm with statistics of ``images`` and scales of both signs."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            fan = p[0].numel() if p.dim() > 1 else 10
            p.copy_(torch.zeros(p.shape).normal_(generator=generator) * (1.5 / fan) ** 0.5)
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.weight.add_(1.0)
                m.weight[0] *= -1
                m.momentum = None
        model.train()
        model(images)
    return model.eval()

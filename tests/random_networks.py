"""Networks of randomly chosen blocks, and what of them stays, for tests of surgery."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from netsmith.compression import GroupReport, keep_indices


class SqueezeExcite(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(c, max(2, c // 4), 1), nn.Conv2d(max(2, c // 4), c, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


class Residual(nn.Module):
    def __init__(self, c: int, hidden: int, groups: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c, hidden, 1, bias=False)
        self.norm1: nn.Module = norm(hidden) if norm is nn.BatchNorm2d else nn.GroupNorm(hidden // 4, hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, 1, 1, groups=groups)
        self.conv3, self.bn3 = nn.Conv2d(hidden, c, 1), nn.BatchNorm2d(c)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(x + self.bn3(self.conv3(y)))


class Concat(nn.Module):
    def __init__(self, c: int, a: int, b: int) -> None:
        super().__init__()
        self.a, self.b, self.bn = nn.Conv2d(c, a, 1), nn.Conv2d(c, b, 3, padding=1), nn.BatchNorm2d(c + a + b)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(torch.cat([x, self.a(x), self.b(x)], 1)))


def random_network(seed: int) -> nn.Module:
    """A chain of randomly chosen blocks behind a stem, with a classifier; made for inputs ``(N, 3, 8, 8)``."""
    rng = np.random.default_rng(seed)
    c = int(rng.choice([8, 12, 16]))
    layers: list[nn.Module] = [nn.Conv2d(3, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU()]
    for _ in range(int(rng.integers(3, 6))):
        kind = rng.choice(["residual", "depthwise", "grouped", "concat", "se", "plain", "transposed"])
        if kind == "residual":
            layers.append(Residual(c, 16, 1, nn.BatchNorm2d if rng.random() < 0.5 else nn.GroupNorm))
        elif kind == "depthwise":
            layers.append(Residual(c, 16, 16, nn.BatchNorm2d))
        elif kind == "grouped":
            layers.append(Residual(c, 16, 4, nn.GroupNorm))
        elif kind == "concat":
            a, b = (int(v) for v in rng.integers(2, 9, 2))
            layers.append(Concat(c, a, b))
            c += a + b
        elif kind == "se":
            layers.append(SqueezeExcite(c))
        elif kind == "plain":
            new = int(rng.choice([8, 12, 16]))
            layers += [nn.Conv2d(c, new, 3, padding=1), nn.PReLU(new)]
            c = new
        else:
            layers += [nn.ConvTranspose2d(c, 10, 2, 2), nn.InstanceNorm2d(10, affine=True), nn.MaxPool2d(2)]
            c = 10
    pool: list[nn.Module] = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * c, 10)]
    return nn.Sequential(*layers, *pool)


def random_keep(report: GroupReport, rng: np.random.Generator) -> dict[str, list[int]]:
    keep = {}
    for g in report.groups:
        n = int(rng.integers(1, g.channels // g.unit + 1))
        keep[g.name] = keep_indices(rng.random(g.channels), n * g.unit, g.unit)
    return keep

"""Small networks, each with one thing that makes it hard to say which channels may leave."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


class GroupedPair(nn.Module):
    """Grouped convolutions one after the other, with different groups."""

    def __init__(self, first: int = 2, second: int = 2) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1, groups=first)
        self.c, self.fc = nn.Conv2d(32, 32, 3, padding=1, groups=second), nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.relu(self.c(F.relu(self.b(F.relu(self.a(x)))))).mean((2, 3)))


class GroupedUp(nn.Module):
    """A grouped transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.up = nn.Conv2d(3, 12, 1), nn.ConvTranspose2d(12, 8, 2, 2, groups=2)
        self.b = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(F.relu(self.up(F.relu(self.a(x)))))


class Shuffled(nn.Module):
    """Grouped convolutions with a shuffle between, as in ShuffleNet."""

    def __init__(self, by_hand: bool = True) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1, groups=2)
        self.depthwise, self.c = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 24, 1, groups=2)
        self.fc, self.by_hand = nn.Linear(24, 5), by_hand

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.b(F.relu(self.a(x)))
        if self.by_hand:
            n, c, h, w = x.shape
            x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        else:
            x = F.channel_shuffle(x, 2)
        return self.fc(F.relu(self.c(self.depthwise(x))).mean((2, 3)))


class PlainAttention(nn.Module):
    """softmax(q k) v without a layer behind that belongs to it."""

    def __init__(self, fused: bool = False) -> None:
        super().__init__()
        self.embed, self.fused = nn.Conv2d(3, 16, 4, 4), fused
        self.q, self.k, self.v = nn.Linear(16, 12), nn.Linear(16, 12), nn.Linear(16, 20)
        self.fc = nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        q, k, v = self.q(x), self.k(x), self.v(x)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v, scale=0.3)
        else:
            x = (q @ k.transpose(-2, -1) / math.sqrt(12)).softmax(-1) @ v
        return self.fc(x.mean(1))


class RootMeanSquare(nn.Module):
    """A layer with nn.RMSNorm behind."""

    def __init__(self, affine: bool = True) -> None:
        super().__init__()
        self.a, self.norm = nn.Linear(192, 24), nn.RMSNorm(24, elementwise_affine=affine)
        self.b, self.fc = nn.Linear(24, 16), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.relu(self.b(F.silu(self.norm(self.a(x.flatten(1)))))))


class Normalised(nn.Module):
    """An L2 norm over channels, by hand or by torch."""

    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.a, self.bn, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Conv2d(16, 12, 1)
        self.fc, self.by_hand = nn.Linear(12, 5), by_hand

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn(self.a(x)))
        x = x / x.norm(dim=1, keepdim=True) if self.by_hand else F.normalize(x, dim=1)
        return self.fc(F.normalize(self.b(x).mean((2, 3)), dim=-1))


class Decoder(nn.Module):
    """A linear layer, a view as maps, transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.lin, self.up = nn.Linear(192, 64), nn.ConvTranspose2d(16, 24, 4, 2, 1)
        self.fc = nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.lin(x.flatten(1))).view(x.shape[0], -1, 2, 2)
        return self.fc(F.relu(self.up(x)).mean((2, 3)))


class SliceAdd(nn.Module):
    """Two branches that overlap in some channels only, as in dual-path networks."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, 16, 3, padding=1), nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, y = F.relu(self.a(x)), F.relu(self.b(x))
        return self.fc(torch.cat([x[:, :8] + y[:, :8], x[:, 8:], y[:, 8:]], 1).mean((2, 3)))


class Functional(nn.Module):
    """The weight of a layer used without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 12, 1), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(F.conv2d(x, self.a.weight, self.a.bias, padding=1))
        return F.linear(F.relu(self.b(x)).mean((2, 3)), self.fc.weight, self.fc.bias)


class BareProduct(nn.Module):
    """A layer read by a product with a parameter that belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(192, 16), nn.Linear(20, 12)
        self.w, self.fc = nn.Parameter(torch.randn(16, 20)), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.einsum("bc,cd->bd", F.relu(self.a(x.flatten(1))), self.w)
        return self.fc(F.relu(self.b(F.relu(x))))


class ConstantProduct(nn.Module):
    """A layer read by a product with a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.fc = nn.Linear(192, 12), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.a(x.flatten(1)) @ torch.eye(12, dtype=x.dtype, device=x.device))


class Res2(nn.Module):
    """A stem cut into pieces, each added to the one before (Res2Net)."""

    def __init__(self, fixed: bool) -> None:
        super().__init__()
        self.stem, self.fixed = nn.Conv2d(3, 16, 1), fixed
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.fc = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        parts = x.split(4, 1) if self.fixed else x.chunk(4, 1)
        out = [parts[0]]
        for conv, part in zip(self.convs, parts[1:], strict=True):
            out.append(F.relu(conv(part + out[-1])))
        return self.fc(torch.cat(out, 1).mean((2, 3)))


class WindowAttention(nn.Module):
    """Attention within windows, with a table of relative positions, as in Swin."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.num_heads, self.window = heads, window
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads))
        at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        apart = (at[:, :, None] - at[:, None, :]) + window - 1
        self.register_buffer("index", apart[0] * (2 * window - 1) + apart[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.table[self.index.view(-1)].view(n, n, -1).permute(2, 0, 1)
        x = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1) + bias.unsqueeze(0)).softmax(-1) @ v
        return self.proj(x.transpose(1, 2).reshape(b, n, -1))


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), WindowAttention(dim, heads, window)
        self.norm2, self.fc1, self.fc2 = nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.window, self.shift = window, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, h, w, c = x.shape
        s = self.window
        y = torch.roll(self.norm1(x), (-self.shift, -self.shift), (1, 2))
        y = y.view(b, h // s, s, w // s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, s * s, c)
        y = self.attn(y).view(b, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        x = x + torch.roll(y, (self.shift, self.shift), (1, 2))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class TinySwin(nn.Module):
    """Two stages of windows, shifted and not, with merged patches between."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 2, 2)
        self.one = nn.Sequential(Block(16, 2, 4, 0), Block(16, 2, 4, 2))
        self.norm, self.merge = nn.LayerNorm(64), nn.Linear(64, 32, bias=False)
        self.two = nn.Sequential(Block(32, 4, 4, 0), Block(32, 4, 4, 2))
        self.last, self.head = nn.LayerNorm(32), nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(self.embed(x).permute(0, 2, 3, 1))
        b, h, w, c = x.shape
        x = x.reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.head(self.last(self.two(self.merge(self.norm(x)))).mean((1, 2)))

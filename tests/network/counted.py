"""Networks whose multiply-accumulates and parameters are known, and random ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def counted_macs(network: nn.Module, shape: tuple[int, ...], batch: int) -> int:
    """What torch's counter says; it has no formula for the fused attention of processors."""
    network.requires_grad_(False)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.randn(batch, *shape))
    return counter.get_total_flops() // 2


class Forward(nn.Module):
    """Modules by name, and a forward that takes them."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], torch.Tensor], **members: Any) -> None:
        super().__init__()
        self._forward = forward
        for name, member in members.items():
            setattr(self, name, nn.Parameter(member) if isinstance(member, torch.Tensor) else member)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(self, x)


def upsampling() -> nn.Module:
    return Forward(
        lambda m, x: m.fc(m.up2(F.relu(m.bn(m.up1(F.relu(m.lin(x.flatten(1))).view(-1, 16, 2, 2))))).mean((2, 3))),
        lin=nn.Linear(64, 64), up1=nn.ConvTranspose2d(16, 24, 4, 2, 1), bn=nn.BatchNorm2d(24),
        up2=nn.ConvTranspose2d(24, 16, 3, 2, 1, groups=2, bias=False), fc=nn.Linear(16, 10),
    )  # fmt: skip


def reader(kind: type[nn.Module], gates: int) -> tuple[Callable[[], nn.Module], int, int]:
    """A recurrent layer of two directions over the rows of an image, its figures by formula."""
    macs = 2 * 8 * gates * 6 * (8 + 6) + 120
    parameters = 2 * gates * 6 * (8 + 6 + 2) + 130
    return (
        lambda: Forward(
            lambda m, x: m.fc(m.layer(x.squeeze(1))[0][:, -1]),
            layer=kind(8, 6, batch_first=True, bidirectional=True), fc=nn.Linear(12, 10),
        ),
        macs, parameters,
    )  # fmt: skip


def cells() -> nn.Module:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(x.shape[0], 6)
        for t in range(8):
            h = m.cell(x[:, 0, t], h)
        return m.fc(h)

    return Forward(forward, cell=nn.GRUCell(8, 6), fc=nn.Linear(6, 10))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 24, activation="gelu", batch_first=True, norm_first=True)
    return Forward(
        lambda m, x: m.head(m.encoder(m.embed(x).flatten(2).transpose(1, 2)).mean(1)),
        embed=nn.Conv2d(1, 16, 2, 2), encoder=nn.TransformerEncoder(layer, 1, enable_nested_tensor=False),
        head=nn.Linear(16, 10),
    )  # fmt: skip


def attention(batch_first: bool) -> nn.Module:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        tokens = x.squeeze(1) if batch_first else x.squeeze(1).transpose(0, 1)
        out = m.attn(tokens, tokens, tokens, need_weights=not batch_first)[0]
        return m.fc(out.mean(1 if batch_first else 0))

    return Forward(forward, attn=nn.MultiheadAttention(8, 2, batch_first=batch_first), fc=nn.Linear(8, 10))


def attention_to_others(**widths: int) -> nn.Module:
    """Queries of the sample, keys and values of parts of it: three products with pieces of one weight, or of three."""

    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        tokens = x.squeeze(1)
        keys, values = (tokens[:, :6, : widths.get(name, 8)] for name in ("kdim", "vdim"))
        return m.fc(m.attn(tokens, keys, values)[0].mean(1))

    return Forward(forward, attn=nn.MultiheadAttention(8, 2, batch_first=True, **widths), fc=nn.Linear(8, 10))


def shared() -> nn.Module:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        a, b = m.bn1(m.head(x)), m.bn2(m.head(F.avg_pool2d(x, 2)))
        return m.fc(torch.cat([m.again(m.again(v)).mean((2, 3)) for v in (a, b)], 1))

    return Forward(
        forward, head=nn.Conv2d(1, 6, 3, padding=1, bias=False), again=nn.Conv2d(6, 6, 1), bn1=nn.BatchNorm2d(6),
        bn2=nn.BatchNorm2d(6), fc=nn.Linear(12, 10),
    )  # fmt: skip


def windows() -> nn.Module:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[0]
        x = m.embed(x).view(n, 4, 2, 4, 2, 4).permute(0, 2, 4, 1, 3, 5).reshape(4 * n, 4, 4, 4)
        x = m.conv(x).flatten(2).transpose(1, 2)
        x = torch.softmax(x @ x.transpose(1, 2), -1) @ x
        return m.fc(m.mix(x).mean(1).view(n, 4, 5).mean(1))

    return Forward(
        forward, embed=nn.Conv2d(1, 4, 1), conv=nn.Conv2d(4, 4, 3, padding=1), mix=nn.Linear(4, 5), fc=nn.Linear(5, 10)
    )


def by_hand() -> nn.Module:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        x = m.left @ F.conv2d(x, m.kernel, padding=1).flatten(2)  # (N, 8, 64)
        x = torch.einsum("bcp,pq->bcq", x, m.right)  # (N, 8, 12)
        x = torch.einsum("bcq,cqr->bcr", x, m.heads)  # (N, 8, 3), a matrix a channel
        x = torch.baddbmm(x, x, x.new_ones(3, 3).expand(x.shape[0], 3, 3))
        return torch.addmm(m.bias, x.flatten(1), m.last)

    torch.manual_seed(0)
    return Forward(
        forward, left=torch.randn(8, 16), kernel=torch.randn(16, 1, 3, 3), right=torch.randn(64, 12),
        heads=torch.randn(8, 12, 3), bias=torch.zeros(10), last=torch.randn(24, 10),
    )  # fmt: skip


def same_padding() -> nn.Module:
    return Forward(
        lambda m, x: m.fc(m.c(m.b(m.a(x.flatten(2))).reshape(-1, 6, 4, 4, 4)).mean((2, 3, 4))),
        a=nn.Conv1d(1, 6, 3, padding="same"), b=nn.Conv1d(6, 6, 3, padding="same", dilation=2, groups=3),
        c=nn.Conv3d(6, 4, 2, padding="same"), fc=nn.Linear(4, 10),
    )  # fmt: skip


def bilinear() -> nn.Module:
    return Forward(
        lambda m, x: m.pair(x[:, 0, 0], x[:, 0, 1]), pair=nn.Bilinear(8, 8, 10),
    )  # fmt: skip


#: Name -> how to build it, multiply-accumulates for one image of 1 x 8 x 8, parameters.
CASES: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "transposed convolutions": (
        upsampling, 64 * 64 + 4 * 16 * 24 * 16 + 16 * 24 * 16 * 9 // 2 + 160,
        64 * 64 + 64 + 16 * 24 * 16 + 24 + 48 + 24 * 8 * 9 + 170,
    ),
    "LSTM": reader(nn.LSTM, 4), "GRU": reader(nn.GRU, 3), "RNN": reader(nn.RNN, 1),
    "cells": (cells, 8 * 3 * 6 * (8 + 6) + 60, 3 * 6 * (8 + 6 + 2) + 70),
    "encoder": (
        encoder, 16 * 16 * 4 + 16 * 16 * 48 + 2 * 16 * 16 * 16 + 16 * 16 * 16 + 2 * 16 * 16 * 24 + 160,
        16 * 4 + 16 + 16 * 48 + 48 + 16 * 16 + 16 + 16 * 24 + 24 + 24 * 16 + 16 + 64 + 170,
    ),
    "attention, batch first": (lambda: attention(True), 8 * 8 * 24 + 2 * 8 * 8 * 8 + 8 * 8 * 8 + 80, 288 + 90),
    "attention, batch second": (lambda: attention(False), 8 * 8 * 24 + 2 * 8 * 8 * 8 + 8 * 8 * 8 + 80, 288 + 90),
    "attention to others": (
        attention_to_others, 8 * 8 * 8 + 2 * 6 * 8 * 8 + 2 * 8 * 6 * 8 + 8 * 8 * 8 + 80, 288 + 90
    ),
    "attention to others, widths of its own": (
        lambda: attention_to_others(kdim=4, vdim=3), 8 * 8 * 8 + 6 * 8 * 7 + 2 * 8 * 6 * 8 + 8 * 8 * 8 + 80,
        64 + 32 + 24 + 24 + 72 + 90,
    ),
    "shared layers": (shared, (64 + 16) * (54 + 2 * 36) + 120, 54 + 42 + 24 + 130),
    "windows": (windows, 64 * 4 + 64 * 144 + 4 * 2 * 16 * 16 * 4 + 64 * 20 + 50, 8 + 148 + 25 + 60),
    "products by hand": (
        by_hand, 64 * 144 + 8 * 16 * 64 + 8 * 64 * 12 + 8 * 12 * 3 + 8 * 9 + 240, 128 + 144 + 768 + 288 + 10 + 240
    ),
    "same padding": (same_padding, 64 * 18 + 64 * 36 + 64 * 192 + 40, 24 + 42 + 196 + 50),
    "bilinear": (bilinear, 640, 650),
}  # fmt: skip


def random_network(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """Convolutions of one, two or three dimensions, transposed, grouped and dilated ones, then products of tokens."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 4))
    plain, transposed = (
        (nn.Conv1d, nn.ConvTranspose1d),
        (nn.Conv2d, nn.ConvTranspose2d),
        (nn.Conv3d, nn.ConvTranspose3d),
    )[d - 1]
    width, layers = 6, nn.ModuleList([plain(2, 6, 3, padding=1)])
    for _ in range(4):
        groups, dilation = (int(rng.choice([1, 2, 3, 6])), int(rng.integers(1, 3)))
        kind, kernel, stride = (rng.choice(["conv", "same", "up"]), int(rng.integers(1, 4)), int(rng.integers(1, 3)))
        options: dict[str, Any] = {"groups": groups, "dilation": dilation, "bias": bool(rng.integers(2))}
        if kind == "same":
            layers.append(plain(width, 6, kernel, padding="same", **options))
        else:
            make = plain if kind == "conv" else transposed
            layers.append(make(width, 6, kernel, stride, padding=dilation * (kernel - 1) // 2, **options))
    order = rng.permutation(5)
    torch.manual_seed(seed)
    products = nn.ParameterDict({"right": torch.randn(6, 6), "left": torch.randn(6, 6), "heads": torch.randn(2, 3, 3)})
    attention = nn.MultiheadAttention(6, 3, batch_first=True)

    def step(kind: int, x: torch.Tensor) -> torch.Tensor:  # (N, T, 6)
        n, t, c = x.shape
        if kind == 0:
            return x @ products["right"]
        if kind == 1:
            return (products["left"] @ x.transpose(1, 2)).transpose(1, 2)
        if kind == 2:
            return torch.einsum("nthc,hcd->nthd", x.view(n, t, 2, 3), products["heads"]).reshape(n, t, c)
        if kind == 3:
            folded = x.reshape(n, t, 3, 2).permute(0, 2, 1, 3).reshape(n * 3, t, 2)
            return (torch.bmm(folded.softmax(-1), torch.bmm(folded.transpose(1, 2), folded))).reshape(n, t, c)
        out: torch.Tensor = attention(x, x, x, need_weights=bool(seed % 2))[0]
        return out

    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        for layer in m.layers:
            x = F.relu(layer(x))
        x = x.flatten(2).transpose(1, 2)
        for kind in order:
            x = step(int(kind), x)
        return m.fc(x.mean(1))

    network = Forward(forward, layers=layers, fc=nn.Linear(6, 3))
    network.products, network.attention = products, attention
    return network.eval(), (2, *(int(rng.integers(4, 8)) for _ in range(d)))

"""Networks of tokens that tests of attention share."""

from __future__ import annotations

import torch
from torch import nn

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Tokens(nn.Module):
    """A vision transformer of torch's own parts for images ``(N, 3, 8, 8)``."""

    def __init__(self, layers: int = 2, batch_first: bool = True, norm_first: bool = False) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 2, 2)
        layer = nn.TransformerEncoderLayer(
            16, 4, 24, dropout=0.0, batch_first=batch_first, norm_first=norm_first, activation="gelu"
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.fc = nn.Linear(16, 10)
        self.first = batch_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = self.patches(x).flatten(2)
        t = self.encoder(t.transpose(1, 2) if self.first else t.permute(2, 0, 1))
        out: torch.Tensor = self.fc(t.mean(1 if self.first else 0))
        return out


class Decoded(nn.Module):
    """Learned queries that attend to the tokens of images ``(N, 3, 8, 8)``, keys and values of widths of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 10, 2, 2)
        self.values = nn.Linear(10, 6)
        self.queries = nn.Parameter(torch.randn(3, 12))
        self.read = nn.MultiheadAttention(12, 3, kdim=10, vdim=6)
        self.again = nn.MultiheadAttention(12, 2, batch_first=True, add_bias_kv=True)
        self.fc = nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = self.patches(x).flatten(2).permute(2, 0, 1)
        q = self.queries[:, None].expand(-1, x.shape[0], -1)
        y = self.read(q, t, self.values(t))[0].transpose(0, 1)
        out: torch.Tensor = self.fc(self.again(y, y[:, :2], y[:, :2], need_weights=False)[0].mean(1))
        return out


class Blocks(nn.Module):
    """Residual attentions as torchvision writes them, for images ``(N, 3, 8, 8)``; each can go as a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 2, 2)
        self.norms = nn.ModuleList(nn.LayerNorm(12) for _ in range(2))
        self.attentions = nn.ModuleList(nn.MultiheadAttention(12, 3, batch_first=True) for _ in range(2))
        self.drops = nn.ModuleList(nn.Dropout(0.1) for _ in range(2))
        self.fc = nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = self.patches(x).flatten(2).transpose(1, 2)
        for norm, attention, drop in zip(self.norms, self.attentions, self.drops, strict=True):
            y = norm(t)
            t = t + drop(attention(y, y, y, need_weights=False)[0])
        out: torch.Tensor = self.fc(t.mean(1))
        return out

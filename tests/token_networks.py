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

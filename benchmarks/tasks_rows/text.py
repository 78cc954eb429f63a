"""Text classification: which colour or number word was masked in a caption, one of ten, by a small Transformer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import netsmith

from .captions import MASK, captions, masked, numbered
from .row import Row, Split, Splits, mean

WORDS = ("one", "two", "three", "four", "white", "black", "blue", "red", "green", "brown")
LENGTH, VOCABULARY, MASKED = 32, 6000, 2


def data(folder: Path, rng: np.random.Generator) -> Splits:
    """Token ids ``(N, 32)``, which of them are words ``(N, 32)`` and the number of the masked word ``(N,)``."""
    texts = captions(folder, "en", rng)
    number = numbered([*texts["train"], [MASK] * 3])
    assert number[MASK] == MASKED and len(number) + 2 <= VOCABULARY
    found = {}
    for split, words in texts.items():
        examples = masked(words, WORDS, len(words) // 8, rng)
        examples = [(caption, answer) for caption, answer in examples if MASK in caption[:LENGTH]]
        ids = torch.zeros(len(examples), LENGTH, dtype=torch.int64)
        for row, (caption, _) in zip(ids, examples, strict=True):
            tokens = [number.get(word, 1) for word in caption[:LENGTH]]
            row[: len(tokens)] = torch.tensor(tokens)
        found[split] = (ids, ids > 0, torch.tensor([answer for _, answer in examples]))
    return found


class Block(nn.Module):
    """Self-attention and a feed-forward network, each after a layer norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        q, k, v = (part(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = x + self.dropout(self.out(y.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.narrow(F.gelu(self.wide(self.norm2(x)))))


class Transformer(nn.Module):
    """An encoder that attends to no padding; the class is read where the masked word was."""

    def __init__(self, width: int = 160, blocks: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width, padding_idx=0)
        self.places = nn.Parameter(0.02 * torch.randn(LENGTH, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(width, len(WORDS))
        nn.init.normal_(self.words.weight, std=0.1)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.dropout(self.words(ids) + self.places)
        for block in self.blocks:
            x = block(x, mask)
        there = (ids == MASKED).unsqueeze(-1).to(x.dtype)
        return self.head(self.dropout((self.norm(x) * there).sum(1)))


def augment(batch: Split) -> Split:
    """Every eighth word becomes an unknown one."""
    ids, mask, answers = batch
    return torch.where((torch.rand(ids.shape) < 0.125) & (ids > MASKED), 1, ids), mask, answers


def loss(outputs: torch.Tensor, batch: Split) -> torch.Tensor:
    return F.cross_entropy(outputs, batch[-1])


def noted(outputs: torch.Tensor, batch: Split) -> torch.Tensor:
    return outputs.argmax(1) == batch[-1]


def constant(train: Split, test: Split) -> torch.Tensor:
    """The most frequent class."""
    classes = int(train[-1].max()) + 1
    return F.one_hot(torch.full_like(test[-1], int(torch.bincount(train[-1]).argmax())), classes)


def compress(network: nn.Module, data: Splits, **run: Any) -> Any:
    task = netsmith.Task(**data, loss=loss, score=noted, metric="accuracy")
    return netsmith.compress(network, task, target="cpu", epochs=4, **run)


ROW = Row(
    "text", "text: the masked colour or number word of a Multi30k caption, of ten; Transformer", "accuracy", "%", data,
    Transformer, lambda b: b[:2], loss, noted, mean, constant, compress, (compress,), epochs=6, rate=1e-3,
    augment=augment,
)  # fmt: skip

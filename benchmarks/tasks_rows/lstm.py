"""An LSTM: which German article was masked in a caption, one of ten, from letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import netsmith

from .captions import captions, masked
from .row import Row, Splits, mean
from .text import constant, loss, noted

WORDS = ("der", "die", "das", "den", "dem", "ein", "eine", "einen", "einem", "einer")
LETTERS = " #abcdefghijklmnopqrstuvwxyzäöüß,."
AROUND = 40  # letters before the masked word, and after it


def data(folder: Path, rng: np.random.Generator) -> Splits:
    """Numbers of letters ``(N, 80)``, 0 for padding, and the number of the masked article ``(N,)``."""
    found = {}
    for split, words in captions(folder, "de", rng).items():
        examples = masked(words, WORDS, 2400 if split == "train" else 500, rng)
        letters = torch.zeros(len(examples), 2 * AROUND, dtype=torch.int64)
        for row, (caption, _) in zip(letters, examples, strict=True):
            text = " ".join(caption)
            text = text[max(0, text.index("#") - AROUND) :][: 2 * AROUND]
            numbers = [1 + LETTERS.find(letter) for letter in text]
            row[: len(numbers)] = torch.tensor([n or 1 for n in numbers])  # letters that are not listed are spaces
        found[split] = (letters, torch.tensor([answer for _, answer in examples]))
    return found


class Lstm(nn.Module):
    """Convolutions over letters (Kim et al. 2016, arXiv:1508.06615), and an LSTM over groups of four, averaged."""

    def __init__(self, letter: int = 32, width: int = 256, hidden: int = 96) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS) + 1, letter, padding_idx=0)
        self.conv1 = nn.Conv1d(letter, width, 5, padding=2)
        self.conv2 = nn.Conv1d(width, width, 5, padding=2)
        self.lstm = nn.LSTM(width, hidden, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(hidden, len(WORDS))

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(self.letters(letters).transpose(1, 2)))
        x = F.max_pool1d(F.relu(self.conv2(x)), 4).transpose(1, 2)
        x, _ = self.lstm(self.dropout(x))
        kept = (letters[:, ::4] > 0).unsqueeze(-1).to(x.dtype)
        return self.head(self.dropout((x * kept).sum(1) / kept.sum(1)))


def compress(network: nn.Module, data: Splits, **run: Any) -> Any:
    task = netsmith.Task(**data, loss=loss, score=noted, metric="accuracy")
    return netsmith.compress(network, task, target="cpu", epochs=3, **run)


ROW = Row(
    "lstm", "text: the masked German article of a Multi30k caption, of ten, from letters; convolutions and LSTM",
    "accuracy", "%", data, Lstm, lambda b: b[:1], loss, noted, mean, constant, compress, (compress,), epochs=6,
    rate=2e-3,
)  # fmt: skip

"""Networks with several inputs and outputs, as tests of files use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from netsmith.data.batch import Batch

AXES = {"input_ids": {1: "length"}, "attention_mask": {1: "length"}}


@dataclass
class Answer:
    """What :class:`Reader` returns: a data class of a user's own."""

    logits: torch.Tensor
    states: tuple[torch.Tensor, torch.Tensor]
    loss: torch.Tensor | None = None


class Reader(nn.Module):
    """Token ids by place, a mask and a scale by name; answers in a data class, one part of which is empty."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head = nn.Embedding(40, 8), nn.Linear(8, 3)
        self.block = nn.Linear(8, 8)

    def forward(self, input_ids: Any, *, attention_mask: Any, scale: Any = None, twice: bool = False) -> Any:
        x = self.block(self.embedding(input_ids)).masked_fill(~attention_mask[..., None], 0.0)
        pooled = x.sum(1) / attention_mask.sum(1, keepdim=True)
        pooled = pooled if scale is None else pooled * scale
        return Answer(self.head(pooled) * (2 if twice else 1), (x, pooled))


class Counter(nn.Module):
    """Two outputs in a tuple with one that is nothing and one that is no tensor; inputs in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: dict[str, torch.Tensor]) -> Any:
        y = self.fc(x["values"]) * x["factor"]
        return y, None, {"most": y.argmax(1), "version": 3}


def read(count: int, length: int, seed: int = 0) -> Batch:
    """Examples for :class:`Reader`; keyword inputs in another order than its own."""
    rng = torch.Generator().manual_seed(seed)
    mask = torch.arange(length)[None] < torch.randint(1, length + 1, (count, 1), generator=rng)
    ids = torch.randint(0, 40, (count, length), generator=rng)
    return Batch((ids,), {"scale": torch.full((count, 1), 1.5), "attention_mask": mask})

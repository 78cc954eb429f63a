"""Two candidates of every block instead of all: the update of ProxylessNAS for spaces with many (section 3.2.1)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from netsmith.supernets.supernet import Designs, FloatArray, draw


def draw_pairs(p: FloatArray, there: NDArray[np.bool_], rng: np.random.Generator) -> Designs:
    """Two different choices of each row, of those that are ``there``, the second from what the first leaves, (D, 2)."""
    first = draw(p, rng)
    rest = np.where(there, np.maximum(p, 1e-290), 0.0)  # one choice may have all of the mass
    rest[np.arange(len(p)), first] = 0.0
    return np.stack([first, draw(rest, rng)], axis=1)


def of_pairs(logits: torch.Tensor, pairs: Designs) -> torch.Tensor:
    """Shares ``(D, K)`` of each row's pair in the mass of both; all others are 0 and have no gradient, not even of
    rounding: Adam would make whole steps of it."""
    others = torch.ones_like(logits, dtype=torch.bool).scatter_(1, torch.as_tensor(pairs).to(logits.device), False)
    return torch.softmax(logits.masked_fill(others, -torch.inf), dim=1)


def shared(p: torch.Tensor, weights: torch.Tensor, pairs: Designs) -> torch.Tensor:
    """All probabilities, of which only the shares of the pairs in their own mass have a gradient."""
    chosen = torch.zeros_like(p).scatter_(1, torch.as_tensor(pairs).to(p.device), 1.0)
    return p * (1 - chosen) + (p * chosen).sum(dim=1, keepdim=True) * weights


def keep_mass(before: torch.Tensor, after: torch.Tensor, touched: torch.Tensor) -> torch.Tensor:
    """Logits shifted where they were touched so that the touched mass, and so every other probability, stays."""
    low = torch.full_like(before, -torch.inf)
    old, new = (torch.logsumexp(torch.where(touched, v, low), dim=1, keepdim=True) for v in (before, after))
    return torch.where(touched, after + torch.where(torch.isfinite(old), old - new, 0.0), before)

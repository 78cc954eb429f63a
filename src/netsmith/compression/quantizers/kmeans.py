"""Weight sharing by one-dimensional k-means (Deep Compression, Han et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.quantizers.gradients import gather
from netsmith.compression.quantizers.linear import check_bits, weight_rows
from netsmith.errors import InputError

FloatArray = NDArray[np.float64]
SAMPLE = 8192  # quantiles of the weights, on which starts are compared
STARTS = 10


@dataclass(frozen=True)
class Codebook:
    """A weight as indices into a few shared values.

    Attributes:
        values: ``(K,)`` float32, ascending, K <= 2^bits.
        index: uint8, of the weight's shape.
        bits: width of an index.
        kept: bool, of the weight's shape: where it is not zero, whatever the index says there; None for everywhere.
    """

    values: torch.Tensor
    index: torch.Tensor
    bits: int
    kept: torch.Tensor | None = None

    @property
    def weight(self) -> torch.Tensor:
        weight = self.values[self.index.long()]
        return weight if self.kept is None else weight * self.kept

    @property
    def packed_bytes(self) -> float:
        """Indices and the codebook itself."""
        return self.index.numel() * self.bits / 8 + 4 * len(self.values)


def fit_codebook(weight: torch.Tensor, bits: int, *, iterations: int = 10, seed: int = 0) -> Codebook:
    """Least squared error with 2^bits shared values, by Lloyd's algorithm.

    Evenly spaced values and draws of greedy k-means++ (10, and fewer from 4 bits on, where draws differ less) are
    refined on a sample; the best goes on with all weights. A weight with no more than 2^bits distinct values is kept
    exactly.

    Args:
        iterations: Lloyd steps, on the sample and again on all weights (HAQ: 3 in a search, 50 for the final network).
    """
    check_bits(bits)
    weight_rows(weight, per_channel=False)  # refuses weights that are not finite
    ordered = np.sort(weight.detach().reshape(-1).float().cpu().numpy()).astype(np.float64)
    distinct = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    count = 2**bits
    if len(distinct) <= count:
        values = distinct
    else:
        sample = ordered[np.linspace(0, len(ordered) - 1, min(SAMPLE, len(ordered))).round().astype(int)]
        rng = np.random.default_rng(seed)
        starts = [_plus_plus(sample, count, rng) for _ in range(min(STARTS, 1 + 128 // count))]
        starts.append(np.linspace(ordered[0], ordered[-1], count))
        best = min((_lloyd(sample, s, iterations) for s in starts), key=lambda found: found[1])[0]
        values = _lloyd(ordered, best, iterations)[0]
    shared = torch.from_numpy(values.astype(np.float32)).to(weight.device)
    return Codebook(shared, nearest(weight, shared), bits)


def fit_sparse_codebook(weight: torch.Tensor, bits: int, kept: torch.Tensor) -> Codebook:
    """As :func:`fit_codebook`, of the weights that are ``kept``, a bool tensor of their shape; the others are zero."""
    found, index = fit_codebook(weight[kept], bits), torch.zeros(weight.shape, dtype=torch.uint8, device=weight.device)
    index[kept] = found.index
    return Codebook(found.values, index, bits, kept)


def nearest(weight: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """uint8 indices of the nearest of the ascending ``values``; halfway between two it is the lower."""
    middle = (values[1:].double() + values[:-1].double()) / 2
    return torch.bucketize(weight.detach().double(), middle).to(torch.uint8)


def _plus_plus(x: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007): of a few draws by squared distance the most useful."""
    draws = 2 + int(np.log(count))
    centres = [x[rng.integers(len(x))]]
    distance = (x - centres[0]) ** 2
    for _ in range(count - 1):
        cumulative = np.cumsum(distance)
        picked = np.searchsorted(cumulative, rng.random(draws) * cumulative[-1]).clip(max=len(x) - 1)
        reached = np.minimum(distance, (x - x[picked, None]) ** 2)
        best = int(reached.sum(axis=1).argmin())
        centres.append(x[picked[best]])
        distance = reached[best]
    return np.sort(np.asarray(centres))


def _lloyd(ordered: FloatArray, centres: FloatArray, iterations: int) -> tuple[FloatArray, float]:
    """Centres after at most ``iterations`` steps, and their summed squared error."""
    sums, squares = (np.concatenate([[0.0], np.cumsum(x)]) for x in (ordered, ordered**2))

    def clusters(at: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        inner = np.searchsorted(ordered, (at[1:] + at[:-1]) / 2, side="right")
        edges = np.concatenate([[0], inner, [len(ordered)]])
        return np.diff(edges).astype(np.float64), np.diff(sums[edges]), np.diff(squares[edges])

    for _ in range(iterations):
        members, total, _ = clusters(centres)
        moved = np.where(members > 0, total / np.maximum(members, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    members, total, square = clusters(centres)
    return centres, float((square - 2 * centres * total + members * centres**2).sum())


class KMeansWeight(nn.Module):
    """A weight whose shared values are trained.

    Args:
        codebook: where training starts.
        damping: a value's gradient is the sum of its members' gradients over ``members ** damping``, see
            ``gradients.gather``: 0 (Deep Compression) asks for a learning rate that fits the number of members, 1 (HAQ)
            takes that of the weights.
    """

    index: torch.Tensor
    kept: torch.Tensor | None

    def __init__(self, codebook: Codebook, damping: float = 0.0) -> None:
        super().__init__()
        self.bits, self.damping = codebook.bits, damping
        self.values = nn.Parameter(codebook.values.clone())
        self.register_buffer("index", codebook.index.clone())
        self.register_buffer("kept", None if codebook.kept is None else codebook.kept.clone())

    def forward(self, weight: torch.Tensor | None = None) -> torch.Tensor:
        """The shared weight; an argument, as other quantizers take it, must have its shape and gets no gradient."""
        if weight is not None:
            self._check(weight)
        if self.kept is None:
            return gather(self.values, self.index, self.damping)
        members = gather(self.values, self.index[self.kept], self.damping)  # what is zero pulls at no value
        return torch.zeros(self.index.shape, device=members.device).masked_scatter(self.kept, members)

    def codebook(self) -> Codebook:
        """What ``forward`` returns now, with the values in order."""
        values, order = self.values.detach().sort()
        return Codebook(values, order.argsort()[self.index.long()].to(torch.uint8), self.bits, self.kept)

    def _check(self, weight: torch.Tensor) -> None:
        if weight.shape != self.index.shape:
            want, got = tuple(self.index.shape), tuple(weight.shape)
            raise InputError(f"this codebook belongs to a weight of shape {want}, not {got}; fit one to the new weight")

"""Tiny spaces of blocks, made-up images, and a network of paths whose accuracy is known, for tests of searches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from netsmith.data import Data, Normalisation, Split
from netsmith.space import CostTable
from netsmith.supernets import BlockSpace, SuperNet
from netsmith.supernets.space import Stage

CLASSES = 10


def tiny_space(depth: int = 2, skip: bool = True, dropout: float = 0.0) -> BlockSpace:
    """A fixed block, one of four choices that halves the map, and ``depth`` of two choices, "skip" before them."""
    stages = (
        Stage(8, 1, kernels=(3,), expansions=(1,), skip=False),
        Stage(16, 1, 2, kernels=(3, 5), expansions=(1, 2)),
        Stage(16, depth, kernels=(3,), expansions=(1, 2), skip=skip),
    )
    return BlockSpace("tiny", 8, 8, 1, 16, stages, dropout)


def steep(network: SuperNet, seed: int = 0, scale: float = 1.0) -> SuperNet:
    """The network with random logits, and batch norms that are no identities."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        random = torch.randn(network.logits.shape, generator=generator, dtype=torch.float64)
        network.logits.copy_(torch.where(network.there, scale * random, 0.0))
        for m in network.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.weight.uniform_(0.5, 1.5, generator=generator)
                m.bias.uniform_(-0.5, 0.5, generator=generator)
                assert m.running_mean is not None and m.running_var is not None
                m.running_mean.normal_(0, 0.3, generator=generator)
                m.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


def random_table(network: SuperNet, seed: int = 0) -> CostTable:
    """Costs of every choice in 1..5, and 3 beside them."""
    unary = np.random.default_rng(seed).uniform(1.0, 5.0, tuple(network.logits.shape))
    return CostTable(3.0, np.where(network.there.numpy(), unary, np.inf))


def graded_data(train: int = 512, search: int = 256) -> Data:
    """Images ``(N, 1, 8, 8)`` of 10 classes; first pixel 25 times the class, second the difficulty."""
    rng = np.random.default_rng(0)

    def split(n: int) -> Split:
        images, labels = np.zeros((n, 1, 8, 8), dtype=np.uint8), rng.integers(0, CLASSES, n)
        images[:, 0, 0, 0], images[:, 0, 0, 1] = 25 * labels, rng.permutation(np.linspace(0, 255, n))
        return Split(torch.from_numpy(images), torch.from_numpy(labels))

    names = tuple(str(i) for i in range(CLASSES))
    return Data("graded", split(train), split(search), split(search), names, (1, 8, 8), Normalisation((0,), (1,)), "")


class GradedNet(SuperNet):
    """All paths of a space, none of which looks at images: what a path scores is the sum of its choices' qualities.

    The logit of an image's class is ``sharpness * (score - difficulty)``, so a path is right on the images whose
    difficulty is below its score, and cross-entropy falls as the score grows.
    """

    quality: torch.Tensor

    def __init__(self, space: BlockSpace, quality: Any, sharpness: float = 4.0, seed: int = 0) -> None:
        super().__init__(space, CLASSES, 1, seed)
        self.quality = torch.as_tensor(quality).float()
        self.sharpness = sharpness

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gates = self.gates.values if self.gates else self.one_hot(self._next()).detach()
        labels = (x[:, 0, 0, 0] * 255 / 25).round().long()
        score = (gates * self.quality).sum()
        logits = F.one_hot(labels, CLASSES) * (self.sharpness * (score - x[:, 0, 0, 1]))[:, None]
        return logits + 0.0 * self.classifier[1].bias

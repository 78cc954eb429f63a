"""The network of all paths through a space: every candidate of every block has weights, one of them runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from netsmith.network.zoo.blocks import block_network, block_style
from netsmith.network.zoo.mobilenet import InvertedResidual, fresh_weights
from netsmith.supernets.gates import GatedBlock, Mode
from netsmith.supernets.space import SKIP, BlockSpace, Slot, kernel_of

Designs = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Gates:
    """Gates of one pass: which candidates run, and which gates get a gradient.

    Attributes:
        values: one-hot, ``(D, K)``, a leaf that takes the gradient.
        mode: of the gradient.
        pairs: ``(D, 2)``, in mode ``two`` the candidates of which one runs.
    """

    values: torch.Tensor
    mode: Mode = "recompute"
    pairs: Designs | None = None


class SuperNet(nn.Module):
    """A network whose blocks have several candidates each; a path takes one of every block.

    In training mode every pass samples a path by the probabilities; in eval mode the most probable one runs.
    ``path`` and ``gates``, if set, say otherwise. All state of a search lies in buffers, so whatever keeps and restores
    the state of a network keeps a search.

    Attributes:
        space: what there is to choose.
        logits: of the paths, ``(D, K)``; probabilities are their softmax over the choices that there are.
        second: running means of squared gradients of the logits.
        touched: how often each logit was updated.
        multipliers: of the constrained loss, one a cost.
        baseline: moving mean of rewards, where the search is by reinforcement.
        updates: of the logits, so far.
        passes: in training mode, so far; with the seed it says which path is sampled next.
        path: a design ``(D,)`` that every pass takes; None for none.
        uniform: sample all paths alike, whatever the logits.
    """

    logits: torch.Tensor
    second: torch.Tensor
    touched: torch.Tensor
    multipliers: torch.Tensor
    baseline: torch.Tensor
    updates: torch.Tensor
    passes: torch.Tensor
    there: torch.Tensor

    def __init__(self, space: BlockSpace, classes: int, channels: int = 3, seed: int = 0, costs: int = 1) -> None:
        super().__init__()
        self.space, self.classes, self.channels, self.seed = space, classes, channels, seed
        style = block_style()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stem = nn.Sequential(*style.conv(channels, space.stem, 3, space.stem_stride))
            self.blocks = nn.ModuleList([_gated(slot, style) for slot in space.slots])
            last = space.slots[-1].channels
            self.head = nn.Sequential(*style.conv(last, space.head)) if space.head else nn.Identity()
            self.classifier = nn.Sequential(nn.Dropout(space.dropout), nn.Linear(space.head or last, classes))
            fresh_weights(self)
            sizes = torch.from_numpy(space.decisions.sizes)
            there = torch.arange(int(sizes.max())) < sizes[:, None]
            logits = torch.where(there, 1e-3 * torch.randn(there.shape, dtype=torch.float64), 0.0)
        self.register_buffer("logits", logits)
        self.register_buffer("second", torch.zeros_like(logits))
        self.register_buffer("touched", torch.zeros(logits.shape, dtype=torch.int64))
        self.register_buffer("multipliers", torch.zeros(costs, dtype=torch.float64))
        self.register_buffer("baseline", torch.zeros((), dtype=torch.float64))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self.register_buffer("there", there, persistent=False)
        self.path: Sequence[int] | Designs | None = None
        self.gates: Gates | None = None
        self.uniform = False
        self._decision = {slot: d for d, slot in enumerate(space.searched)}

    # --- paths -------------------------------------------------------------------------------------------------------

    def probabilities(self, logits: torch.Tensor | None = None) -> torch.Tensor:
        """Probability of every choice, ``(D, K)`` in double precision; 0 where there is none."""
        raw = self.logits if logits is None else logits
        return torch.softmax(raw.masked_fill(~self.there, -torch.inf), dim=1)

    def shares(self) -> FloatArray:
        """:meth:`probabilities` as an array; all alike while ``uniform``."""
        logits = torch.zeros_like(self.logits) if self.uniform else self.logits
        return np.asarray(self.probabilities(logits).detach().cpu().numpy())

    def sample(self, rng: np.random.Generator) -> Designs:
        """A path by the probabilities, ``(D,)``."""
        return draw(self.shares(), rng)

    def most_probable(self) -> Designs:
        """The most probable path, ``(D,)``."""
        return np.asarray(self.shares().argmax(axis=1), dtype=np.int64)

    def entropy(self) -> float:
        """Mean entropy of the blocks' probabilities, nats."""
        p = self.shares()
        return float(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=1).mean())

    def one_hot(self, path: Designs) -> torch.Tensor:
        """Gates of a path, ``(D, K)``, that take a gradient."""
        gates = torch.zeros(self.logits.shape, device=self.logits.device)
        gates[torch.arange(len(path)), torch.as_tensor(path)] = 1.0
        return gates.requires_grad_()

    def _next(self) -> Designs:
        if self.path is not None:
            return np.asarray(self.path, dtype=np.int64)
        if not self.training:
            return self.most_probable()
        rng = np.random.default_rng([self.seed, int(self.passes)])
        self.passes += 1
        return self.sample(rng)

    # --- running -----------------------------------------------------------------------------------------------------

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        path = self.gates.values.detach().argmax(dim=1).cpu().numpy() if self.gates else self._next()
        y = self.stem(x)
        for i, block in enumerate(self.blocks):
            d = self._decision.get(i)
            if d is None:
                y = block(y, 0)
            elif self.gates is None:
                y = block(y, int(path[d]))
            else:
                k = int(path[d])
                own = range(len(self.space.slots[i].choices)) if self.gates.pairs is None else self.gates.pairs[d]
                others = [int(j) for j in own if j != k]
                y = block(y, k, self.gates.values[d], self.gates.mode, others)
        logits: torch.Tensor = self.classifier(F.adaptive_avg_pool2d(self.head(y), 1).flatten(1))
        return logits

    # --- what is left in the end -------------------------------------------------------------------------------------

    def extract(self, design: Designs) -> nn.Module:
        """The plain network of a path ``(D,)`` with this network's weights and statistics; shares nothing with it."""
        with torch.random.fork_rng(devices=[]):  # its fresh weights are drawn, and replaced below
            network = block_network(self.space.describe(np.asarray(design), self.classes, self.channels))
        chosen = self.space.chosen(design)
        layers = list(network.features)
        parts: list[tuple[nn.Module, nn.Module]] = [(layers.pop(0), self.stem)]
        for slot, block, choice in zip(self.space.slots, self.blocks, chosen, strict=True):
            if choice != SKIP:
                layer = layers.pop(0)
                assert isinstance(block, GatedBlock) and isinstance(layer, InvertedResidual)
                parts.append((layer.conv, block.candidates[str(slot.choices.index(choice))]))
        parts += [(layer, self.head) for layer in layers]
        parts.append((network.classifier, self.classifier))
        for mine, given in parts:
            mine.load_state_dict({k: v.detach().clone() for k, v in given.state_dict().items()})
        return network.train(self.training)


def draw(p: FloatArray, rng: np.random.Generator) -> Designs:
    """One choice of each row of weights ``(D, K)``, ``(D,)``; rows need not sum to 1, but to more than 0."""
    cumulated = p.cumsum(axis=1)
    return np.asarray((rng.random((len(p), 1)) * cumulated[:, -1:] >= cumulated).sum(axis=1), dtype=np.int64)


def _gated(slot: Slot, style: Any) -> GatedBlock:
    """The block of a slot, fresh; what its candidates add to a shortcut is scaled by 0 (Goyal et al. 2017, 5.1).

    Paths change from step to step, and what follows a block has to get along with all of its candidates, which are
    noise at first. On CIFAR-10 an epoch of this takes paths of ten blocks from 2.30 to 1.90 nats, without it to 2.11.
    """
    residual = slot.stride == 1 and slot.c_in == slot.channels

    def branch(choice: str) -> nn.Module | None:
        if choice == SKIP:
            return None
        kernel, expansion = kernel_of(choice)
        layers = InvertedResidual(style, slot.c_in, slot.channels, slot.stride, expansion, kernel).conv
        if residual:
            norm = layers[-1]
            assert isinstance(norm, nn.BatchNorm2d)
            nn.init.zeros_(norm.weight)
        return layers

    return GatedBlock([branch(c) for c in slot.choices], residual)

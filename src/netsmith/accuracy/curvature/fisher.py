"""Fisher information: expected squares of the gradient of each image's loss.

At the labels of the data it is the empirical Fisher; at labels drawn from the network's own outputs
(``sampled_labels``) an unbiased estimate of the Fisher matrix, which equals the Gauss-Newton part of the Hessian.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch.func import grad, vmap

from netsmith.accuracy.curvature.forward import batches, check_images, differentiating, leaves, logits
from netsmith.accuracy.incremental import fast_layout, first_output, fitting_batch
from netsmith.compression.calibrate import Watcher
from netsmith.errors import InputError, did_you_mean
from netsmith.network.graph import Graph

FloatArray = NDArray[np.float64]
_BATCH = 16  #: gradients of single images are fastest in small batches
_MEMORY = 600e6  #: bytes of single images' gradients
_WHAT = "the loss of this network cannot be differentiated"
_REMEDY = "measure the loss of each choice instead"


@dataclass(frozen=True)
class Fisher:
    """Diagonal of the Fisher information of L weights.

    Attributes:
        names: the weights, in the order of ``diagonal``.
        diagonal: for each weight E[(dL/dw)^2], in its shape.
        seconds: what it took.
    """

    names: tuple[str, ...]
    diagonal: tuple[torch.Tensor, ...]
    seconds: float

    @property
    def trace(self) -> FloatArray:
        """``(L,)`` sums of the diagonals."""
        return np.array([float(d.sum(dtype=torch.float64)) for d in self.diagonal])


def sampled_labels(graph: Graph, images: torch.Tensor, *, seed: int = 0) -> torch.Tensor:
    """Labels ``(N,)`` drawn from the network's own class probabilities."""
    rng = torch.Generator().manual_seed(seed)
    dummy = torch.zeros(len(images), dtype=torch.long)
    with torch.inference_mode():
        p = [
            F.softmax(first_output(graph.module(x)).double(), dim=1)
            for x, _ in batches(graph, images, dummy, fitting_batch(graph, 128))
        ]
    return torch.multinomial(torch.cat(p), 1, generator=rng).squeeze(1)


def weight_fisher(
    graph: Graph, images: torch.Tensor, labels: torch.Tensor, names: Sequence[str], *, batch_size: int | None = None
) -> Fisher:
    """Mean over images of the squared gradient of the image's cross-entropy with respect to each named weight.

    Args:
        graph: the network.
        images: normalised ``(N, C, H, W)`` of the search split.
        labels: ``(N,)``, of the data or from ``sampled_labels``.
        names: weights, named as in the graph.
        batch_size: images at once; chosen from memory if None.

    Raises:
        InputError: an unknown name or an operator without a derivative.
    """
    start = perf_counter()
    check_images(images, labels)
    weights = {name: w.detach() for name, w in leaves(graph, names).items()}
    bytes_each = 8 * sum(w.numel() for w in weights.values())
    copies = 1 if graph.dynamic_batch else graph.example_batch  # a fixed batch holds one image many times
    size = batch_size or max(1, min(_BATCH // copies, int(_MEMORY / bytes_each)))

    def loss(w: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        alone = logits(graph, w, x.unsqueeze(0).expand(copies, *x.shape))[:1]
        return F.cross_entropy(alone.float(), y.unsqueeze(0))

    per_image = vmap(grad(loss), in_dims=(None, 0, 0))
    sums = {name: torch.zeros_like(w) for name, w in weights.items()}
    with torch.enable_grad(), differentiating(_WHAT, _REMEDY):
        for first in range(0, len(labels), size):
            gradients = per_image(weights, images[first : first + size], labels[first : first + size])
            for name, g in gradients.items():
                sums[name] += g.detach().square().sum(dim=0)
    diagonal = tuple(fast_layout(s / len(labels)) for s in sums.values())
    return Fisher(tuple(weights), diagonal, perf_counter() - start)


def output_fisher(
    graph: Graph, images: torch.Tensor, labels: torch.Tensor, nodes: Sequence[str], *, batch_size: int | None = None
) -> dict[str, torch.Tensor]:
    """E[(dL/dy)^2] at the outputs of the named nodes, each in the shape of one image's output (BRECQ, eq. 10).

    Raises:
        InputError: an unknown node, one that no image reaches, or an operator without a derivative.
    """
    sums: dict[str, torch.Tensor] = {}
    seen = 0
    for x, y in batches(graph, images, labels, batch_size or fitting_batch(graph, 64, copies=2)):
        for name, (_, g) in output_gradients(graph, x, y, nodes).items():
            square = g.square().sum(dim=0)
            sums[name] = sums[name] + square if name in sums else square
        seen += len(y)
    return {name: sums[name] / seen for name in nodes}


def output_gradients(
    graph: Graph, x: torch.Tensor, y: torch.Tensor, nodes: Sequence[str]
) -> Mapping[str, tuple[torch.Tensor, torch.Tensor]]:
    """Node name -> its output and, in the same shape, the gradient of each image's own loss with respect to it."""
    known = list(graph.nodes)
    for name in nodes:
        if name not in known:
            raise InputError(f"the graph has no node {name!r}{did_you_mean(name, known)}; names are those of its nodes")
    values: dict[str, torch.Tensor] = {}
    with torch.enable_grad(), differentiating(_WHAT, _REMEDY):
        result = Watcher(graph.module, set(nodes), values.__setitem__).run(x.detach().requires_grad_())
        # images do not meet in a network in inference form, so the gradient of the sum holds each image's own
        total = F.cross_entropy(first_output(result).float(), y, reduction="sum")
        for name in nodes:
            if not values[name].requires_grad or values[name].shape[:1] != y.shape:
                raise InputError(f"the output of node {name!r} does not follow from the image; name a later node")
        gradients = torch.autograd.grad(total, [values[n] for n in nodes], allow_unused=True, materialize_grads=True)
    return {name: (values[name].detach(), g) for name, g in zip(nodes, gradients, strict=True)}

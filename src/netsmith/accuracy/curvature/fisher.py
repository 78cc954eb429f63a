"""Fisher information: expected squares of the gradient of each image's loss.

At the labels of the data it is the empirical Fisher. Without labels it is expected over the network's own outputs p,
which makes it the Gauss-Newton part of the Hessian; where a network is piecewise linear in each of its weights, as one
of convolutions and rectifiers is, that is the whole of each weight's block. The expectation needs no sampled labels:
the Hessian of the cross-entropy in the logits z is diag(p) - p p^T = R R^T with R = diag(sqrt(p)) - p sqrt(p)^T, so the
gradient of (R s)^T z for random signs s, R held fixed, has the wanted expected square, without the heavy tail of labels
that are drawn rarely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch.func import grad, vmap

from netsmith.accuracy.curvature.forward import batches, differentiating, leaves, logits
from netsmith.accuracy.incremental import fast_layout, first_output
from netsmith.errors import InputError
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
        names: the weights, in the order of the others.
        diagonal: for each weight the mean over images of (dL/dw)^2, in its shape.
        trace: ``(L,)`` sums of the diagonals, in nats per squared unit of weight.
        error: ``(L,)`` standard error of ``trace``, over images as drawn from their distribution.
        seconds: what it took.
    """

    names: tuple[str, ...]
    diagonal: tuple[torch.Tensor, ...]
    trace: FloatArray
    error: FloatArray
    seconds: float


def weight_fisher(
    graph: Graph, images: torch.Tensor, labels: torch.Tensor | None, names: Sequence[str], *, seed: int = 0,
    batch_size: int | None = None,
) -> Fisher:  # fmt: skip
    """Mean over images of the squared gradient of the image's cross-entropy with respect to each named weight.

    Args:
        graph: the network.
        images: normalised ``(N, C, H, W)`` of the search split.
        labels: ``(N,)``; None for the expectation over the network's own outputs.
        names: weights, named as in the graph.
        seed: of the random signs that stand for labels.
        batch_size: images at once; chosen from memory if None.

    Raises:
        InputError: an unknown name, fewer than two images, gradients that are not finite, or an operator without a
            derivative.
    """
    start = perf_counter()
    weights = {name: w.detach() for name, w in leaves(graph, names).items()}
    bytes_each = 8 * sum(w.numel() for w in weights.values())
    copies = 1 if graph.dynamic_batch else graph.example_batch  # a fixed batch is filled with one image
    size = batch_size or max(1, min(_BATCH // copies, int(_MEMORY / bytes_each)))

    def loss(w: dict[str, torch.Tensor], x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        alone = logits(graph, w, x.unsqueeze(0).expand(copies, *x.shape))[:1]
        return _losses(alone, target.unsqueeze(0)).sum()

    per_image = vmap(grad(loss), in_dims=(None, 0, 0))
    sums = {name: torch.zeros_like(w) for name, w in weights.items()}
    traces: list[torch.Tensor] = []
    targets = _targets(graph, images, labels, seed)
    with torch.enable_grad(), differentiating(_WHAT, _REMEDY):
        for x, target in batches(graph, images, targets, size):
            squares = {name: g.detach().square() for name, g in per_image(weights, x, target).items()}
            traces.append(torch.stack([s.reshape(len(s), -1).sum(dim=1) for s in squares.values()], dim=1))
            for name, s in squares.items():
                sums[name] += s.sum(dim=0)
    each = torch.cat(traces).double().numpy()  # (N, L)
    if len(each) < 2 or not np.isfinite(each).all():
        why = "one image has no standard error; give more" if len(each) < 2 else "check the weights and images for NaN"
        raise InputError(f"the Fisher information cannot be estimated: {why}")
    error = each.std(axis=0, ddof=1) / np.sqrt(len(each))
    diagonal = tuple(fast_layout(s / len(each)) for s in sums.values())
    return Fisher(tuple(weights), diagonal, each.mean(axis=0), error, perf_counter() - start)


def _targets(graph: Graph, images: torch.Tensor, labels: torch.Tensor | None, seed: int) -> torch.Tensor:
    """Labels as given, or random signs ``(N, classes)``."""
    if labels is not None:
        return labels
    (end,) = (n for n in graph.nodes.values() if n.op == "output")
    classes = int(first_output(end.args[0]).meta["val"].shape[1])
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (len(images), classes), generator=rng).mul(2.0).sub(1.0)


def _losses(z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """``(N,)`` cross-entropy of each image's logits at its label, or (R s)^T z for its signs s."""
    if target.dim() == 1:
        return F.cross_entropy(z.float(), target, reduction="none")
    p = F.softmax(z.detach().float(), dim=1)
    rooted = p.sqrt() * target
    return ((rooted - p * rooted.sum(dim=1, keepdim=True)) * z.float()).sum(dim=1)

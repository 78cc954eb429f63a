"""Trace of the Hessian of the loss with respect to each weight, estimated with random vectors.

HAWQ-V2 (Dong et al., NeurIPS 2020) ranks layers by the average trace tr(H_i) / n_i. For v of independent signs
E[v^T H v] = tr(H) (Hutchinson 1990), and H v is the gradient of g^T v, so one product costs about two gradients. One
product with signs for all weights at once serves every layer: in v_i^T (H v)_i the blocks H_ij average to zero.

They add noise, though: a layer of small trace would drown in that of its neighbours. So the signs of weight i are
scaled by 1 / |g_i|, about 1 / sqrt(tr(H_ii)) near a minimum, and the product is divided by its square: the estimate
stays unbiased, since the gradient does not depend on the signs, and all layers get about the same relative error.

``fisher.weight_fisher`` estimates the same traces of a network of rectifiers at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netsmith.accuracy.curvature.forward import batches, differentiating, leaves, outputs
from netsmith.accuracy.incremental import fitting_batch
from netsmith.data.batch import Batch, Some
from netsmith.errors import InputError
from netsmith.network.graph import Graph

FloatArray = NDArray[np.float64]
Loss = Callable[[Any, Batch], torch.Tensor]
_PROBES = 2  #: per visit of a batch: its gradient's graph is built once for all of them
_FREEDOM = 8  #: degrees of freedom below which a standard error is itself a guess
_SPAN = 1e-3  #: least share of the largest squared gradient by which signs are scaled
_BATCH = 32  #: small batches are faster on one core, and each has signs of its own: more of them per pass


@dataclass(frozen=True)
class Traces:
    """Hessian traces of a mean loss of L weights.

    Attributes:
        names: the weights, in the order of the arrays.
        trace: ``(L,)`` tr(H_ii), in units of the loss per squared unit of weight; negative where it is concave.
        error: ``(L,)`` standard error from the finite number of random vectors, the examples taken as given.
        samples: random vectors per batch of examples, that is Hessian-vector products over all examples.
        seconds: what it took.
    """

    names: tuple[str, ...]
    trace: FloatArray
    error: FloatArray
    samples: int
    seconds: float


def hessian_trace(
    graph: Graph, examples: Some, loss: Loss, names: Sequence[str], *, seed: int = 0, most: int = 64,
    tolerance: float = 0.05, batch_size: int | None = None,
) -> Traces:  # fmt: skip
    """Estimate tr(H_ii) of the mean loss over examples for each named weight.

    Of the divergence from the network as given this is the curvature of what a change of the weights costs, and needs
    no targets; of a loss by targets it is that of HAWQ-V2.

    Every batch has random signs of its own, so the error is that of a stratified mean and falls with the number of
    batches as with the number of samples.

    Args:
        graph: the network; the weights should be near a minimum, else the gradient's own term matters as well.
        examples: of the search split.
        loss: from the outputs for a batch, and the batch, to its mean loss.
        names: weights, named as in the graph.
        seed: of the random signs.
        most: samples at most.
        tolerance: stop when every weight's standard error is below this share of its trace.
        batch_size: examples a product; chosen from memory if None.

    Raises:
        InputError: an unknown name, numbers out of range, or an operator that cannot be differentiated twice.
    """
    start = perf_counter()
    if most < 2 or tolerance < 0:
        raise InputError(f"most is {most} and tolerance {tolerance}; give at least 2 samples and no negative tolerance")
    weights = leaves(graph, names)
    rng = torch.Generator().manual_seed(seed)
    size = batch_size or fitting_batch(graph, _BATCH, copies=4)  # activations, gradients and the graph of both
    sizes = np.array([batch.size for batch in batches(graph, examples, size)])
    share = sizes / sizes.sum()
    squares = np.zeros(len(weights))  # |g_i|^2 summed over the batches so far
    found: list[FloatArray] = []  # one (B, L) per sample
    mean = error = np.zeros(len(weights))
    while len(found) < most:
        visit = min(_PROBES, most - len(found))
        rounds = [
            _products(graph, weights, batch, loss, visit, rng, squares) for batch in batches(graph, examples, size)
        ]
        found.extend(np.stack(rounds, axis=1))
        values = np.stack(found)
        mean = np.einsum("b,mbl->l", share, values) / len(values)
        if not np.isfinite(mean).all():
            raise InputError("the Hessian of the loss is not finite; check the weights, the examples and their scale")
        if len(values) > 1:
            spread = values.var(axis=0, ddof=1) / len(values)
            error = np.sqrt(np.einsum("b,bl->l", share**2, spread))
            if (len(values) - 1) * len(sizes) >= _FREEDOM and (error <= tolerance * np.abs(mean)).all():
                break
    return Traces(tuple(weights), mean, error, len(found), perf_counter() - start)


def _products(
    graph: Graph, weights: Mapping[str, torch.Tensor], batch: Batch, loss: Loss, count: int,
    rng: torch.Generator, squares: FloatArray,
) -> FloatArray:  # fmt: skip
    """``(count, L)``: v_i^T (H v)_i of one batch's mean loss for ``count`` vectors of signs; adds to ``squares``."""
    w = list(weights.values())
    out = np.zeros((count, len(w)))
    with (
        torch.enable_grad(),
        differentiating(
            "the loss of this network cannot be differentiated twice",
            "use weight_fisher, which needs one derivative, or measure the loss of each choice",
        ),
    ):
        value = loss(outputs(graph, weights, batch), batch)
        gradients = torch.autograd.grad(value, w, create_graph=True, allow_unused=True, materialize_grads=True)
        squares += [float(g.detach().square().sum(dtype=torch.float64)) for g in gradients]
        scale = _scale(squares)
        curved = [i for i, g in enumerate(gradients) if g.requires_grad]
        for m in range(count):
            signs = _signs(w, scale, rng)
            products = torch.autograd.grad(
                [gradients[i] for i in curved], w, [signs[i] for i in curved],
                retain_graph=m + 1 < count, allow_unused=True, materialize_grads=True,
            ) if curved else []  # fmt: skip
            dots = [torch.sum(v * h, dtype=torch.float64) for v, h in zip(signs, products, strict=bool(curved))]
            out[m] = torch.stack(dots).numpy() / scale**2 if dots else 0.0
    return out


def _scale(squares: FloatArray) -> FloatArray:
    """1 / |g_i| relative to the largest, bounded: far from a minimum the blocks H_ij need not shrink with g_i."""
    top = squares.max()
    result: FloatArray = np.maximum(squares / top, _SPAN) ** -0.5 if top > 0 else np.ones_like(squares)
    return result


def _signs(weights: Sequence[torch.Tensor], scale: FloatArray, rng: torch.Generator) -> list[torch.Tensor]:
    """For each weight random signs times its scale, in its memory layout."""
    sizes = [w.numel() for w in weights]
    flat = torch.randint(0, 2, (sum(sizes),), generator=rng, dtype=torch.int8).mul_(2).sub_(1)
    return [
        torch.empty_like(w, requires_grad=False).copy_(part.view(w.shape)).mul_(float(s))
        for w, part, s in zip(weights, flat.split(sizes), scale, strict=True)
    ]

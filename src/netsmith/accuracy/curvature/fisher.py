"""Fisher information: expected squares of the gradient of each example's loss.

At the targets of the data it is the empirical Fisher. Without targets it is the Gauss-Newton part of the Hessian of the
divergence from the network as given; for probabilities that is the Fisher information over the network's own outputs.
Where a network is piecewise linear in each of its weights, as one of convolutions and rectifiers is, it is the whole of
each weight's block. The expectation needs no sampled targets: near the network as given the Hessian of the divergence
in the outputs z is R R^T, so the gradient of (R s)^T z for random signs s, R held fixed, has the wanted expected
square, without the heavy tail of labels that are drawn rarely. A task knows its R (``Task.rooted``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import grad, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from netsmith.accuracy.curvature.forward import batches, differentiating, leaves, outputs
from netsmith.data.batch import Batch, Some
from netsmith.errors import InputError
from netsmith.network.graph import Graph
from netsmith.network.layout import fast_layout
from netsmith.tasks.task import Task

FloatArray = NDArray[np.float64]
_BATCH = 16  #: gradients of single examples are fastest in small batches
_MEMORY = 600e6  #: bytes of single examples' gradients
_WHAT = "the loss of this network cannot be differentiated"
_REMEDY = "measure the loss of each choice instead"


@dataclass(frozen=True)
class Fisher:
    """Diagonal of the Fisher information of L weights.

    Attributes:
        names: the weights, in the order of the others.
        diagonal: for each weight the mean over examples of (dL/dw)^2, in its shape.
        trace: ``(L,)`` sums of the diagonals, in units of the divergence per squared unit of weight.
        error: ``(L,)`` standard error of ``trace``, over examples as drawn from their distribution.
        seconds: what it took.
    """

    names: tuple[str, ...]
    diagonal: tuple[torch.Tensor, ...]
    trace: FloatArray
    error: FloatArray
    seconds: float


def weight_fisher(
    graph: Graph, task: Task, examples: Some, names: Sequence[str], *, targets: bool = False, scales: Any = None,
    seed: int = 0, batch_size: int | None = None,
) -> Fisher:  # fmt: skip
    """Mean over examples of the squared gradient of each example's loss with respect to each named weight.

    Args:
        graph: the network.
        task: whose loss or divergence it is.
        examples: of the search split.
        names: weights, named as in the graph.
        targets: take the loss at the targets of the data, and not the divergence from the network as it is.
        scales: of the divergence, see ``Task.scales``.
        seed: of the random signs that stand for targets.
        batch_size: examples at once; chosen from memory if None.

    Raises:
        InputError: an unknown name, fewer than two examples, gradients that are not finite, or an operator without a
            derivative.
    """
    start = perf_counter()
    weights = {name: w.detach() for name, w in leaves(graph, names).items()}
    bytes_each = 8 * sum(w.numel() for w in weights.values())
    copies = 1 if graph.dynamic_batch else graph.example_batch  # a fixed batch is filled with one example
    size = batch_size or max(1, min(_BATCH // copies, int(_MEMORY / bytes_each)))
    rng = torch.Generator().manual_seed(seed)
    sums = {name: torch.zeros_like(w) for name, w in weights.items()}
    traces: list[torch.Tensor] = []
    with torch.enable_grad(), differentiating(_WHAT, _REMEDY):
        for batch in batches(graph, examples, size):
            signs = [] if targets else _signs(graph, task, batch, rng)
            squares = _squares(graph, task, weights, replace(batch, target=(batch.target, signs)), copies, scales)
            traces.append(torch.stack([s.reshape(len(s), -1).sum(dim=1) for s in squares.values()], dim=1))
            for name, s in squares.items():
                sums[name] += s.sum(dim=0)
    each = torch.cat(traces).double().numpy()  # (N, L)
    if len(each) < 2 or not np.isfinite(each).all():
        why = "one example has no standard error; give more" if len(each) < 2 else (
            "check the weights and examples for NaN"
        )  # fmt: skip
        raise InputError(f"the Fisher information cannot be estimated: {why}")
    error = each.std(axis=0, ddof=1) / np.sqrt(len(each))
    diagonal = tuple(fast_layout(s / len(each)) for s in sums.values())
    return Fisher(tuple(weights), diagonal, each.mean(axis=0), error, perf_counter() - start)


def _squares(
    graph: Graph, task: Task, weights: dict[str, torch.Tensor], batch: Batch, copies: int, scales: Any
) -> dict[str, torch.Tensor]:
    """The squared gradient of each example, ``(size, ...)`` a weight.

    Args:
        batch: whose target has random signs beside it; of none the loss at the target is taken.
        copies: of an example that fill a batch.
    """
    flat, spec = tree_flatten((batch.args, dict(batch.kwargs), batch.target, batch.valid))
    rows = [isinstance(t, torch.Tensor) and t.dim() > 0 and len(t) == batch.size for t in flat]

    def loss(w: dict[str, torch.Tensor], *one: Any) -> torch.Tensor:
        """Of one example, whose tensors come without their first axis."""
        with_axis = [t.unsqueeze(0) if row else t for t, row in zip(one, rows, strict=True)]
        args, kwargs, (target, own), valid = tree_unflatten(with_axis, spec)
        alone = Batch(args, kwargs, target, 1, valid)
        filled = alone.map(lambda t: t.expand(copies, *t.shape[1:]) if t.dim() and len(t) == 1 else t)
        made = _first(outputs(graph, w, filled), copies)
        if own:
            return task.rooted(made, own, alone, scales).sum()
        values, counts = task.loss(made, alone)
        return (values * counts).sum()

    per_example = vmap(grad(loss), in_dims=(None, *(0 if row else None for row in rows)))
    return {name: g.detach().square() for name, g in per_example(weights, *flat).items()}


def _first(made: Any, copies: int) -> Any:
    """Outputs for the first of several copies of an example."""
    flat, spec = tree_flatten(made)
    return tree_unflatten([t[:1] if isinstance(t, torch.Tensor) and copies > 1 else t for t in flat], spec)


def _signs(graph: Graph, task: Task, batch: Batch, rng: torch.Generator) -> list[torch.Tensor]:
    """Random signs in the shape of every output that counts, ``(size, ...)`` each."""
    few = batch.take(torch.arange(graph.example_batch) % batch.size)
    with torch.no_grad():
        compared = task.compared(task.read(few(graph.module), few))
    return [torch.randint(0, 2, (batch.size, *t.shape[1:]), generator=rng).mul(2.0).sub(1.0) for t in compared]

"""A traced network as a differentiable function of some of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from netsmith.accuracy.incremental import fast_layout, first_output
from netsmith.errors import InputError, did_you_mean
from netsmith.network.graph import Graph
from netsmith.network.passes import get_parameter
from netsmith.network.strided import Subsampled

_UNDIFFERENTIABLE = ("derivative", "differentiat", "not implemented", "does not require grad")


def leaves(graph: Graph, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Copies of the named weights that gradients can be taken of, convolutions with channels last.

    Raises:
        InputError: no names, or one that is not a floating-point weight of the network.
    """
    if not names:
        raise InputError("curvature needs the name of at least one weight; give names from the graph's get_attr nodes")
    known = [str(n.target) for n in graph.module.graph.nodes if n.op == "get_attr"]
    out: dict[str, torch.Tensor] = {}
    for name in names:
        if name not in known:
            raise InputError(
                f"the network has no weight {name!r}{did_you_mean(name, known)}; names are those of its graph"
            )
        value = get_parameter(graph.module, name).detach()
        if not value.is_floating_point():
            raise InputError(f"{name} holds integers, which have no curvature; leave it out")
        out[name] = fast_layout(value.clone()).requires_grad_()
    return out


def logits(graph: Graph, weights: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Outputs ``(N, classes)`` for images ``x`` with the given weights in place of the network's."""
    # the fused attention kernels have one derivative only, the plain one has every derivative
    with sdpa_kernel(SDPBackend.MATH), Subsampled():
        value: torch.Tensor = first_output(functional_call(graph.module, dict(weights), (x,)))
    return value


def batches(
    graph: Graph, images: torch.Tensor, labels: torch.Tensor, size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Images and labels in order; a network of fixed batch leaves out a last batch that is not full.

    Raises:
        InputError: no images, not one label for each, or fewer than a fixed batch holds.
    """
    if len(images) != len(labels) or len(labels) == 0:
        raise InputError(f"{len(images)} images and {len(labels)} labels were given; give one label for each image")
    size = size if graph.dynamic_batch else graph.example_batch
    if len(labels) < size and not graph.dynamic_batch:
        raise InputError(f"the network runs {size} images at a time and {len(labels)} were given; give at least {size}")
    for start in range(0, len(labels), size):
        x, y = images[start : start + size], labels[start : start + size]
        if len(y) == size or graph.dynamic_batch:
            yield fast_layout(x), y


@contextmanager
def differentiating(what: str, remedy: str) -> Iterator[None]:
    """Turn torch's complaint about an operator without a derivative into an InputError that names a remedy."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).strip()
        if not any(sign in text for sign in _UNDIFFERENTIABLE):
            raise
        raise InputError(f"{what}: {text.splitlines()[0][:200]}; {remedy}") from error

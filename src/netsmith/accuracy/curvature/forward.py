"""A traced network as a differentiable function of some of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from netsmith.data.batch import Batch, Some
from netsmith.errors import InputError, did_you_mean
from netsmith.network.graph import Graph
from netsmith.network.layout import fast_layout
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


def outputs(graph: Graph, weights: Mapping[str, torch.Tensor], batch: Batch) -> Any:
    """The network's outputs for a batch with the given weights in place of its own."""
    # the fused attention kernels have one derivative only, the plain one has every derivative
    with sdpa_kernel(SDPBackend.MATH), Subsampled():
        return functional_call(graph.module, dict(weights), batch.args, dict(batch.kwargs))


def batches(graph: Graph, examples: Some, size: int) -> Iterator[Batch]:
    """Examples in order; a network of fixed batch leaves out a last batch that is not full.

    Raises:
        InputError: no examples, or fewer than a fixed batch holds.
    """
    count = len(examples)
    if count == 0:
        raise InputError("no examples were given; give some of the search split")
    size = size if graph.dynamic_batch else graph.example_batch
    if count < size and not graph.dynamic_batch:
        raise InputError(f"the network runs {size} examples at a time and {count} were given; give at least {size}")
    for batch in graph.batches(examples, size):
        yield batch.map(fast_layout, inputs_only=True)


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

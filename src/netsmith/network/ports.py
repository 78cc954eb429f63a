"""The tensors that go into a network and come out, with the names of their free axes, as files say them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_map

from netsmith.data.batch import Batch
from netsmith.data.feeding import Port
from netsmith.network.graph import Graph
from netsmith.network.outputs import tensors_of

BATCH = "batch"  #: name of the axis of the examples


def ports(graph: Graph) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of a traced network, in order.

    Which axes are free is seen by running it on one example alone, and on examples that are cut along each free axis.
    """
    sides = [_leaves(graph, graph.example), _answers(graph, graph.example)]
    free: list[list[dict[int, str | None]]] = [[{} for _ in side] for side in sides]
    for word, length, other in _others(graph):
        for side, cut, axes in zip(sides, (_leaves(graph, other), _answers(graph, other)), free, strict=True):
            for before, after, known in zip(side, cut, axes, strict=True):
                for axis, (n, m) in enumerate(zip(before.shape, after.shape, strict=True)):
                    if n != m:  # one that is longer or shorter than that of the inputs follows from it
                        known[axis] = word if n == length else None
    inputs, outputs = (
        tuple(
            Port(name, str(t.dtype).removeprefix("torch."), tuple(a.get(i, n) for i, n in enumerate(t.shape)))
            for name, t, a in zip(names, side, axes, strict=True)
        )
        for names, side, axes in zip((graph.input_names, graph.output_names), sides, free, strict=True)
    )
    return inputs, outputs


def _others(graph: Graph) -> Iterator[tuple[str, int, Batch]]:
    """Each free axis by its name, with its length in the example, and an example in which it is shorter."""
    example = graph.example
    if graph.dynamic_batch and example.size > 1:
        yield BATCH, example.size, example.take(slice(0, 1))
    arguments = inspect.signature(graph.module.forward).bind(*example.args, **example.kwargs).arguments
    for word in sorted({word for axes in graph.axes.values() for word in axes.values()}):
        at = {name: axis for name, axes in graph.axes.items() for axis, own in axes.items() if own == word}
        length = next(t.shape[axis] for name, axis in at.items() for t in tensors_of(arguments.get(name)))
        if length < 2:
            continue
        cut = _cut(example, arguments, at, length // 2)
        try:
            _answers(graph, cut)
        except Exception:  # too short for what it does; the file says the length of the example there
            continue
        yield word, length, cut


def _cut(example: Batch, arguments: Mapping[str, Any], at: Mapping[str, int], length: int) -> Batch:
    """The example with some arguments cut along an axis each."""

    def of(name: str, value: Any) -> Any:
        if name not in at:
            return value
        return tree_map(lambda t: t.narrow(at[name], 0, length) if isinstance(t, torch.Tensor) else t, value)

    parts = {name: of(name, value) for name, value in arguments.items()}
    args = tuple(value for name, value in parts.items() if name not in example.kwargs)
    return Batch(args, {name: parts[name] for name in example.kwargs}, size=example.size)


def _leaves(graph: Graph, batch: Batch) -> list[torch.Tensor]:
    return [t for t in graph.flat(batch) if isinstance(t, torch.Tensor)]


def _answers(graph: Graph, batch: Batch) -> Sequence[torch.Tensor]:
    with torch.no_grad():
        return tensors_of(batch(graph.module))

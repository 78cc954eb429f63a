"""Examples that a network was traced with, in a file beside it: what it takes that random numbers cannot stand for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from netsmith.data.batch import Batch
from netsmith.errors import InputError
from netsmith.network.signature import feed_of
from netsmith.network.tensorfile import serialised

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from netsmith.network.graph import Graph

_KEY, _MOST = "netsmith.arguments", 16
_CONSTANTS = (str, int, float, bool, type(None))


def takes_floats(graph: Graph) -> bool:
    """Whether a network takes one tensor of floats whose axes are given, for which random numbers can stand."""
    inputs = graph.example.inputs
    return len(inputs) == 1 and inputs[0].is_floating_point() and not graph.axes


def feed_for(graph: Graph) -> dict[str, NDArray[np.generic]] | None:
    """What a network is timed on, one real example by the names of its inputs; None where random numbers do."""
    if takes_floats(graph):
        return None
    one = graph.example.take(slice(0, 1)) if graph.dynamic_batch else graph.example
    return feed_of(one, graph.input_names, graph.module)


def examples_bytes(graph: Graph, examples: Batch) -> bytes:
    """A file of a few examples: of those of the trace, or more where they have the same shapes."""
    few = examples.take(slice(0, max(_MOST, graph.example_batch)))
    shapes = [[t.shape[1:] for t in batch.inputs] for batch in (few, graph.example)]
    batch = few if shapes[0] == shapes[1] and few.size >= graph.example_batch else graph.example
    tensors: dict[str, torch.Tensor] = {}
    arguments = _plain([list(batch.args), dict(batch.kwargs)], tensors)
    return serialised(tensors, {_KEY: json.dumps({"arguments": arguments, "size": batch.size})})


def read_examples(path: Path) -> Batch:
    """What :func:`examples_bytes` wrote.

    Raises:
        InputError: it is no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118, it is no dict
            said = json.loads(stored.metadata()[_KEY])
        args, kwargs = _tree(said["arguments"], tensors)
        return Batch(tuple(args), kwargs, size=int(said["size"]))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is damaged; repeat the run that wrote it") from error


def _plain(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """A tree as JSON values, with the name of each tensor in its place."""
    if isinstance(tree, torch.Tensor):
        name = f"{len(tensors):04d}"
        tensors[name] = tree.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(tree, (tuple, list)):
        return {type(tree).__name__ if type(tree) is list else "tuple": [_plain(part, tensors) for part in tree]}
    if isinstance(tree, dict):
        return {"dict": [[key, _plain(part, tensors)] for key, part in tree.items()]}
    if isinstance(tree, _CONSTANTS):
        return {"value": tree}
    raise InputError(
        f"the network takes {type(tree).__name__}, of which no file can be made; give it tensors, numbers and texts in "
        "tuples, lists and dictionaries"
    )


def _tree(said: Any, tensors: dict[str, torch.Tensor]) -> Any:
    ((kind, value),) = said.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {key: _tree(part, tensors) for key, part in value}
    if kind == "value":
        return value
    return {"tuple": tuple, "list": list}[kind](_tree(part, tensors) for part in value)

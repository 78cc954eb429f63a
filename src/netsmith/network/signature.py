"""What goes into a traced network and what comes out: order, names and free axes of the tensors."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.utils._pytree import tree_leaves, tree_map, tree_unflatten

from netsmith.data.batch import Batch
from netsmith.errors import InputError, did_you_mean
from netsmith.network.outputs import output_paths

INPUT, OUTPUT = "input", "output"  #: names in exported files where there is one alone
Axes = Mapping[str, Mapping[int, str]]


def dynamic_shapes(model: nn.Module, example: Batch, axes: Axes) -> Any:
    """Which axes of the inputs are free, in the form of ``torch.export``: that of the batch, and those asked for.

    Raises:
        InputError: an axis of an input that the network does not have.
    """

    def of(name: str, value: Any) -> Any:
        def free(tensor: Any) -> Any:
            if not isinstance(tensor, torch.Tensor):
                return None
            wanted = [a for a in axes.get(name, {}) if a < tensor.dim()]
            batch = [0] if tensor.dim() and len(tensor) == example.size else []
            return dict.fromkeys([*batch, *wanted], torch.export.Dim.AUTO)

        return tree_map(free, value)

    bound = inspect.signature(model.forward).bind(*example.args, **example.kwargs)
    if unknown := [name for name in axes if name not in bound.arguments]:
        known = list(bound.arguments)
        raise InputError(
            f"the network has no input {unknown[0]!r} with a free axis{did_you_mean(unknown[0], known)}; its inputs "
            f"are {', '.join(known)}"
        )
    found = {name: of(name, value) for name, value in bound.arguments.items()}
    kinds = {p.kind for n, p in inspect.signature(model.forward).parameters.items() if n in found}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:  # whose parts have no name here
        return (*(of("", a) for a in example.args),) if not example.kwargs else found
    return found


def positional(model: nn.Module, batch: Batch) -> tuple[Any, ...]:
    """The arguments of a batch by place alone, those between them as the forward has them by default.

    Raises:
        InputError: the forward takes one of them by name only.
    """
    bound = inspect.signature(model.forward).bind(*batch.args, **batch.kwargs)
    last = list(bound.arguments)[-1]
    bound.apply_defaults()
    names = list(inspect.signature(model.forward).parameters)
    if bound.kwargs and last in bound.kwargs:
        raise InputError(
            f"the network takes {last!r} by name only, which its channels are not followed through; let its forward "
            "take it by place as well"
        )
    return bound.args[: names.index(last) + 1] if not any(
        p.kind is p.VAR_POSITIONAL for p in inspect.signature(model.forward).parameters.values()
    ) else bound.args  # fmt: skip


def free_axes(program: torch.export.ExportedProgram, example: Batch, axes: Axes) -> tuple[bool, Axes]:
    """Whether a program takes any number of samples, and which other axes of those asked for came out free."""
    wanted = set(program.graph_signature.user_inputs)
    values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder" and n.name in wanted}

    def is_free(value: Any, axis: int) -> bool:
        size: Any = value.shape[axis] if isinstance(value, torch.Tensor) and axis < value.dim() else 0
        return isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None  # which may be one number only

    batched = [v for v in values.values() if isinstance(v, torch.Tensor) and v.dim()]
    free = bool(program.range_constraints) and any(is_free(v, 0) for v in batched)
    return free, {
        name: {a: word for a, word in axes[name].items() if is_free(values.get(name), a)}
        for name in axes if any(is_free(values.get(name), a) for a in axes[name])
    }  # fmt: skip


def placeholders(module: fx.GraphModule) -> list[fx.Node]:
    """The inputs of a graph in order."""
    return [n for n in module.graph.nodes if n.op == "placeholder"]


def ordered(module: fx.GraphModule, batch: Batch) -> list[Any]:
    """The leaves of a batch's arguments in the order of a graph's inputs."""
    spec = module.graph._codegen.pytree_info.in_spec  # type: ignore[attr-defined]
    names = spec.child(1).context if spec.num_children > 1 else []
    kwargs = {name: batch.kwargs[name] for name in names if name in batch.kwargs}
    leaves = tree_leaves((batch.args, kwargs | {k: v for k, v in batch.kwargs.items() if k not in kwargs}))
    if len(leaves) != len(placeholders(module)):
        raise InputError(
            f"the network was traced with {len(placeholders(module))} inputs and is given {len(leaves)}; give the same "
            "arguments for every example"
        )
    return leaves


def feed_of(batch: Batch, names: Sequence[str], module: nn.Module | None = None) -> dict[str, NDArray[Any]]:
    """What a file's inputs are given for a batch: name -> array.

    Args:
        names: of the inputs of the file, in its order; others of the batch are left out.
        module: the graph that the file was made of, which knows them; without one the batch has them in that order, or
            by name.
    """
    if isinstance(module, fx.GraphModule):
        leaves, known = ordered(module, batch), input_names(module)
    else:
        named = {name: value for name, value in batch.kwargs.items() if name in names}
        others = {name: value for name, value in batch.kwargs.items() if name not in named}
        leaves = [*tree_leaves((batch.args, others)), *named.values()]
        known = (*(name for name in names if name not in named), *named)
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    given = dict(zip(known, tensors, strict=True))
    return {name: np.ascontiguousarray(given[name].detach().cpu().numpy()) for name in names}


def input_names(module: fx.GraphModule) -> tuple[str, ...]:
    """Of the tensors among the inputs: ``input``, or where there are several as the forward calls them."""
    tensors = [n.name for n in placeholders(module) if isinstance(n.meta.get("val"), torch.Tensor)]
    return (INPUT,) if len(tensors) == 1 else tuple(tensors)


def output_names(module: fx.GraphModule) -> tuple[str, ...]:
    """Of the tensors that come out: ``output``, or where there are several by their place in what is returned."""
    spec = module.graph._codegen.pytree_info.out_spec  # type: ignore[attr-defined]
    given = returned(module)
    paths = output_paths(tree_unflatten(list(range(len(given))), spec))
    tensors = [path for path, value in zip(paths, given, strict=True) if isinstance(value, fx.Node)]
    if len(tensors) == 1:
        return (OUTPUT,)
    return tuple(f"{OUTPUT}_{'_'.join(path)}" if path[0].isdigit() else ".".join(path) for path in tensors)


def returned(module: fx.GraphModule) -> list[Any]:
    """The leaves of what a graph returns, in order: nodes of tensors, and whatever is the same every time."""
    return tree_leaves(module.graph.output_node().args[0])


def outputs_of(module: fx.GraphModule, flat: Sequence[Any]) -> Any:
    """Values of the tensors that a graph returns, in order, in the structure that its network returns."""
    values = iter(flat)
    leaves = [next(values) if isinstance(leaf, fx.Node) else leaf for leaf in returned(module)]
    return tree_unflatten(leaves, module.graph._codegen.pytree_info.out_spec)  # type: ignore[attr-defined]

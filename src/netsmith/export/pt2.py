"""A compressed network as a ``.pt2`` program: loads with torch alone, without netsmith and without the user's class."""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MethodType
from typing import Any, Self

import torch
from torch import fx, nn
from torch.utils._pytree import tree_structure, tree_unflatten

from netsmith.errors import InputError
from netsmith.files import write_atomic
from netsmith.network.fake_quantize import FAKE_QUANTIZE
from netsmith.network.graph import Graph
from netsmith.network.outputs import named, plain
from netsmith.network.signature import dynamic_shapes

MARK = "netsmith"  #: a further file in the archive, which tells it from those of other programs
aten = torch.ops.aten


def save_pt2(graph: Graph, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a traced (and perhaps fake-quantized) network; fake quantizers become plain arithmetic.

    What the network returns in a class of somebody's, a data class for one, the program returns in a dictionary.

    Args:
        metadata: name -> text, which ``torch.export.load`` gives back through its ``extra_files``.
    """
    module = graph.copy().module
    for node in list(module.graph.nodes):
        if node.target is FAKE_QUANTIZE:
            _spell_out(module, node)
    _drop_classes(module)
    module.recompile()
    # no example of the user's goes into the file
    example = graph.example.map(lambda t: torch.zeros(t.shape, dtype=t.dtype), inputs_only=True)
    shapes = dynamic_shapes(module, example, graph.axes) if graph.dynamic_batch else None
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, example.args, dict(example.kwargs), dynamic_shapes=shapes, strict=False)
        for node in program.graph.nodes:  # addresses in memory and places in this code: other bytes every time
            for word in ("from_node", "stack_trace"):
                node.meta.pop(word, None)
        content = io.BytesIO()
        torch.export.save(program, content, extra_files={MARK: "1", **(metadata or {})})
    write_atomic(Path(path), content.getvalue())


class Program(nn.Module):
    """A program as a module for inference: it computes the same in train mode, which programs refuse.

    Outputs that have names can be read by them in any way, see :class:`netsmith.network.outputs.Named`.
    """

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program
        self.training = False
        self.forward = MethodType(_forward_of(program), self)  # a copy has its own

    def train(self, mode: bool = True) -> Self:
        """Do nothing."""
        return self


def _forward_of(program: nn.Module) -> Callable[..., Any]:
    """What a program does when it is called, as a method with the names of its inputs, by which it can be traced."""

    def forward(self: Program, *args: Any, **kwargs: Any) -> Any:
        return named(self.program(*args, **kwargs))

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    takes = inspect.signature(program.forward)
    forward.__signature__ = takes.replace(parameters=[own, *takes.parameters.values()])  # type: ignore[attr-defined]
    return forward


def load_pt2(path: str | Path) -> Program:
    """The network in a file of :func:`save_pt2`.

    Raises:
        InputError: it is no such file.
    """
    if not Path(path).is_file():
        raise InputError(f"{path} is missing; repeat the run that wrote it")
    try:
        return Program(torch.export.load(path).module())
    except Exception as error:  # a damaged archive ends in errors of many kinds
        raise InputError(f"{path} is no program of torch.export; repeat the run that wrote it") from error


def _drop_classes(module: fx.GraphModule) -> None:
    """Let a graph return the same without the classes that its network returned it in, which no file can bring."""
    codegen = module.graph._codegen
    info = codegen.pytree_info  # type: ignore[attr-defined]
    structure = plain(tree_unflatten(list(range(info.out_spec.num_leaves)), info.out_spec))
    codegen.pytree_info = info._replace(out_spec=tree_structure(structure))  # type: ignore[attr-defined]


def _spell_out(module: fx.GraphModule, node: fx.Node) -> None:
    x, scale, zero_point, qmin, qmax = node.args
    assert isinstance(scale, float)
    g = module.graph
    with g.inserting_before(node):
        # multiplication by the inverse, as the fake-quantize kernel does it: the same value on a tie
        q = g.call_function(aten.mul.Tensor, (x, 1.0 / scale))
        q = g.call_function(aten.add.Tensor, (q, zero_point))
        q = g.call_function(aten.clamp.default, (g.call_function(aten.round.default, (q,)), qmin, qmax))
        q = g.call_function(aten.mul.Tensor, (g.call_function(aten.sub.Tensor, (q, zero_point)), scale))
    node.replace_all_uses_with(q)
    g.erase_node(node)

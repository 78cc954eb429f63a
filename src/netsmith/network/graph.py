"""Any network as an ATen graph: traced by torch.export, cleaned, batch norm folded, read as a layer table.

torch.export runs the network's own Python, so control flow that symbolic tracing cannot follow is no obstacle. The
graph keeps the user's parameter names; every later step (sensitivity, quantization, ONNX) works on it.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from netsmith.data.batch import Batch, Some, some
from netsmith.errors import InputError, shown
from netsmith.network.aliases import name_first
from netsmith.network.batch import written_batch
from netsmith.network.copying import copy_network
from netsmith.network.layers import LayerTable
from netsmith.network.outputs import register_outputs
from netsmith.network.passes import clean, fold_batch_norm, make_functional
from netsmith.network.rows import read_rows
from netsmith.network.signature import dynamic_shapes, free_axes, input_names, ordered, output_names, outputs_of
from netsmith.usercode import words_of


@dataclass
class Graph:
    """A traced network.

    Attributes:
        module: ATen graph in inference form, callable like the network; parameters under the user's names.
        example: inputs that it was traced with, two samples.
        layers: compute layers and glue in execution order.
        node_of: row name -> name of its node in ``module.graph``.
        dynamic_batch: False if the network only runs at the batch size it was traced with.
        folded: whether batch norm was merged into the layers before it.
        numbers: node -> for each tensor that it yields, how many numbers of 32 bits that has for one sample; nothing
            for constants. Norms that are not merged but will be have no entry.
        axes: axes of inputs that may have any length, beside that of the batch: name of an input -> axis -> its name.
    """

    module: fx.GraphModule
    example: Batch
    layers: LayerTable
    node_of: dict[str, str]
    dynamic_batch: bool = True
    folded: bool = True
    numbers: dict[str, tuple[float, ...]] = field(default_factory=dict)
    axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    node_names: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.node_names = {node: row for row, node in self.node_of.items()}

    def node(self, row: str) -> fx.Node:
        """The node of a row of ``layers``."""
        return self.nodes[self.node_of[row]]

    @property
    def nodes(self) -> dict[str, fx.Node]:
        return {n.name: n for n in self.module.graph.nodes}

    @property
    def example_batch(self) -> int:
        """Samples of the example; the only number that the network takes where its batch is not dynamic."""
        return self.example.size

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample of the first input, ``(C, H, W)`` for images."""
        return tuple(self.example.inputs[0].shape[1:])

    @property
    def input_names(self) -> tuple[str, ...]:
        """What the tensors that go in are called in exported files, in their order."""
        return input_names(self.module)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What the tensors that come out are called in exported files, in their order."""
        return output_names(self.module)

    def flat(self, batch: Batch) -> list[Any]:
        """The leaves of a batch's arguments in the order of the graph's inputs."""
        return ordered(self.module, batch)

    def batches(self, examples: torch.Tensor | Some, size: int) -> list[Batch]:
        """Examples in batches that the network takes: of ``size`` at most, or all of the one size that it takes."""
        size = size if self.dynamic_batch else self.example_batch
        return [b for b in some(examples).batches(size) if self.dynamic_batch or b.size == size]

    def outputs(self, flat: Sequence[Any]) -> Any:
        """Values in the order of the graph's outputs, as the network's forward returns them."""
        return outputs_of(self.module, flat)

    @property
    def warnings(self) -> list[str]:
        """What the network does and its graph, and with it every exported file, does not; one sentence each."""
        if self.dynamic_batch:
            return []
        return [
            f"exported files take batches of exactly {self.example_batch} {_each(self.example)}: the forward makes a "
            "plain number of the size of the batch, as len(x) does; take it as x.shape[0]"
        ]

    def again(self, model: nn.Module) -> Graph:
        """The trace of another network that takes and returns the same."""
        return trace(model, self.example, axes=self.axes, fold=self.folded)

    def copy(self) -> Graph:
        """A graph that shares nothing with this one."""
        return dataclasses.replace(self, module=copy_module(self.module))


def count_parameters(model: nn.Module) -> int:
    """Parameters of a network, those of shared layers once."""
    return sum(p.numel() for p in model.parameters())


def copy_module(module: nn.Module) -> fx.GraphModule:
    """A deep copy of a graph module."""
    out = copy_network(module)
    assert isinstance(out, fx.GraphModule)
    return out


def random_input(*shape: int) -> torch.Tensor:
    """An example input, normally distributed; the same whenever it is asked for."""
    return torch.zeros(shape).normal_(generator=torch.Generator().manual_seed(0))


def _each(example: Batch) -> str:
    return "images" if [t.dim() for t in example.inputs] == [4] else "examples"


def example_of(given: tuple[int, ...] | torch.Tensor | Batch) -> Batch:
    """A batch to trace a network with: random inputs of a shape of one sample, or what was given."""
    return Batch.of(random_input(2, *given) if isinstance(given, tuple) else given)


def export_program(
    model: nn.Module, example: Batch, axes: Mapping[str, Mapping[int, str]] | None = None
) -> torch.export.ExportedProgram:
    """Export ``model`` in eval mode with a free batch axis, or a fixed one where the network pins it.

    Args:
        axes: others that may have any length, see :class:`Graph`.

    Raises:
        InputError: the network cannot run on this input, or its control flow depends on data.
    """
    model.eval()
    _check_names(model)
    try:
        with torch.no_grad():
            register_outputs(example(model))
    except Exception as error:
        if written := written_batch(model, example):
            raise InputError(written) from error
        shapes = " and ".join(str(tuple(t.shape[1:])) for t in example.inputs)
        raise InputError(
            f"the network does not run on an input of shape {shapes}: {words_of(error)}; "
            "give the shape it expects with --input C,H,W"
        ) from error
    reason: Exception = RuntimeError()
    for dynamic in (dynamic_shapes(model, example, axes or {}), None):
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                return torch.export.export(
                    model, example.args, dict(example.kwargs), dynamic_shapes=dynamic, strict=False
                )
        except Exception as error:
            reason = error
    raise InputError(
        f"the network cannot be traced: {words_of(reason)}; its forward must not branch on the values of tensors"
    ) from reason


def _check_names(model: nn.Module) -> None:
    """Refuse names of modules and tensors that a traced network of torch cannot have."""
    for name in (*dict(model.named_modules()), *dict(model.named_parameters()), *dict(model.named_buffers())):
        if set(name) & set('"\\\n\r'):
            raise InputError(
                f"the layer {shown(name)} has a quote, a backslash or a line break in its name, with which no network "
                "can be traced; give it another name"
            )
    taken = torch.fx.GraphModule(nn.Module(), torch.fx.Graph())
    for name in (*model._modules, *model._parameters, *model._buffers):
        if hasattr(taken, name):
            raise InputError(
                f"the layer {shown(name)} has the name of an attribute of every traced network of torch, so that it "
                "cannot be traced; give it another name"
            )


def trace(
    model: nn.Module, example: tuple[int, ...] | torch.Tensor | Batch, *,
    axes: Mapping[str, Mapping[int, str]] | None = None, fold: bool = True,
) -> Graph:  # fmt: skip
    """Trace ``model`` with an example.

    The model is left as it was. ``fold=True`` merges batch norm into the convolution or linear layer before it; without
    it the norms stay in the graph, and the layer table is the same: runtimes fold them when they load the network.

    Args:
        example: two samples that it takes, or the shape of one, ``(C, H, W)``, where its input is one of floats.
        axes: axes of inputs that may have any length, see :class:`Graph`; costs are those of the example's lengths.

    Raises:
        InputError: the network does not run on that or cannot be traced.
    """
    batch = example_of(example)
    program = export_program(model, batch, axes)
    dynamic, free = free_axes(program, batch, axes or {})
    # export() lifts parameters by reference; passes write new tensors, so the caller's network must not share them
    module = copy_module(program.module(check_guards=False))
    if not make_functional(module):
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                program = program.run_decompositions({})  # knows every in-place operator and view, but takes longer
        except Exception as error:  # a buffer that grows in forward, for one
            raise InputError(
                f"the network cannot be traced: {words_of(error)}; its forward must not change shapes of its tensors"
            ) from error
        module = copy_module(program.module(check_guards=False))
    name_first(module, model)
    clean(module)
    folded = module if fold else copy_module(module)
    fold_batch_norm(folded)
    rows, node_of, numbers = read_rows(folded, batch.take(slice(0, 1)) if dynamic else batch)
    if not rows:
        raise InputError("the network has no layer that could be priced: no operator was found in its trace")
    table = LayerTable.from_rows(rows)
    return Graph(module, batch, table, node_of, dynamic, fold, numbers, free)

"""Any network as an ATen graph: traced by torch.export, cleaned, batch norm folded, read as a layer table.

torch.export runs the network's own Python, so control flow that symbolic tracing cannot follow is no obstacle. The
graph keeps the user's parameter names; every later step (sensitivity, quantization, ONNX) works on it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import torch
from torch import fx, nn

from netsmith.errors import InputError, shown
from netsmith.network.aliases import name_first
from netsmith.network.batch import written_batch
from netsmith.network.copying import copy_network
from netsmith.network.layers import LayerTable
from netsmith.network.passes import clean, fold_batch_norm, make_functional
from netsmith.network.rows import read_rows
from netsmith.usercode import words_of


@dataclass
class Graph:
    """A traced network.

    Attributes:
        module: ATen graph in inference form, callable like the network; parameters under the user's names.
        input_shape: ``(C, H, W)`` of one sample.
        layers: compute layers and glue in execution order.
        node_of: row name -> name of its node in ``module.graph``.
        dynamic_batch: False if the network only runs at the batch size it was traced with.
        folded: whether batch norm was merged into the layers before it.
        numbers: node -> for each tensor that it yields, how many numbers of 32 bits that has for one sample; nothing
            for constants. Norms that are not merged but will be have no entry.
    """

    module: fx.GraphModule
    input_shape: tuple[int, ...]
    layers: LayerTable
    node_of: dict[str, str]
    dynamic_batch: bool = True
    example_batch: int = 2
    folded: bool = True
    numbers: dict[str, tuple[float, ...]] = field(default_factory=dict)
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
    def warnings(self) -> list[str]:
        """What the network does and its graph, and with it every exported file, does not; one sentence each."""
        if self.dynamic_batch:
            return []
        return [
            f"exported files take batches of exactly {self.example_batch} images: the forward makes a plain number of "
            "the size of the batch, as len(x) does; take it as x.shape[0]"
        ]

    def copy(self) -> Graph:
        """A graph that shares nothing with this one."""
        return Graph(
            copy_module(self.module),
            self.input_shape,
            self.layers,
            self.node_of,
            self.dynamic_batch,
            self.example_batch,
            self.folded,
            self.numbers,
        )


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


def export_program(
    model: nn.Module, input_shape: tuple[int, ...], batch: int = 2
) -> tuple[torch.export.ExportedProgram, bool]:
    """Export ``model`` in eval mode with a free batch axis, or a fixed one where the network pins it.

    Raises:
        InputError: the network cannot run on this input, or its control flow depends on data.
    """
    model.eval()
    _check_names(model)
    x = random_input(batch, *input_shape)
    try:
        with torch.no_grad():
            model(x)
    except Exception as error:
        if written := written_batch(model, x):
            raise InputError(written) from error
        raise InputError(
            f"the network does not run on an input of shape {tuple(input_shape)}: {words_of(error)}; "
            "give the shape it expects with --input C,H,W"
        ) from error
    shapes = ({0: torch.export.Dim.AUTO},)
    reason: Exception = RuntimeError()
    for dynamic in (shapes, None):
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                program = torch.export.export(model, (x,), dynamic_shapes=dynamic, strict=False)
            free = bool(program.range_constraints)
            return program, free
        except Exception as error:
            reason = error
    raise InputError(
        f"the network cannot be traced: {words_of(reason)}; its forward must not branch on the values of tensors"
    ) from reason


def _check_names(model: nn.Module) -> None:
    """Refuse names of modules and tensors that torch writes into the code of a traced network as they are."""
    for name in (*dict(model.named_modules()), *dict(model.named_parameters()), *dict(model.named_buffers())):
        if set(name) & set('"\\\n\r'):
            raise InputError(
                f"the layer {shown(name)} has a quote, a backslash or a line break in its name, with which no network "
                "can be traced; give it another name"
            )


def trace(model: nn.Module, input_shape: tuple[int, ...], *, fold: bool = True) -> Graph:
    """Trace ``model`` for samples of ``input_shape`` (``(C, H, W)``).

    The model is left as it was. ``fold=True`` merges batch norm into the convolution or linear layer before it; without
    it the norms stay in the graph, and the layer table is the same: runtimes fold them when they load the network.

    Raises:
        InputError: the network does not run on that shape or cannot be traced.
    """
    batch = 2
    program, dynamic = export_program(model, tuple(input_shape), batch)
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
    rows, node_of, numbers = read_rows(folded, input_shape, 1 if dynamic else batch)
    if not rows:
        raise InputError("the network has no layer that could be priced: no operator was found in its trace")
    table = LayerTable.from_rows(rows)
    return Graph(module, tuple(input_shape), table, node_of, dynamic, batch, fold, numbers)

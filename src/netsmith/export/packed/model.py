"""Between a traced network and its packed file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netsmith.errors import InputError
from netsmith.export.packed.file import decode_packed
from netsmith.export.packed.size import Stored
from netsmith.export.packed.tensors import Array, CodebookTensor, LinearTensor, SparseTensor, Tensor

if TYPE_CHECKING:
    import torch
    from torch import fx, nn

    from netsmith.network.graph import Graph


def network_tensors(
    graph: Graph, quantized: Mapping[str, LinearTensor | CodebookTensor] | None = None
) -> dict[str, Tensor]:
    """Every tensor that a traced network reads, for :func:`write_packed`.

    Args:
        quantized: parameter name -> what is stored in place of the parameter.

    Raises:
        InputError: a quantized tensor that the network has not, or of another shape.
    """
    tensors: dict[str, Tensor] = dict(_state(graph))
    for name, tensor in (quantized or {}).items():
        if name not in tensors or tensors[name].shape != tensor.shape:
            raise InputError(
                f"the network has no weight {name} of shape {tensor.shape}: quantize the network that is packed"
            )
        tensors[name] = tensor
    return tensors


def with_positions(graph: Graph, tensors: Mapping[str, Tensor], sparse: Mapping[str, int]) -> dict[str, Tensor]:
    """The tensors of a traced network, those of sparse weights with only their largest entries.

    Args:
        sparse: parameter name -> how many of its weights are stored; all others are zero in ``graph``.

    Raises:
        InputError: a parameter that the network has not, or more of it that is not zero.
    """
    out, state = dict(tensors), _state(graph)
    for name, entries in sparse.items():
        if name not in state or np.count_nonzero(state[name]) > entries:
            raise InputError(f"the network has no weight {name} of {entries} entries among zeros: make it sparse first")
        tensor = out[name]
        assert not isinstance(tensor, SparseTensor)
        out[name] = SparseTensor.of_largest(tensor, state[name], entries)
    return out


def stored_tensors(graph: Graph) -> tuple[dict[str, Stored | None], dict[str, Array]]:
    """Where the tensors of a traced network stand in its packed file: ``stored`` and ``others`` of :func:`table_bytes`.

    A weight that several rows share is stored by the first; one that the network computes belongs to no row, and what
    it is computed from is among the others.
    """
    from netsmith.network.passes import LAYERS

    others = _state(graph)
    stored: dict[str, Stored | None] = {}
    for name, weights in zip(graph.layers.names, graph.layers.weights):
        if weights == 0:
            continue
        if graph.node(name).target not in LAYERS:  # a parameter of a product or a recurrent layer, stored as it is
            stored[name] = None
            continue
        args = graph.node(name).args
        weight, bias = _claim(args, 1, others), _claim(args, 2, others)
        if weight is not None:
            stored[name] = Stored(weight[0], bias[0] if bias else None, weight[1][2:])
            continue
        stored[name] = None
        if bias:  # a bias of its own beside a weight that it shares
            others[bias[0]] = _state(graph)[bias[0]]
    return stored, others


def load_packed(module: nn.Module, path: str | Path) -> None:
    """Load a packed file into a network, strictly: every tensor has its place and its shape.

    Args:
        module: the traced network, or ``Result.model``, the program of a finished run.
        path: its ``.nsw`` file.

    Raises:
        InputError: the file cannot be read, or holds the weights of another network.
    """
    import torch

    from netsmith.export.pt2 import Program

    state = {name: torch.from_numpy(np.array(array)) for name, array in decode_packed(path).items()}
    try:
        (module.program if isinstance(module, Program) else module).load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise InputError(
            f"{path} holds the weights of another network: {' '.join(str(error).split())[:300]}"
        ) from error


def check_packed(graph: Graph, path: str | Path) -> None:
    """Read a packed file back and hold it against the network that it was written of.

    Raises:
        InputError: it lacks a tensor that the network reads, or has other values of one.
    """
    if other := _other(decode_packed(path), _state(graph)):
        raise InputError(f"{path} does not hold {other} as the network has it; repeat the command that wrote it")


def packed_fault(program: nn.Module, path: str | Path) -> str:
    """The first tensor that a packed file does not hold as the program of a finished run has it; empty: it holds all.

    Raises:
        InputError: the file cannot be read.
    """
    have, want = decode_packed(path), {name: _array(t) for name, t in program.state_dict().items()}
    return _other(have, want) or next((name for name in have if name not in want), "")


def _other(stored: Mapping[str, Array], state: Mapping[str, Array]) -> str:
    """The first tensor of a network that is not among the stored ones, or has other values there; empty: none."""
    for name, want in state.items():
        got = stored.get(name)
        if got is None or got.shape != want.shape or not np.allclose(got, want, rtol=0, atol=_near(want)):
            return name
    return ""


def _near(values: Array) -> float:
    """How far a number may be off that is stored as an integer and a scale: a few units in the last place."""
    return 1e-6 * float(np.abs(values).max(initial=0.0)) if values.dtype.kind == "f" else 0.0


def _state(graph: Graph) -> dict[str, Array]:
    read = {str(node.target) for node in graph.module.graph.nodes if node.op == "get_attr"}
    return {name: _array(tensor) for name, tensor in graph.module.state_dict().items() if name in read}


def _array(tensor: torch.Tensor) -> Array:
    import torch

    tensor = tensor.detach().cpu()
    return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())


def _claim(args: tuple[Any, ...], i: int, left: dict[str, Array]) -> tuple[str, tuple[int, ...]] | None:
    """Name and shape of a parameter that a node reads directly and no row before it has; takes it out of ``left``."""
    node: fx.Node | None = args[i] if len(args) > i else None
    if node is None or node.op != "get_attr" or str(node.target) not in left:
        return None
    return str(node.target), left.pop(str(node.target)).shape

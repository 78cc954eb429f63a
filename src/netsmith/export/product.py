"""The finishing line: a network that is done becomes a product, files that agree and say how they are fed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from netsmith.data.batch import Some, some
from netsmith.data.feeding import Feeding
from netsmith.export.feeding import write_feeding
from netsmith.export.onnx import to_onnx
from netsmith.export.packed import Tensor, write_packed
from netsmith.export.packed.model import check_packed, network_tensors, with_positions
from netsmith.export.parity import EXACT, ROUNDED, Parity, check_parity, need_parity
from netsmith.export.pt2 import save_pt2
from netsmith.network.graph import Graph, count_parameters
from netsmith.network.weights import save_weights
from netsmith.runs.names import FORMATS

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import nn


class Place(Protocol):
    """Where the files of a product go: a run, or a folder by itself."""

    def path(self, name: str) -> Path:
        """Where a file lies."""
        ...

    def place(self, name: str) -> Path:
        """Where a file lies that is written now."""
        ...

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file atomically."""
        ...


COMPARED = 64  #: images on which an exported file is held against its network


@dataclass(frozen=True)
class Quantized:
    """What is other in a network that rounds.

    Attributes:
        exported: its ONNX model.
        tensors: what its packed file stores, by name.
    """

    exported: onnx.ModelProto
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Product:
    """A finished network.

    Attributes:
        files: what a file is for (``onnx``, ``pt2``, ``safetensors``, ``nsw``) -> where it is.
        parity: how well ``model.onnx`` agrees with the network that it was made of.
        size_bytes: bytes of ``model.nsw``; a size is that of this file wherever netsmith says one.
        macs: multiply-accumulates of one sample.
        params: parameters, those of shared layers once.
        feeding: how it is fed, as all files but ``model.nsw`` say it.
    """

    files: Mapping[str, Path]
    parity: Parity
    size_bytes: int
    macs: int
    params: int
    feeding: Feeding

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What makes an input of an image file, JSON values."""
        return self.feeding.preprocessing

    @property
    def labels(self) -> tuple[str, ...]:
        """A name a class, in the order of the outputs."""
        return self.feeding.labels

    @property
    def figures(self) -> dict[str, Any]:
        """What a summary says of it, JSON values."""
        return {
            "macs": self.macs, "params": self.params, "size_bytes": self.size_bytes,
            "parity": dataclasses.asdict(self.parity),
        }  # fmt: skip


def release(
    graph: Graph, run: Place, feeding: Feeding, examples: torch.Tensor | Some, *, model: nn.Module,
    metadata: Mapping[str, str], quantized: Quantized | None = None, huffman: bool = False, where: str = "",
    sparse: Mapping[str, int] | None = None,
) -> Product:  # fmt: skip
    """Write every file of a finished network into its place, and check that what is exported computes what it computes.

    Args:
        graph: the network as it computes, rounding included.
        run: where the files go; the run whose stage this is.
        feeding: how the network is fed.
        examples: what the network takes; the first 64 are compared.
        model: the network in floats, whose weights ``model.safetensors`` holds.
        metadata: for the header of that file, beside what ``feeding`` says.
        quantized: where the network rounds, which the graph alone does not say in integers.
        huffman: code the weights of ``model.nsw`` where that is smaller.
        where: folder inside the run, with a slash at its end; the run's own network lies in no folder.
        sparse: parameters most of whose numbers are zero, with how many of them ``model.nsw`` stores.

    Raises:
        InputError: the network cannot be exported, or a network in floats is not what its file computes; one that
            rounds may differ from its file, and ``parity`` says so. Or what is read back from ``model.nsw`` is not what
            the network computes with.
    """
    places = {kind: f"{where}{name}" for kind, name in FORMATS.items()}
    path = write_onnx(run, places["onnx"], quantized.exported if quantized else to_onnx(graph), feeding)
    parity = check_onnx(graph, path, examples, rounds=quantized is not None)
    save_pt2(graph, run.place(places["pt2"]), feeding.metadata)
    save_weights(run.place(places["safetensors"]), model.state_dict(), {**metadata, **feeding.metadata})
    tensors = quantized.tensors if quantized else network_tensors(graph)
    tensors = with_positions(graph, tensors, sparse or {})
    size = write_packed(run.place(places["nsw"]), tensors, huffman=huffman)
    check_packed(graph, run.path(places["nsw"]))
    files = {kind: run.path(name) for kind, name in places.items()}
    return Product(files, parity, size, int(graph.layers.macs.sum()), count_parameters(model), feeding)


def write_onnx(run: Place, name: str, model: onnx.ModelProto, feeding: Feeding) -> Path:
    """Write an ONNX model into a run, with what it says of how it is fed."""
    write_feeding(model, feeding)
    return run.write_bytes(name, model.SerializeToString())


def check_onnx(graph: Graph, path: Path, examples: torch.Tensor | Some, *, rounds: bool = False) -> Parity:
    """How well an exported file agrees with the network that it was made of.

    Raises:
        InputError: ONNX Runtime does not run it, or it is another network and rounding cannot be why.
    """
    batch = None if graph.dynamic_batch else graph.example_batch
    tolerance = ROUNDED if rounds else EXACT
    few = next(some(examples).batches(COMPARED), None)
    assert few is not None
    parity = check_parity(graph.module, path, few, tolerance=tolerance, batch=batch)
    if not rounds:
        need_parity(parity)
    return parity

"""A product's network, trained on in a user's own loop, exported again: with the bits of its design."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from netsmith.compression.build import is_int8, quantizer_for
from netsmith.compression.mixed import Bits, quantize_mixed
from netsmith.compression.quantize import QuantizedGraph, packed_tensors
from netsmith.compression.recipe import Recipe
from netsmith.compression.reorder import reordered
from netsmith.compression.sparsify import Sparse, make_sparse, sparse_of
from netsmith.data.batch import Batch
from netsmith.data.feeding import Feeding
from netsmith.data.normalise import Normalisation
from netsmith.errors import InputError, shown
from netsmith.export.feeding import read_feeding
from netsmith.export.onnx import to_onnx
from netsmith.export.product import Product, Quantized, release
from netsmith.files import check_place, write_atomic
from netsmith.jobs.export import is_export
from netsmith.jobs.integers import export_integers
from netsmith.network.copying import copy_network
from netsmith.network.examples import read_examples
from netsmith.network.graph import Graph, random_input, trace
from netsmith.network.layers import FLOAT
from netsmith.network.ports import BATCH
from netsmith.network.weights import check_finite_parameters, read_metadata, read_weights
from netsmith.network.zoo.blueprint import read_blueprint
from netsmith.runs.names import CONFIG, EXAMPLES, FORMATS

if TYPE_CHECKING:
    import onnx

RECIPE, NETWORK = "recipe.json", "network.json"  #: how the structure is built, whichever the product has


@dataclass(frozen=True)
class Folder:
    """A place for a product that belongs to no run."""

    root: Path

    def path(self, name: str) -> Path:
        """Where a file of the product lies."""
        return self.root / name

    place = path

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file atomically."""
        write_atomic(self.path(name), content)
        return self.path(name)


def export_tuned(
    model: nn.Module,
    product: Mapping[str, Path],
    out: Path,
    images: torch.Tensor | Batch | None,
    how: Mapping[str, Any],
) -> Product:
    """Write a network that was trained on as a product, in integers or few bits where the product before it had them.

    Args:
        model: what came from ``Result.float_model``, with other weights; it stays as it is.
        product: files of the product that it was.
        out: folder for the new product, made if needed.
        images: for the ranges of layers that read few bits: uint8 pixels or normalised floats, ``(N, *input_shape)``;
            of another task a batch of its examples.
        how: ``exported_with`` of the summary.

    Raises:
        InputError: ``model`` is another network, images are needed and not there or of another shape, or a file cannot
            be written, or would replace what is no export.
    """
    _check_folder(out)
    feeding = read_feeding(product["safetensors"])
    model = _checked(model, product["safetensors"])
    recipe = Recipe.read(product["recipe"]) if "recipe" in product else Recipe()
    bits, sparse = _bits(recipe), sparse_of(recipe.steps)
    make_sparse(model, sparse)  # training that knew nothing of the zeros may have filled them
    seen = _seen(
        images, feeding, product["safetensors"].parent, needed=any(a_bits < FLOAT for _, a_bits in bits.values())
    )
    example = feeding.input_shape if isinstance(seen, torch.Tensor) else seen.take(slice(0, 2))
    method, kept = how.get("calibration") or "mse", bits
    if bits and is_int8(bits):
        given = trace(model, example, axes=_axes(feeding, model))
        built = export_integers(
            model, given, bits, seen, method, how.get("floats") is not False, bool(how.get("reorder"))
        )
        graph, rounded, exported, kept = built.graph, built.quantized, built.model, built.bits
        recipe = dataclasses.replace(recipe, quantize={"int8": list(kept)})
    else:
        graph = trace(model, example, axes=_axes(feeding, model), fold=not (_is_shared(bits) or sparse))
        graph = reordered(graph) if how.get("reorder") else graph
        rounded, exported = _in_few_bits(graph, bits, seen, method, sparse)
    done = release(
        rounded.graph if rounded else graph, Folder(out), feeding, seen, model=model,
        metadata=read_metadata(product["safetensors"]), huffman=bool(how.get("huffman")),
        quantized=Quantized(exported, packed_tensors(rounded)) if rounded else None, sparse=sparse,
    )  # fmt: skip
    if "recipe" in product:
        write_atomic(out / RECIPE, recipe.to_json().encode())
    if "network" in product:
        write_atomic(out / NETWORK, product["network"].read_bytes())
    return done


def _in_few_bits(
    graph: Graph, bits: Bits, images: torch.Tensor | Batch, method: str, sparse: Sparse
) -> tuple[QuantizedGraph | None, onnx.ModelProto]:
    """The network in a width for each layer, and its ONNX model; in floats where there are no bits."""
    missing = [layer for layer in bits if layer not in graph.node_of]
    if missing:
        raise InputError(f"model does not run its layer {missing[0]!r}, which has {bits[missing[0]][0]} bits")
    if not bits:
        return None, to_onnx(graph)
    rounded = quantize_mixed(graph, bits, quantizer_for(graph, bits, images, method, sparse=sparse))
    return rounded, to_onnx(rounded.graph, rounded.weight_scales, integer_bias=False)


def _is_shared(bits: Bits) -> bool:
    """Whether weights are indices into codebooks, and layers read floats."""
    return bool(bits) and all(a_bits == FLOAT for _, a_bits in bits.values())


def _check_folder(out: Path) -> None:
    """Before any work: nothing but an earlier export may be replaced."""
    if (out / CONFIG).exists():
        raise InputError(f"{out} is the folder of a run, which stays as it is; choose another one")
    marks: dict[str, Callable[[Path], bool]] = {name: partial(_is_export, kind) for kind, name in FORMATS.items()}
    marks |= {RECIPE: partial(_reads, Recipe.read), NETWORK: partial(_reads, read_blueprint)}
    for name, own in marks.items():
        check_place(out / name, "the product's", own=own, what="what netsmith exported")


def _is_export(kind: str, path: Path) -> bool:
    return is_export(path, kind)


def _reads(read: Callable[[Path], Any], path: Path) -> bool:
    try:
        read(path)
    except InputError:
        return False
    return True


def _checked(model: nn.Module, weights: Path) -> nn.Module:
    """A copy of the network on the CPU, in floats of 32 bits and eval mode, if it has the tensors of ``weights``."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model is {type(model).__name__}, no torch.nn.Module; give what came from float_model")
    copy = copy_network(model).cpu().float().eval()
    own = {name: tuple(t.shape) for name, t in copy.state_dict().items() if isinstance(t, torch.Tensor)}
    expected = {name: tuple(t.shape) for name, t in read_weights(weights)[0].items()}
    for name in [n for n in (*expected, *own) if own.get(n) != expected.get(n)][:1]:
        has, should = (f"the shape {t[name]}" if name in t else "none" for t in (own, expected))
        raise InputError(f"model is no network of this product: for {name!r} it has {has}, and the product {should}")
    check_finite_parameters(copy, "model")
    return copy


def _bits(recipe: Recipe) -> Bits:
    """(Weight, activation) widths of the layers of a design that do not run in floats."""
    pairs = recipe.quantize.get("bits", {})
    return dict.fromkeys(recipe.quantize.get("int8", ()), (8, 8)) | {n: (int(w), int(a)) for n, (w, a) in pairs.items()}


def _axes(feeding: Feeding, model: nn.Module) -> dict[str, dict[int, str]]:
    """The axes of the inputs, beside that of the batch, that may have any length, as the product says them."""
    names = set(inspect.signature(model.forward).parameters)
    alone = next(iter(inspect.signature(model.forward).parameters), "")
    found = {
        alone if len(feeding.takes) == 1 and port.name not in names else port.name: {
            axis: word for axis, word in enumerate(port.shape) if isinstance(word, str) and word != BATCH
        }
        for port in feeding.takes
    }
    return {name: axes for name, axes in found.items() if axes and name in names}


def _seen(
    images: torch.Tensor | Batch | None, feeding: Feeding, folder: Path, *, needed: bool
) -> torch.Tensor | Batch:  # fmt: skip
    """Normalised images, or examples of another task; where they only have to show that the files agree, any."""
    if isinstance(images, Batch):
        return images
    if images is None:
        kept = folder / EXAMPLES
        if not needed and kept.is_file():
            return read_examples(kept)
        if needed:
            raise InputError(
                "layers of this product read few bits, whose ranges come from images: give export some as images=..., "
                "uint8 pixels or normalised floats"
            )
        return random_input(64, *feeding.input_shape)
    try:
        images = torch.as_tensor(images)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"images must be a tensor or an array, not {shown(images)}") from error
    if not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise InputError(f"images are {images.dtype}; give uint8 pixels, or floats as the network reads them")
    if images.ndim != len(feeding.input_shape) + 1 or images.shape[1:] != feeding.input_shape or not len(images):
        shape = "x".join(map(str, feeding.input_shape))
        raise InputError(f"images have the shape {tuple(images.shape)}; the network reads N of {shape}")
    if images.dtype != torch.uint8:
        if not bool(images.isfinite().all()):
            raise InputError("images have values that are not finite; repair or leave them out")
        return images.detach().cpu().float()
    if feeding.mean is None or feeding.std is None:
        raise InputError("images are uint8, and the network reads numbers as they are; give floats")
    return Normalisation(feeding.mean, feeding.std)(images.cpu(), channels_last=True)  # as the search reads them

"""What a packed file will weigh, before anything is quantized: exact to the byte without Huffman coding.

A search adds these figures up: the fixed part of the file plus the bytes of each layer that is there, its record, its
codes, its scales or codebook, and its bias. ``CodebookTensor`` holds at most as many values as are priced here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netsmith.errors import InputError
from netsmith.export.packed.bits import MAX_BITS, packed_length
from netsmith.export.packed.file import file_bytes
from netsmith.export.packed.positions import positions_length
from netsmith.export.packed.records import PLAIN
from netsmith.export.packed.tensors import codebook_size
from netsmith.export.packed.varints import varint_length
from netsmith.network.layers import KIND, LayerTable

IntArray = NDArray[np.int64]
#: ``linear`` has one scale a channel, ``linear-tensor`` one a layer, ``kmeans`` a codebook a layer.
Scheme = Literal["linear", "linear-tensor", "kmeans"]
_FLOAT = 4  # bytes
_KIND_AND_AXES = 2  # bytes


@dataclass(frozen=True)
class Stored:
    """How a row's tensors stand in the file, where that is not ``ROW.weight`` and ``ROW.bias``.

    Attributes:
        weight: name of the weight.
        bias: name of the bias, None if there is none or another row stores it.
        kernel: the weight's axes after ``(C_out, C_in / groups)``; () for a linear layer.
    """

    weight: str
    bias: str | None
    kernel: tuple[int, ...] = ()


def packed_bytes(
    weights: ArrayLike, c_out: ArrayLike, bits: ArrayLike, scheme: Scheme = "linear", *, record: ArrayLike = 0,
    entries: ArrayLike = 0,
) -> IntArray:  # fmt: skip
    """Bytes of weights in a packed file.

    Args:
        weights, c_out: numbers of weights and output channels, any shapes that broadcast, e.g. ``(L, 1)``.
        bits: 1 to 8; 16 and 32 are plain float arrays. Any shape that broadcasts, e.g. ``(K,)``.
        record: bytes before the payload, :func:`record_bytes`.
        entries: weights that are stored, with their positions; 0 for all.

    Returns:
        Bytes in the common shape, e.g. ``(L, K)``.

    Raises:
        InputError: a bit-width or scheme that no file has.
    """
    if scheme not in get_args(Scheme):
        raise InputError(f"there is no scheme {scheme!r} of packed weights: choose {', '.join(get_args(Scheme))}")
    total, c, b, record, some = (np.asarray(a, dtype=np.int64) for a in (weights, c_out, bits, record, entries))
    n = np.where(some > 0, some, total)
    plain = (b == 16) | (b == 32)
    wrong = np.unique(b[~plain & ((b < 1) | (b > MAX_BITS))])
    if wrong.size:
        raise InputError(f"weights of {wrong[0]} bits cannot be packed: choose 1 to {MAX_BITS}, 16 or 32")
    side = _FLOAT * (c if scheme == "linear" else np.ones_like(c))
    if scheme == "kmeans":
        side = np.where(n > 0, 1 + _FLOAT * codebook_size(n, np.where(plain, 1, b)), 0)
    places = np.where(some > 0, varint_length(some) + 1 + positions_length(total, some), 0)
    return np.asarray(record + places + packed_length(n, b) + np.where(plain, 0, side), dtype=np.int64)


def record_bytes(name_bytes: ArrayLike, axes: ArrayLike, present: ArrayLike = True) -> IntArray:
    """Bytes of a tensor's name, kind and shape, ``(...)``.

    Args:
        name_bytes: length of the name in UTF-8, ``(...)``.
        axes: lengths of the axes, ``(..., A)``.
        present: which axes the tensor has, ``(..., A)``.
    """
    name = np.asarray(name_bytes, dtype=np.int64)
    shape = np.where(present, varint_length(axes), 0).sum(axis=-1)
    return np.asarray(varint_length(name) + name + _KIND_AND_AXES + shape, dtype=np.int64)


def layer_bytes(
    table: LayerTable, scheme: Scheme = "linear", *, stored: Mapping[str, Stored | None] | None = None
) -> IntArray:
    """Bytes that each row adds to a packed file, ``(..., L)``; 0 for rows without weights.

    Args:
        stored: by row name, how its tensors stand in the file; None for a row whose weight another row stores.

    Raises:
        InputError: as :func:`packed_bytes`.
    """
    shapes = _Shapes(table, stored or {})
    has = (table.weights > 0) & shapes.own
    record = record_bytes(shapes.weight_name, shapes.axes, shapes.present)
    weight = packed_bytes(
        table.weights, table.c_out, np.where(has, table.w_bits, 32), scheme, record=record,
        entries=np.where(has, table.entries, 0),
    )  # fmt: skip
    bias = record_bytes(shapes.bias_name, table.c_out[..., None]) + _FLOAT * table.c_out
    return np.where(has, weight + np.where((table.bias > 0) & shapes.biased, bias, 0), 0)


def table_bytes(
    table: LayerTable,
    bits: ArrayLike,
    scheme: Scheme = "linear",
    *,
    others: Mapping[str, tuple[int, ...] | NDArray[Any]] | None = None,
    stored: Mapping[str, Stored | None] | None = None,
) -> tuple[int, IntArray]:
    """The size of a network's packed file for every bit-width of every row.

    Args:
        table: rows ``(L,)``, batch norm folded.
        bits: the choices ``(K,)``, 1 to 8, 16 or 32.
        others: tensors that no row has (norms, embeddings, buffers): shapes of float32 ones, or the arrays.
        stored: as :func:`layer_bytes`.

    Returns:
        Bytes that do not depend on the choices, and those of each row at each choice ``(L, K)``. Their sum is the
        file's size.

    Raises:
        InputError: as :func:`packed_bytes`.
    """
    fixed = file_bytes() + sum(_array_bytes(name, other) for name, other in (others or {}).items())
    choices = np.asarray(bits, dtype=np.int64).reshape(-1, 1)
    return fixed, layer_bytes(table.replace(w_bits=np.where(True, choices, table.w_bits)), scheme, stored=stored).T


class _Shapes:
    """Lengths of names and axes of each row's tensors, which the columns alone do not say."""

    def __init__(self, table: LayerTable, stored: Mapping[str, Stored | None]) -> None:
        rows = [stored.get(name, Stored(f"{name}.weight", f"{name}.bias")) for name in table.names]
        self.own = np.array([row is not None for row in rows], dtype=bool)
        self.weight_name = np.array([len(row.weight.encode()) if row else 0 for row in rows], dtype=np.int64)
        self.bias_name = np.array([len((row.bias or "").encode()) if row else 0 for row in rows], dtype=np.int64)
        self.biased = np.array([row is not None and row.bias is not None for row in rows], dtype=bool)
        # a kernel over one or three axes is folded into two columns of the table: its own axes count then
        given = [row.kernel if row and name in stored else None for name, row in zip(table.names, rows)]
        width = max([2, *(len(k) for k in given if k is not None)])
        kernel = np.ones((*table.kind.shape, width), dtype=np.int64)
        kernel[..., 0], kernel[..., 1] = table.kernel_h, table.kernel_w
        present = np.zeros_like(kernel, dtype=bool)
        present[..., :2] = table.is_conv[..., None]
        for i, axes in enumerate(given):
            if axes is not None:
                kernel[..., i, : len(axes)], present[..., i, :] = axes, np.arange(width) < len(axes)
        transposed = table.kind == KIND["conv_transpose"]
        first, second = np.where(transposed, (table.c_in, table.c_out), (table.c_out, table.c_in))
        channels = np.stack([first, second // table.groups], axis=-1)
        self.axes = np.concatenate([channels, kernel], axis=-1)
        self.present = np.concatenate([np.ones_like(channels, dtype=bool), present], axis=-1)


def _array_bytes(name: str, other: tuple[int, ...] | NDArray[Any]) -> int:
    shape, dtype = (other.shape, other.dtype) if isinstance(other, np.ndarray) else (other, np.dtype(np.float32))
    if dtype not in PLAIN.values():
        raise InputError(f"{name} cannot be packed, it is of type {dtype}: give a float, int32, int64 or bool array")
    axes = np.array(shape, dtype=np.int64)
    return int(record_bytes(len(name.encode()), axes)) + int(axes.prod()) * dtype.itemsize

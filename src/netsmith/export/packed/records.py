"""The record of one tensor in a packed file: name, scheme, bits and shape, followed by its payload.

=========  ==================================================================================
name       length as a varint, then UTF-8
kind       one byte: bits 0-2 the scheme, bits 3-5 bits a weight - 1, bit 6 Huffman coded,
           bit 7 one scale for the whole tensor
shape      number of axes, one byte, then each length as a varint; bit 7 of the number is set
           for a sparse tensor
entries    of a sparse tensor: their number as a varint, how their positions are stored, one
           byte, and the positions (:mod:`netsmith.export.packed.positions`); the payload is
           then that of so many weights
payload    linear: float32 scales, then codes; codebook: number of values - 1 (one byte, absent
           for an empty tensor), float32 values, then codes; otherwise the array itself
=========  ==================================================================================

A varint has 7 bits a byte, the lowest first, and the highest bit set in all bytes but the last. Nothing is padded, so
the length of a record follows from name, scheme, bits, shape and number of entries alone unless it is Huffman coded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.export.packed import huffman
from netsmith.export.packed.bits import Codes, pack, packed_length, unpack
from netsmith.export.packed.huffman import Coded
from netsmith.export.packed.positions import (
    IntArray,
    encode_positions,
    gap_bits,
    parse_positions,
    positions_of_gaps,
)
from netsmith.export.packed.tensors import CodebookTensor, LinearTensor, SparseTensor, Tensor, need_entries
from netsmith.export.packed.varints import varint

LINEAR, CODEBOOK = 0, 1
#: arrays stored as they are: scheme -> type
PLAIN: dict[int, np.dtype[Any]] = {
    scheme: np.dtype(code) for scheme, code in enumerate(("<f4", "<i8", "<f2", "<f8", "<i4", "?"), start=2)
}
_HUFFMAN, _ONE_SCALE = 1 << 6, 1 << 7
_SPARSE, _MAX_AXES = 1 << 7, 64


@dataclass(frozen=True)
class Parsed:
    """A record as it was read: what is Huffman coded in it, and what makes the tensor once that is decoded."""

    coded: tuple[Coded, ...]
    finish: Callable[[Sequence[Codes]], Tensor]


class Cursor:
    """Reads a buffer from its start; every step checks that so much is left."""

    def __init__(self, content: memoryview) -> None:
        self.content, self.at = content, 0

    def take(self, count: int) -> memoryview:
        """The next ``count`` bytes.

        Raises:
            InputError: fewer are left.
        """
        if count > len(self.content) - self.at:
            raise InputError("it ends too early")
        self.at += count
        return self.content[self.at - count : self.at]

    def varint(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 56:
                raise InputError("a length in it is too large")

    def array(self, count: int, dtype: Any) -> NDArray[Any]:
        """The next ``count`` numbers, copied, in this machine's byte order."""
        data = np.frombuffer(self.take(count * np.dtype(dtype).itemsize), dtype=dtype)
        return data.astype(data.dtype.newbyteorder("="))


def write_record(name: str, tensor: Tensor, code: bool) -> bytes:
    """One tensor; with ``code`` its integers and positions are Huffman coded if that is smaller.

    Raises:
        InputError: an array of a type that is not stored.
    """
    if isinstance(tensor, SparseTensor):
        kind, payload = _content(name, tensor.tensor, code, tensor.positions)
        positions = encode_positions(tensor.positions, prod(tensor.shape), code)
        return _head(name, kind, tensor.shape, _SPARSE) + varint(len(tensor.positions)) + positions + payload
    kind, payload = _content(name, tensor, code)
    return _head(name, kind, tensor.shape) + payload


def read_record(cursor: Cursor) -> tuple[str, Parsed]:
    """The next tensor and its name.

    Raises:
        InputError: the record is damaged.
    """
    name = _text(cursor.take(cursor.varint()))
    kind = cursor.take(1)[0]
    axes = cursor.take(1)[0]
    sparse, axes = bool(axes & _SPARSE), axes & ~_SPARSE
    if axes > _MAX_AXES:
        raise InputError(f"the tensor {name!r} has {axes} axes, more than {_MAX_AXES}")
    shape = tuple(cursor.varint() for _ in range(axes))
    if not sparse:
        coded, make = _read_payload(cursor, name, kind, shape, prod(shape))
        return name, Parsed(coded, lambda found: make(found, None))
    entries = cursor.varint()
    need_entries(prod(shape), entries)
    gaps, place = _read_positions(cursor, prod(shape), entries)
    coded, make = _read_payload(cursor, name, kind, shape, entries)
    return name, Parsed((*gaps, *coded), lambda found: make(found[len(gaps) :], place(found)))


def _content(
    name: str, tensor: LinearTensor | CodebookTensor | NDArray[Any], code: bool, at: IntArray | None = None
) -> tuple[int, bytes]:
    """The byte of the kind and the payload of all weights, or of those ``at`` these positions."""
    if isinstance(tensor, (LinearTensor, CodebookTensor)):
        codes, bits = tensor.codes() if at is None else tensor.codes()[at], tensor.bits
        coded = huffman.encode(codes, bits) if code else None
        content = pack(codes, bits) if coded is None else coded.tobytes()
        kind = (bits - 1) << 3 | (0 if coded is None else _HUFFMAN)
        if isinstance(tensor, LinearTensor):
            kind |= LINEAR | (_ONE_SCALE if tensor.scale.shape == (1,) else 0)
            return kind, tensor.scale.astype("<f4").tobytes() + content
        size = bytes([tensor.values.size - 1]) if tensor.values.size else b""
        return kind | CODEBOOK, size + tensor.values.astype("<f4").tobytes() + content
    for scheme, dtype in PLAIN.items():
        if isinstance(tensor, np.ndarray) and tensor.dtype == dtype:
            return scheme, (tensor if at is None else tensor.reshape(-1)[at]).astype(dtype).tobytes()
    found = tensor.dtype if isinstance(tensor, np.ndarray) else type(tensor).__name__
    raise InputError(f"{name} cannot be packed, it is of type {found}: give a float, int32, int64 or bool array")


#: The tensor of decoded codes, none where nothing is coded, at positions, None for all.
_Make = Callable[[Sequence[Codes], IntArray | None], Tensor]


def _read_payload(
    cursor: Cursor, name: str, kind: int, shape: tuple[int, ...], count: int
) -> tuple[tuple[Coded, ...], _Make]:
    scheme, bits = kind & 7, (kind >> 3 & 7) + 1
    if scheme in PLAIN:
        array = cursor.array(count, PLAIN[scheme])
        return (), lambda _, at: _placed(array, shape, at, 0, lambda full: full)
    if scheme == LINEAR and shape:
        scale = cursor.array(1 if kind & _ONE_SCALE else shape[0], "<f4")
        zero = 2 ** (bits - 1) - 1 if bits > 1 else 0

        def linear(codes: Codes, at: IntArray | None) -> Tensor:
            return _placed(codes, shape, at, zero, lambda full: LinearTensor.from_codes(full, scale, bits))

        return _read_codes(cursor, count, bits, kind, linear)
    if scheme == CODEBOOK:
        values = cursor.array(cursor.take(1)[0] + 1 if count else 0, "<f4")

        def shared(codes: Codes, at: IntArray | None) -> Tensor:
            return _placed(codes, shape, at, 0, lambda full: CodebookTensor(full, values, bits))

        return _read_codes(cursor, count, bits, kind, shared)
    raise InputError(f"the tensor {name!r} is stored in a way that is not known")


def _read_codes(
    cursor: Cursor, count: int, bits: int, kind: int, make: Callable[[Codes, IntArray | None], Tensor]
) -> tuple[tuple[Coded, ...], _Make]:
    if not kind & _HUFFMAN:
        codes = unpack(cursor.take(packed_length(count, bits)), count, bits)
        return (), lambda _, at: make(codes, at)
    coded, used = huffman.parse(cursor.content[cursor.at :], count, bits)
    cursor.take(used)
    return (coded,), lambda found, at: make(found[0], at)


def _read_positions(
    cursor: Cursor, weights: int, entries: int
) -> tuple[tuple[Coded, ...], Callable[[Sequence[Codes]], IntArray]]:
    """What is Huffman coded of positions, and the positions once that is decoded."""
    way = cursor.take(1)[0]
    bits = gap_bits(way)
    if bits is None:
        positions, used = parse_positions(way, cursor.content[cursor.at :], weights, entries)
        cursor.take(used)
        return (), lambda _: positions
    symbols = cursor.varint()
    coded, used = huffman.parse(cursor.content[cursor.at :], symbols, bits)
    cursor.take(used)
    return (coded,), lambda found: positions_of_gaps(found[0], bits, weights, entries)


def _head(name: str, kind: int, shape: tuple[int, ...], mark: int = 0) -> bytes:
    text = name.encode()
    return varint(len(text)) + text + bytes([kind, len(shape) | mark]) + b"".join(varint(n) for n in shape)


def _placed(
    stored: NDArray[Any], shape: tuple[int, ...], at: IntArray | None, zero: int, make: Callable[[NDArray[Any]], Any]
) -> Tensor:
    """The tensor of what is stored of all weights, or of those ``at`` positions among codes of ``zero``."""
    if at is None:
        found: Tensor = make(_shaped(stored, shape))
        return found
    full = np.full(prod(shape), zero, dtype=stored.dtype)
    full[at] = stored
    return SparseTensor(make(_shaped(full, shape)), at)


def _shaped(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        return array.reshape(shape)
    except ValueError as error:  # an empty array with another axis of absurd length
        raise InputError("the shape of a tensor is too large") from error


def _text(content: memoryview) -> str:
    try:
        return bytes(content).decode()
    except UnicodeDecodeError as error:
        raise InputError("the name of a tensor is no text") from error

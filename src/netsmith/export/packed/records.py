"""The record of one tensor in a packed file: name, scheme, bits and shape, followed by its payload.

=========  ==================================================================================
name       length as a varint, then UTF-8
kind       one byte: bits 0-2 the scheme, bits 3-5 bits a weight - 1, bit 6 Huffman coded,
           bit 7 one scale for the whole tensor
shape      number of axes, one byte, then each length as a varint
payload    linear: float32 scales, then codes; codebook: number of values - 1 (one byte, absent
           for an empty tensor), float32 values, then codes; otherwise the array itself
=========  ==================================================================================

A varint has 7 bits a byte, the lowest first, and the highest bit set in all bytes but the last. Nothing is padded, so
the length of a record follows from name, scheme, bits and shape alone unless it is Huffman coded.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.export.packed import huffman
from netsmith.export.packed.bits import Codes, pack, packed_length, unpack
from netsmith.export.packed.huffman import Coded
from netsmith.export.packed.tensors import CodebookTensor, LinearTensor, Tensor

LINEAR, CODEBOOK = 0, 1
#: arrays stored as they are: scheme -> type
PLAIN: dict[int, np.dtype[Any]] = {
    scheme: np.dtype(code) for scheme, code in enumerate(("<f4", "<i8", "<f2", "<f8", "<i4", "?"), start=2)
}
_HUFFMAN, _ONE_SCALE = 1 << 6, 1 << 7
_MAX_AXES = 64

#: A tensor whose codes are at hand, or the coded ones and what makes a tensor of them once they are decoded.
Parsed = Tensor | tuple[Coded, Callable[[Codes], Tensor]]


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


def varint(value: int) -> bytes:
    """A number of 0 or more, 7 bits a byte."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_length(value: Any) -> Any:
    """Bytes of :func:`varint` for each number of an array."""
    value = np.asarray(value, dtype=np.int64)
    longest = int(value.max(initial=0)).bit_length()
    length = np.ones_like(value)
    for shift in range(7, longest, 7):
        length += value >> shift > 0
    return length


def write_record(name: str, tensor: Tensor, code: bool) -> bytes:
    """One tensor; with ``code`` its integers are Huffman coded if that is smaller.

    Raises:
        InputError: an array of a type that is not stored.
    """
    if isinstance(tensor, (LinearTensor, CodebookTensor)):
        return _write_codes(name, tensor, code)
    for scheme, dtype in PLAIN.items():
        if isinstance(tensor, np.ndarray) and tensor.dtype == dtype:
            return _head(name, scheme, tensor.shape) + tensor.astype(dtype).tobytes()
    found = tensor.dtype if isinstance(tensor, np.ndarray) else type(tensor).__name__
    raise InputError(f"{name} cannot be packed, it is of type {found}: give a float, int32, int64 or bool array")


def read_record(cursor: Cursor) -> tuple[str, Parsed]:
    """The next tensor and its name.

    Raises:
        InputError: the record is damaged.
    """
    name = _text(cursor.take(cursor.varint()))
    kind = cursor.take(1)[0]
    axes = cursor.take(1)[0]
    if axes > _MAX_AXES:
        raise InputError(f"the tensor {name!r} has {axes} axes, more than {_MAX_AXES}")
    shape = tuple(cursor.varint() for _ in range(axes))
    scheme, bits, count = kind & 7, (kind >> 3 & 7) + 1, prod(shape)
    if scheme in PLAIN:
        return name, _shaped(cursor.array(count, PLAIN[scheme]), shape)
    if scheme == LINEAR and shape:
        scale = cursor.array(1 if kind & _ONE_SCALE else shape[0], "<f4")

        def linear(codes: Codes) -> Tensor:
            return LinearTensor.from_codes(_shaped(codes, shape), scale, bits)

        return name, _read_codes(cursor, count, bits, kind, linear)
    if scheme == CODEBOOK:
        values = cursor.array(cursor.take(1)[0] + 1 if count else 0, "<f4")
        return name, _read_codes(cursor, count, bits, kind, lambda c: CodebookTensor(_shaped(c, shape), values, bits))
    raise InputError(f"the tensor {name!r} is stored in a way that is not known")


def _write_codes(name: str, tensor: LinearTensor | CodebookTensor, code: bool) -> bytes:
    codes, bits = tensor.codes(), tensor.bits
    coded = huffman.encode(codes, bits) if code else None
    content = pack(codes, bits) if coded is None else coded.tobytes()
    kind = (bits - 1) << 3 | (0 if coded is None else _HUFFMAN)
    if isinstance(tensor, LinearTensor):
        kind |= LINEAR | (_ONE_SCALE if tensor.scale.shape == (1,) else 0)
        return _head(name, kind, tensor.shape) + tensor.scale.astype("<f4").tobytes() + content
    size = bytes([tensor.values.size - 1]) if tensor.values.size else b""
    return _head(name, kind | CODEBOOK, tensor.shape) + size + tensor.values.astype("<f4").tobytes() + content


def _read_codes(cursor: Cursor, count: int, bits: int, kind: int, finish: Callable[[Codes], Tensor]) -> Parsed:
    if not kind & _HUFFMAN:
        return finish(unpack(cursor.take(packed_length(count, bits)), count, bits))
    coded, used = huffman.parse(cursor.content[cursor.at :], count, bits)
    cursor.take(used)
    return coded, finish


def _head(name: str, kind: int, shape: tuple[int, ...]) -> bytes:
    text = name.encode()
    return varint(len(text)) + text + bytes([kind, len(shape)]) + b"".join(varint(n) for n in shape)


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

"""Unsigned integers of 1 to 8 bits, packed into bytes without gaps, the first value in the highest bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netsmith.errors import InputError

Codes = NDArray[np.uint8]
MAX_BITS = 8


def packed_length(count: Any, bits: Any) -> Any:
    """Bytes that ``count`` values of ``bits`` bits take; numbers or arrays that broadcast."""
    return (count * bits + 7) // 8


def pack(values: ArrayLike, bits: int) -> bytes:
    """Pack values of any shape, in C order; the last byte is filled up with zeros.

    Raises:
        InputError: a value that does not fit into ``bits``, or ``bits`` outside 1 to 8.
    """
    _check(bits)
    codes = np.ascontiguousarray(values, dtype=np.uint8).ravel()
    if bits < MAX_BITS and codes.size and int(codes.max()) >> bits:
        raise InputError(f"{int(codes.max())} does not fit into {bits} bits: give values of 0 to {2**bits - 1}")
    if bits == MAX_BITS:
        return codes.tobytes()
    # eight values fill exactly `bits` bytes: put them into one 64-bit word and keep its low bytes
    groups = np.zeros((-(-codes.size // 8), 8), dtype=np.uint8)
    groups.ravel()[: codes.size] = codes
    words = np.zeros(len(groups), dtype=np.uint64)
    for i in range(8):
        words |= groups[:, i].astype(np.uint64) << np.uint64(bits * (7 - i))
    content = words.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - bits :]
    return content.tobytes()[: packed_length(codes.size, bits)]


def unpack(content: bytes | memoryview, count: int, bits: int) -> Codes:
    """The ``count`` values that :func:`pack` wrote, ``(count,)``.

    Raises:
        InputError: ``content`` has another length than so many values take, or ``bits`` is outside 1 to 8.
    """
    _check(bits)
    if len(content) != packed_length(count, bits):
        raise InputError(
            f"{count} values of {bits} bits take {packed_length(count, bits)} bytes, not {len(content)}: "
            "the data is damaged"
        )
    data = np.frombuffer(content, dtype=np.uint8)
    if bits == MAX_BITS:
        return data.copy()
    groups = -(-count // 8)
    padded = np.zeros((groups, bits), dtype=np.uint8)
    padded.ravel()[: data.size] = data
    wide = np.zeros((groups, 8), dtype=np.uint8)
    wide[:, 8 - bits :] = padded
    words = wide.view(">u8").ravel().astype(np.uint64)
    values = np.empty((groups, 8), dtype=np.uint8)
    mask = np.uint64(2**bits - 1)
    for i in range(8):
        values[:, i] = (words >> np.uint64(bits * (7 - i))) & mask
    return values.ravel()[:count]


def _check(bits: int) -> None:
    if not 1 <= bits <= MAX_BITS:
        raise InputError(f"values of {bits} bits cannot be packed: choose 1 to {MAX_BITS}")

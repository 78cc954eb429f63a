"""Whole numbers of any size in as few bytes as they need: 7 bits a byte, the lowest first."""

from __future__ import annotations

from typing import Any

import numpy as np


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

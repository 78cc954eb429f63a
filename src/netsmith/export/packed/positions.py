"""Where the stored entries of a sparse tensor lie, as bytes.

Positions are ascending numbers of 0 to N - 1, of which a tensor of N weights has n. They are stored in one of three
ways, which a byte before them names:

=========  ==================================================================================
0          a bit a weight
1 + k      Elias-Fano codes (Elias 1974, Fano 1971) with k low bits: of all positions the low
           bits side by side, then the rest in unary, a one an entry and a zero a step of 2^k
16 + b     the zeros before each entry as symbols of b bits, Huffman coded; the last symbol,
           2^b - 1, stands for so many zeros with no entry behind them
=========  ==================================================================================

The first two take bytes that follow from N and n alone, so that a search knows the size of a file before any weight is
chosen; the shorter is taken. Deep Compression (Han et al., ICLR 2016, section 2) stores distances of a fixed width and
fills gaps that are too wide with entries of zero, whose number depends on where the weights lie; its distances, without
such entries, are the third way, which is used where the file is coded and that is shorter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netsmith.errors import InputError
from netsmith.export.packed import huffman
from netsmith.export.packed.bits import Codes, pack, packed_length, unpack
from netsmith.export.packed.huffman import Coded
from netsmith.export.packed.varints import varint

IntArray = NDArray[np.int64]
SPARSEST = 256  #: weights for an entry, at most: what a file of a few bytes may ask a reader to lay out
_LOW = 7  #: most low bits, with which Elias-Fano codes are the shortest at so many weights for an entry
_BITMAP, _LOW_BITS, _GAPS = 0, 1, 16  #: what the byte before the positions counts from
_GAP_BITS = range(2, 9)


def positions_length(weights: ArrayLike, entries: ArrayLike) -> IntArray:
    """Bytes of the positions of ``entries`` among ``weights``, uncoded; arrays that broadcast. 0 without entries."""
    n, count = np.asarray(entries, dtype=np.int64), np.asarray(weights, dtype=np.int64)
    lengths = [packed_length(count, 1), *(_elias_fano_length(count, n, k) for k in range(_LOW + 1))]
    return np.where(n > 0, np.min(np.broadcast_arrays(*lengths), axis=0), 0)


def encode_positions(positions: IntArray, weights: int, code: bool) -> bytes:
    """The positions and the byte before them; with ``code`` Huffman coded if that is shorter."""
    plain = _encode_plain(positions, weights)
    coded = _encode_gaps(positions, len(plain)) if code else None
    return plain if coded is None else coded


def parse_positions(way: int, content: memoryview, weights: int, entries: int) -> tuple[IntArray, int]:
    """The positions that ``content`` begins with, stored uncoded in this ``way``, and the bytes that they take.

    Raises:
        InputError: another way, or positions that are not ascending numbers below ``weights``.
    """
    if way == _BITMAP:
        used = packed_length(weights, 1)
        return checked(np.flatnonzero(_bits(content, 0, weights)), weights, entries), used
    low_bits = way - _LOW_BITS
    if not 0 <= low_bits <= _LOW:
        raise InputError("the positions of a sparse tensor are stored in a way that is not known")
    start, total = packed_length(entries, low_bits), _high_bits(weights, entries, low_bits)
    ones = np.flatnonzero(_bits(content, start, total))
    if len(ones) != entries:
        raise InputError("a sparse tensor has another number of positions than of entries")
    low = unpack(content[:start], entries, low_bits).astype(np.int64) if low_bits else 0
    positions = (ones - np.arange(entries) << low_bits) + low
    return checked(positions, weights, entries), start + packed_length(total, 1)


def gap_bits(way: int) -> int | None:
    """Bits of a symbol where gaps are Huffman coded, else None."""
    return way - _GAPS if way - _GAPS in _GAP_BITS else None


def positions_of_gaps(symbols: Codes, bits: int, weights: int, entries: int) -> IntArray:
    """The positions that symbols of gaps stand for.

    Raises:
        InputError: there are others than ``entries`` below ``weights``.
    """
    top = 2**bits - 1
    return checked(np.cumsum(symbols.astype(np.int64) + (symbols < top))[symbols < top] - 1, weights, entries)


def checked(positions: IntArray, weights: int, entries: int) -> IntArray:
    """``positions``, ascending and inside of a tensor.

    Raises:
        InputError: they are not.
    """
    if len(positions) != entries or (np.diff(positions) <= 0).any() or positions[0] < 0 or positions[-1] >= weights:
        raise InputError("the positions of a sparse tensor are not ascending, outside of it, or not one an entry")
    return positions


def _encode_plain(positions: IntArray, weights: int) -> bytes:
    entries = len(positions)
    lengths = [int(_elias_fano_length(weights, entries, k)) for k in range(_LOW + 1)]
    low_bits = int(np.argmin(lengths))
    if lengths[low_bits] >= packed_length(weights, 1):
        present = np.zeros(weights, dtype=bool)
        present[positions] = True
        return bytes([_BITMAP]) + np.packbits(present).tobytes()
    present = np.zeros(_high_bits(weights, entries, low_bits), dtype=bool)
    present[(positions >> low_bits) + np.arange(entries)] = True
    low = pack((positions & 2**low_bits - 1).astype(np.uint8), low_bits) if low_bits else b""
    return bytes([_LOW_BITS + low_bits]) + low + np.packbits(present).tobytes()


def _encode_gaps(positions: IntArray, most: int) -> bytes | None:
    """Huffman coded gaps, with the byte, the number of symbols and the codes; None if not below ``most`` bytes."""
    gaps, found = np.diff(positions, prepend=-1) - 1, None
    for bits in _GAP_BITS:
        top = 2**bits - 1
        symbols = np.full(len(gaps) + int((gaps // top).sum()), top, dtype=np.uint8)
        symbols[np.cumsum(gaps // top + 1) - 1] = gaps % top
        coded: Coded | None = huffman.encode(symbols, bits)
        if coded is not None:
            content = bytes([_GAPS + bits]) + varint(coded.count) + coded.tobytes()
            if len(content) < most:
                found, most = content, len(content)
    return found


def _elias_fano_length(weights: Any, entries: Any, low_bits: int) -> Any:
    return packed_length(entries, low_bits) + packed_length(_high_bits(weights, entries, low_bits), 1)


def _high_bits(weights: Any, entries: Any, low_bits: int) -> Any:
    return entries + ((weights - 1) >> low_bits)


def _bits(content: memoryview, start: int, count: int) -> NDArray[np.uint8]:
    """``count`` bits from byte ``start`` on."""
    end = start + packed_length(count, 1)
    if len(content) < end:
        raise InputError("the positions of a sparse tensor are cut short")
    return np.unpackbits(np.frombuffer(content[start:end], dtype=np.uint8), count=count)

"""Canonical Huffman codes of at most 12 bits for small alphabets, decoded many blocks at a time.

Code lengths are optimal under the limit (package-merge, Larmore and Hirschberg 1990). A coded array is the code lengths
(4 bits a symbol of the alphabet), the length of each block of 1024 symbols (16 bits), and the stream. The lengths of
the blocks say where each begins, so that all blocks of all arrays of a file decode side by side, one NumPy lane each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.export.packed.bits import Codes, pack, packed_length, unpack

LIMIT = 12  #: longest code, in bits; the table that decodes has 2**LIMIT entries
BLOCK = 1024  #: symbols that one lane decodes
_LENGTH_BITS = 4
_AT_ONCE = 1 << 20  #: symbols encoded together, which bounds the memory

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Coded:
    """One Huffman coded array, as it lies in a file.

    Attributes:
        count: symbols.
        lengths: bits of each symbol's code, ``(2**bits,)``; 0 where the symbol does not occur.
        blocks: bits of each block, ``(ceil(count / BLOCK),)``.
        stream: the codes, one after the other.
    """

    count: int
    lengths: Codes
    blocks: IntArray
    stream: Codes

    def tobytes(self) -> bytes:
        return pack(self.lengths, _LENGTH_BITS) + self.blocks.astype("<u2").tobytes() + self.stream.tobytes()


def code_lengths(frequencies: IntArray) -> Codes:
    """Lengths of the best prefix code of at most ``LIMIT`` bits, ``(S,)`` for ``S <= 256`` symbols.

    Symbols that do not occur get 0; one that is alone gets 1, so that its presence can be told.
    """
    lengths = np.zeros(len(frequencies), dtype=np.uint8)
    used = np.flatnonzero(frequencies)
    if len(used) < 2:
        lengths[used] = 1
        return lengths
    used = used[np.argsort(frequencies[used], kind="stable")]
    leaf_weight, leaf = frequencies[used], np.eye(len(used), dtype=np.int16)
    weight, holds = leaf_weight, leaf  # holds[i, s]: how often item i contains symbol s
    for _ in range(LIMIT - 1):
        pairs = len(weight) // 2 * 2
        weight = np.concatenate([leaf_weight, weight[0:pairs:2] + weight[1:pairs:2]])
        holds = np.concatenate([leaf, holds[0:pairs:2] + holds[1:pairs:2]])
        order = np.argsort(weight, kind="stable")
        weight, holds = weight[order], holds[order]
    lengths[used] = holds[: 2 * len(used) - 2].sum(axis=0)
    return lengths


def coded_length(frequencies: IntArray, lengths: Codes) -> int:
    """Bytes that an array takes, without coding it: counts of each symbol and lengths of their codes ``(2**bits,)``."""
    count, stream = int(frequencies.sum()), int(frequencies @ lengths.astype(np.int64))
    head = packed_length(len(frequencies), _LENGTH_BITS) + 2 * -(-count // BLOCK)
    return int(head + packed_length(stream, 1))


def encode(symbols: Codes, bits: int) -> Coded | None:
    """Code ``symbols``, ``(N,)`` of 0 to ``2**bits - 1``; None where plain packing is as small."""
    frequencies = np.bincount(symbols, minlength=2**bits)
    lengths = code_lengths(frequencies)
    if coded_length(frequencies, lengths) >= packed_length(symbols.size, bits):
        return None
    own = lengths[symbols].astype(np.int64)
    blocks = np.add.reduceat(own, np.arange(0, symbols.size, BLOCK))
    codes, ends = _codes(lengths)[symbols], np.cumsum(own)
    stream = np.zeros(packed_length(int(ends[-1]), 1) + 3, dtype=np.uint8)
    for i in range(0, symbols.size, _AT_ONCE):
        part = slice(i, i + _AT_ONCE)
        _scatter(stream, ends[part] - own[part], own[part], codes[part])
    return Coded(symbols.size, lengths, blocks, stream[: packed_length(int(ends[-1]), 1)])


def parse(content: memoryview, count: int, bits: int) -> tuple[Coded, int]:
    """Read a coded array of ``count`` symbols that ``content`` begins with, and the bytes that it took.

    Raises:
        InputError: too short, or no prefix code.
    """
    head = packed_length(2**bits, _LENGTH_BITS)
    body = head + 2 * -(-count // BLOCK)
    if len(content) < body:
        raise InputError("a Huffman coded array is cut short")
    lengths = unpack(content[:head], 2**bits, _LENGTH_BITS)
    used = lengths[lengths > 0].astype(np.int64)
    complete = used.size and int((1 << (LIMIT - used[used <= LIMIT])).sum()) == 1 << LIMIT and used.max() <= LIMIT
    if count and not complete and not (used.size == 1 and used[0] == 1):
        raise InputError("the code lengths of a Huffman coded array are no prefix code")
    blocks = np.frombuffer(content[head:body], dtype="<u2").astype(np.int64)
    total = int(blocks.sum())
    end = body + packed_length(total, 1)
    if len(content) < end or total < count:  # no code is shorter than one bit
        raise InputError("a Huffman coded array is cut short")
    return Coded(count, lengths, blocks, np.frombuffer(content[body:end], dtype=np.uint8)), end


def decode(parts: Sequence[Coded]) -> list[Codes]:
    """The symbols of each coded array; the blocks of all of them are decoded side by side.

    Raises:
        InputError: a block that does not end where the next one begins.
    """
    counts = [_block_counts(p.count) for p in parts]
    lanes = np.concatenate([np.zeros(0, dtype=np.int64), *counts])
    if not lanes.size:
        return [np.zeros(0, dtype=np.uint8) for _ in parts]
    tables = np.concatenate([_table(p.lengths) if p.count else np.zeros(0, dtype=np.uint16) for p in parts])
    filled = np.cumsum([0] + [p.count > 0 for p in parts])[:-1]
    base = np.repeat(filled << LIMIT, [len(c) for c in counts])
    origin = np.cumsum([0] + [8 * p.stream.size for p in parts])[:-1]
    ends = np.concatenate([o + np.cumsum(p.blocks) for o, p in zip(origin, parts)])
    starts = ends - np.concatenate([p.blocks for p in parts])
    symbols, stops = _decode_lanes(np.concatenate([p.stream for p in parts]), starts, lanes, tables, base)
    if not np.array_equal(stops, ends):
        raise InputError("a Huffman coded array does not end where it should")
    rows = np.cumsum([0] + [len(c) for c in counts])
    return [symbols[a:b].ravel()[: p.count] for p, a, b in zip(parts, rows[:-1], rows[1:])]


def _decode_lanes(
    stream: Codes, starts: IntArray, counts: IntArray, tables: NDArray[np.uint16], base: IntArray
) -> tuple[Codes, IntArray]:
    """Decode one symbol of every lane per step; returns ``(lanes, BLOCK)`` symbols and where each lane stopped."""
    # a broken stream can carry a lane this far beyond the end, no farther
    data = np.concatenate([stream, np.zeros(BLOCK * LIMIT // 8 + 4, dtype=np.uint8)]).astype(np.uint32)
    windows = (data[:-2] << 16) | (data[1:-1] << 8) | data[2:]  # 24 bits from every byte on
    order = np.argsort(-counts, kind="stable")  # lanes that end early stand last
    at, base = starts[order], base[order]
    active = np.searchsorted(-counts[order], -np.arange(int(counts.max())), side="left")
    out = np.zeros((BLOCK, len(order)), dtype=np.uint8)
    mask = (1 << LIMIT) - 1
    for step, n in enumerate(active):
        here = at[:n]
        code = (windows[here >> 3] >> (24 - LIMIT - (here & 7)).astype(np.uint32)) & mask
        entry = tables[base[:n] + code]
        out[step, :n] = entry >> 4
        here += entry & 15
    symbols, stops = np.empty((len(order), BLOCK), dtype=np.uint8), np.empty_like(at)
    symbols[order], stops[order] = out.T, at
    return symbols, stops


def _canonical(lengths: Codes) -> IntArray:
    """Symbols that occur, in the order of their codes: short ones first, then by value."""
    order = np.argsort(lengths, kind="stable")
    return order[lengths[order] > 0]


def _codes(lengths: Codes) -> IntArray:
    """The code of each symbol in its low ``lengths`` bits, ``(S,)``."""
    order = _canonical(lengths)
    width = 1 << (LIMIT - lengths[order].astype(np.int64))  # entries of the table that begin with the code
    codes = np.zeros(len(lengths), dtype=np.int64)
    codes[order] = (np.cumsum(width) - width) >> (LIMIT - lengths[order].astype(np.int64))
    return codes


def _table(lengths: Codes) -> NDArray[np.uint16]:
    """What each ``LIMIT`` bits begin with: ``symbol << 4 | length``, ``(2**LIMIT,)``."""
    order = _canonical(lengths)
    entry = (order << 4 | lengths[order]).astype(np.uint16)
    table = np.repeat(entry, 1 << (LIMIT - lengths[order].astype(np.int64)))
    return np.resize(table, 1 << LIMIT)  # a symbol that is alone has half of the table


def _scatter(stream: Codes, starts: IntArray, lengths: IntArray, codes: IntArray) -> None:
    """Write codes at their bit positions; a code of 12 bits touches three bytes, and bits of two codes never meet."""
    byte = starts >> 3
    first = int(byte[0])
    byte -= first
    shifted = codes << (24 - lengths - (starts & 7))
    for i in range(3):
        total = np.bincount(byte + i, (shifted >> (16 - 8 * i)) & 255)
        stream[first : first + total.size] += total.astype(np.uint8)


def _block_counts(count: int) -> IntArray:
    blocks = np.full(-(-count // BLOCK), BLOCK, dtype=np.int64)
    if count % BLOCK:
        blocks[-1] = count % BLOCK
    return blocks

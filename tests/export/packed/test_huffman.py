"""Huffman coding: optimal lengths, round trips, damage."""

from __future__ import annotations

import heapq
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsmith.errors import InputError
from netsmith.export.packed import huffman
from netsmith.export.packed.huffman import BLOCK, LIMIT, Coded, code_lengths, coded_length, decode, encode, parse


def _skewed(seed: int, size: int, bits: int, spread: float) -> np.ndarray:
    top = 2 ** (bits - 1)
    values = np.rint(np.random.default_rng(seed).normal(top, spread * top, size))
    return np.clip(values, 0, 2**bits - 1).astype(np.uint8)


def _unlimited(frequencies: list[int]) -> int:
    """Total bits of an ordinary Huffman code, by merging the two rarest again and again."""
    ties = count()
    heap = [(f, next(ties)) for f in frequencies]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap)[0] + heapq.heappop(heap)[0]
        total += merged
        heapq.heappush(heap, (merged, next(ties)))
    return total


def _reread(coded: Coded, bits: int) -> Coded:
    content = coded.tobytes()
    again, used = parse(memoryview(content + b"more"), coded.count, bits)
    assert used == len(content)
    return again


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=256))
def test_lengths_are_a_complete_prefix_code_within_the_limit(frequencies: list[int]) -> None:
    lengths = code_lengths(np.array(frequencies)).astype(int)
    used = lengths[np.array(frequencies) > 0]
    assert (lengths[np.array(frequencies) == 0] == 0).all()
    assert (used >= 1).all() and (used <= LIMIT).all()
    if len(used) > 1:
        assert sum(2.0**-n for n in used) == 1.0


@given(st.lists(st.integers(20, 400), min_size=2, max_size=40))
def test_lengths_are_optimal_where_the_limit_does_not_bind(frequencies: list[int]) -> None:
    # counts within a factor of 20 make codes far shorter than 12 bits
    assert int(code_lengths(np.array(frequencies)) @ np.array(frequencies)) == _unlimited(frequencies)


def test_the_limit_binds_where_the_counts_grow_like_fibonacci_numbers() -> None:
    counts = [1, 1]
    while len(counts) < 20:
        counts.append(counts[-1] + counts[-2])
    lengths = code_lengths(np.array(counts))
    assert lengths.max() == LIMIT
    assert lengths @ np.array(counts) >= _unlimited(counts)


@given(st.integers(1, 8), st.integers(0, 5000), st.floats(0.02, 0.3), st.integers(0, 2**32 - 1))
def test_round_trip(bits: int, size: int, spread: float, seed: int) -> None:
    symbols = _skewed(seed, size, bits, spread)
    coded = encode(symbols, bits)
    frequencies = np.bincount(symbols, minlength=2**bits)
    predicted = coded_length(frequencies, code_lengths(frequencies))
    plain = -(-size * bits // 8)
    assert (coded is not None) == (predicted < plain)
    if coded is not None:
        assert len(coded.tobytes()) == predicted
        np.testing.assert_array_equal(decode([_reread(coded, bits)])[0], symbols)


def test_arrays_of_any_length_decode_side_by_side() -> None:
    sizes = [BLOCK * 3, 700, BLOCK + 1, BLOCK - 1, 5 * BLOCK + 17]
    arrays = [_skewed(i, n, bits, 0.1) for i, (n, bits) in enumerate(zip(sizes, (4, 8, 2, 5, 3)))]
    coded = [encode(a, bits) for a, bits in zip(arrays, (4, 8, 2, 5, 3))]
    assert None not in coded
    for found, expected in zip(decode([c for c in coded if c is not None]), arrays, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert decode([]) == []


def test_encoding_in_several_parts_is_the_same_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = _skewed(3, 20_000, 5, 0.1)
    whole = encode(symbols, 5)
    monkeypatch.setattr(huffman, "_AT_ONCE", 777)
    parts = encode(symbols, 5)
    assert whole is not None and parts is not None and whole.tobytes() == parts.tobytes()


def test_one_symbol_alone_takes_a_bit_and_an_empty_array_nothing() -> None:
    constant = np.full(4000, 9, dtype=np.uint8)
    coded = encode(constant, 4)
    assert coded is not None and len(coded.tobytes()) == 8 + 2 * 4 + 500
    np.testing.assert_array_equal(decode([_reread(coded, 4)])[0], constant)
    empty = np.zeros(0, dtype=np.uint8)
    assert encode(empty, 4) is None
    found = decode([Coded(0, np.zeros(16, np.uint8), np.zeros(0, np.int64), empty), coded])
    assert found[0].size == 0 and found[1].size == 4000


def test_uniform_symbols_are_not_coded() -> None:
    assert encode(np.arange(4096).astype(np.uint8), 8) is None


def test_damage_is_noticed() -> None:
    symbols = _skewed(1, 3000, 4, 0.15)
    coded = encode(symbols, 4)
    assert coded is not None
    content = coded.tobytes()
    with pytest.raises(InputError, match="cut short"):
        parse(memoryview(content)[:5], 3000, 4)
    with pytest.raises(InputError, match="cut short"):
        parse(memoryview(content)[:-1], 3000, 4)
    with pytest.raises(InputError, match="no prefix code"):
        parse(memoryview(b"\x33" + content[1:]), 3000, 4)
    longer = Coded(coded.count, coded.lengths, coded.blocks + np.array([1, -1, 0]), coded.stream)
    with pytest.raises(InputError, match="does not end where it should"):
        decode([longer])
    with pytest.raises(InputError, match="does not end where it should"):  # runs beyond the end, not into a fault
        decode([Coded(coded.count, coded.lengths, coded.blocks, coded.stream[:100])])

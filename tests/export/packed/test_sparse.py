"""Sparse tensors: what they stand for, what their positions cost, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_cases import codebook, linear, sparse

from netsmith.errors import InputError
from netsmith.export.packed import CodebookTensor, SparseTensor, write_packed
from netsmith.export.packed.positions import encode_positions, parse_positions, positions_length

WEIGHTS = 40_000


def _at(*positions: int) -> np.ndarray:
    return np.array(positions, dtype=np.int64)


def _random(share: float) -> np.ndarray:
    return np.flatnonzero(np.random.default_rng(0).random(WEIGHTS) < share)


def test_what_has_no_position_is_zero() -> None:
    book = CodebookTensor(np.array([[1, 0, 1], [0, 0, 1]], dtype=np.uint8), np.float32([-1.0, 7.0]), 1)
    found = SparseTensor(book, _at(1, 5)).decode()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0, -1, 0], [0, 0, 7]])
    floats = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(SparseTensor(floats, _at(4)).decode(), [[0, 0, 0], [0, 4, 0]])


@settings(max_examples=60)
@given(st.integers(1, 3000), st.data())
def test_positions_come_back_and_cost_what_was_said(weights: int, data: st.DataObject) -> None:
    entries = data.draw(st.integers(-(-weights // 256), weights))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    positions = np.sort(rng.choice(weights, entries, replace=False))
    content = encode_positions(positions, weights, code=False)
    assert len(content) == 1 + positions_length(weights, entries)
    found, used = parse_positions(content[0], memoryview(content)[1:], weights, entries)
    np.testing.assert_array_equal(found, positions)
    assert used == len(content) - 1


@pytest.mark.parametrize("share", [0.03, 0.1, 0.2, 0.4, 0.7])
def test_positions_take_little_more_than_their_entropy(share: float) -> None:
    positions = _random(share)
    p = len(positions) / WEIGHTS
    entropy = -WEIGHTS / 8 * (p * np.log2(p) + (1 - p) * np.log2(1 - p))
    assert entropy < positions_length(WEIGHTS, len(positions)) < 1.3 * entropy
    coded = len(encode_positions(positions, WEIGHTS, code=True))
    assert entropy < coded <= 1 + positions_length(WEIGHTS, len(positions))
    if share < 0.3:
        assert coded < 1.06 * entropy


@pytest.mark.parametrize("share", [0.03, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("value_bits", [4, 8])
def test_positions_are_as_short_as_distances_with_fillers(share: float, value_bits: int) -> None:
    """Deep Compression stores distances of a fixed width, and entries of zero where one does not reach."""
    positions = _random(share)
    gaps = np.diff(positions, prepend=-1) - 1
    best = min((len(gaps) + int((gaps >> bits).sum())) * (bits + value_bits) / 8 for bits in range(1, 9))
    assert positions_length(WEIGHTS, len(positions)) + len(positions) * value_bits / 8 < 1.01 * best


def test_a_coded_file_has_coded_positions_too() -> None:
    rng = np.random.default_rng(0)
    at = _random(0.1)
    flat = {
        "w": SparseTensor(CodebookTensor(rng.integers(0, 16, WEIGHTS).astype(np.uint8), np.float32(range(16)), 4), at)
    }
    saved = write_packed(None, flat) - write_packed(None, flat, huffman=True)
    assert saved > 0.05 * positions_length(WEIGHTS, len(at))  # the indices are uniform: nothing is saved there


def test_what_is_no_sparse_tensor_is_refused() -> None:
    rng = np.random.default_rng(0)
    floats = np.zeros((2, 300), dtype=np.float32)
    for tensor, at, message in (
        (floats, _at(), "cannot have 0 entries: give 3 to 600"),
        (floats, _at(1, 2), "cannot have 2 entries"),
        (floats, _at(3, 2, 1), "not ascending"),
        (floats, _at(3, 3, 4), "not ascending"),
        (floats, _at(-1, 3, 4), "not ascending"),
        (floats, _at(0, 1, 600), "not ascending"),
        (floats, _at(0, 1, 2).astype(np.int32), "must be a NumPy array of int64"),
        (floats.astype(np.float64), _at(0, 1, 2), "must be a NumPy array of float32"),
        (codebook(rng, (4, 4), 3), _at(0, 1), "8 values for 2 entries: give at most 2"),
    ):
        with pytest.raises(InputError, match=message):
            SparseTensor(tensor, at)
    assert sparse(rng, (4, 4), 3, "kmeans", 2).shape == (4, 4)
    assert SparseTensor(linear(rng, (2, 3), 1), _at(0)).decode().any()

"""Stored tensors: what they stand for and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from netsmith.errors import InputError
from netsmith.export.packed import CodebookTensor, LinearTensor, codebook_size
from netsmith.export.packed.tensors import decode_tensor


def _f(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_linear_is_integers_times_the_scale_of_their_channel() -> None:
    integers = np.array([[[1, -2]], [[3, 0]]], dtype=np.int8)
    found = LinearTensor(integers, _f(0.5, 2.0), 3).decode()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[[0.5, -1.0]], [[6.0, 0.0]]])
    np.testing.assert_array_equal(LinearTensor(integers, _f(0.5), 3).decode(), integers * 0.5)


def test_codebook_is_the_values_at_the_indices() -> None:
    tensor = CodebookTensor(np.array([[2, 0], [1, 2]], dtype=np.uint8), _f(0.1, -7.0, 3.0), 2)
    np.testing.assert_array_equal(tensor.decode(), np.array([[3.0, 0.1], [-7.0, 3.0]], dtype=np.float32))


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_of_all_integers_are_different_and_come_back(bits: int) -> None:
    top = 2 ** (bits - 1) - 1
    integers = np.array([[-1, 1]] if bits == 1 else [np.arange(-top, top + 1)], dtype=np.int8)
    tensor = LinearTensor(integers, _f(1.0), bits)
    codes = tensor.codes()
    assert codes.dtype == np.uint8 and int(codes.max()) < 2**bits and len(set(codes.tolist())) == integers.size
    again = LinearTensor.from_codes(codes.reshape(integers.shape), tensor.scale, bits)
    np.testing.assert_array_equal(again.integers, integers)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_on_grid_finds_the_integers_of_a_rounded_weight(bits: int) -> None:
    rng = np.random.default_rng(bits)
    top = 2 ** (bits - 1) - 1
    weight = rng.normal(size=(6, 3, 3, 3)).astype(np.float32)
    weight[2] = 0
    scale = (np.abs(weight).max(axis=(1, 2, 3)) / top).astype(np.float32)  # 0 for the channel of zeros
    safe = np.where(scale == 0, np.float32(1), scale)[:, None, None, None]
    rounded = (np.clip(np.rint(weight / safe), -top, top) * safe).astype(np.float32)
    np.testing.assert_array_equal(LinearTensor.on_grid(rounded, scale, bits).decode(), rounded)
    with pytest.raises(InputError, match=f"{bits}-bit grid"):
        LinearTensor.on_grid(weight, scale, bits)


def test_linear_refuses_what_it_cannot_store() -> None:
    ok = np.zeros((2, 3), dtype=np.int8)
    for integers, scale, bits, message in (
        (ok.astype(np.int16), _f(1), 4, "must be a NumPy array of int8"),
        (ok, np.ones(1), 4, "must be a NumPy array of float32"),
        (ok, _f(1, 2, 3), 4, "does not fit"),
        (ok, np.ones((2, 1), np.float32), 4, "does not fit"),
        (ok, _f(np.inf), 4, "not finite"),
        (ok, _f(np.nan), 4, "not finite"),
        (ok, _f(1e38), 4, "too large"),
        (ok, _f(1), 9, "9 bits cannot be packed"),
        (ok, _f(1), 1, "1-bit weight holds 0"),
        (ok + np.int8(2), _f(1), 2, "outside of -1 to 1"),
        (ok + np.int8(-128), _f(1), 8, "outside of -127 to 127"),
    ):
        with pytest.raises(InputError, match=message):
            LinearTensor(integers, scale, bits)


def test_codebook_refuses_what_it_cannot_store() -> None:
    index = np.array([0, 1, 2], dtype=np.uint8)
    for i, values, bits, message in (
        (index, _f(1, 2), 2, "index of 2 is outside"),
        (index, _f(1, 2, 3, 4), 2, "at most 3 values"),  # more values than weights are never of use
        (index, _f(1, 2, 3), 1, "at most 2 values"),
        (index.astype(np.int64), _f(1, 2, 3), 2, "must be a NumPy array of uint8"),
        (index, _f(1, 2, 3), 0, "0 bits cannot be packed"),
    ):
        with pytest.raises(InputError, match=message):
            CodebookTensor(i, values, bits)
    np.testing.assert_array_equal(codebook_size(np.array([3, 100]), np.array([2, 4])), [3, 16])


def test_half_precision_becomes_float32_and_integers_stay() -> None:
    assert decode_tensor(np.ones(2, dtype=np.float16)).dtype == np.float32
    assert decode_tensor(np.ones(2, dtype=np.int64)).dtype == np.int64

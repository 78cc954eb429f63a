"""Packing of small integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsmith.errors import InputError
from netsmith.export.packed.bits import pack, packed_length, unpack


@given(st.integers(1, 8), st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_round_trip_takes_the_least_bytes(bits: int, count: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2**bits, count).astype(np.uint8)
    content = pack(values, bits)
    assert len(content) == packed_length(count, bits) == -(-count * bits // 8)
    np.testing.assert_array_equal(unpack(content, count, bits), values)


def test_the_first_value_is_in_the_highest_bits() -> None:
    assert pack([1, 2, 3, 0, 1], 2) == bytes([0b01101100, 0b01000000])
    assert pack([5, 6, 7], 3) == bytes([0b10111011, 0b10000000])


def test_every_value_of_every_width() -> None:
    for bits in range(1, 9):
        values = np.arange(2**bits)
        np.testing.assert_array_equal(unpack(pack(values, bits), values.size, bits), values)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="4 does not fit into 2 bits"):
        pack([1, 4], 2)
    for bits in (0, 9):
        with pytest.raises(InputError, match=f"{bits} bits cannot be packed"):
            pack([0], bits)
        with pytest.raises(InputError, match=f"{bits} bits cannot be packed"):
            unpack(b"", 0, bits)
    with pytest.raises(InputError, match="take 2 bytes, not 3"):
        unpack(bytes(3), 5, 3)

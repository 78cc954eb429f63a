"""Integer matrix products as weighted sums of binary ones: the arithmetic of bit-serial machines, exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError

IntArray = NDArray[np.int64]


def bit_planes(values: IntArray, bits: int, signed: bool) -> tuple[IntArray, IntArray]:
    """Binary planes of integers, ``(bits, *values.shape)`` of 0 and 1, and the weight of each plane, ``(bits,)``.

    ``values == sum_i weight_i * plane_i``; the weights are powers of two, and that of the most significant plane of a
    signed operand is negative (two's complement).

    Raises:
        InputError: a value does not fit the width.
    """
    if not 1 <= bits <= 62:
        raise InputError(f"bit planes are of 1 to 62 bits, not {bits}")
    values = np.asarray(values, dtype=np.int64)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if values.size and (values.min() < low or values.max() > high):
        kind = "signed" if signed else "unsigned"
        raise InputError(f"{kind} {bits}-bit values lie in {low} to {high}, not {values.min()} to {values.max()}")
    shifts = np.arange(bits).reshape(-1, *([1] * values.ndim))
    planes = (values >> shifts) & 1
    weights = np.left_shift(np.int64(1), np.arange(bits, dtype=np.int64))
    if signed:
        weights[-1] = -weights[-1]
    return planes, weights


def bit_serial_matmul(
    left: IntArray, right: IntArray, left_bits: int, right_bits: int, *, left_signed: bool = True,
    right_signed: bool = False,
) -> IntArray:  # fmt: skip
    """``(M, K) x (K, N)`` over integers, from ``left_bits * right_bits`` binary products.

    ``sum_ij w_i * v_j * (L_i x R_j)`` with the planes and weights of :func:`bit_planes` (Y. Umuroglu, L. Rasnayake,
    M. Sjalander, "BISMO", FPL 2018).

    Raises:
        InputError: a value does not fit its width.
    """
    left_planes, left_weights = bit_planes(left, left_bits, left_signed)
    right_planes, right_weights = bit_planes(right, right_bits, right_signed)
    binary = left_planes[:, None] @ right_planes[None]  # (left_bits, right_bits, M, N) counts of coinciding ones
    return np.asarray(np.einsum("i,j,ijmn->mn", left_weights, right_weights, binary))

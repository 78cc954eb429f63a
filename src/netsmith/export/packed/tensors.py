"""What a packed file stores of a tensor: integers on a grid, indices into a codebook, or the array itself.

Of a sparse tensor it stores that of some of the weights, and where they are; all others are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.export.packed.bits import MAX_BITS, Codes
from netsmith.export.packed.positions import SPARSEST, IntArray, checked

FloatArray = NDArray[np.float32]
Array = NDArray[Any]
_MAX_SCALE = 2.0**120  # 127 times that is still a float32


@dataclass(frozen=True, eq=False)
class LinearTensor:
    """Weights on a symmetric grid, ``integers * scale``.

    Attributes:
        integers: int8, in the weight's shape ``(C_out, ...)``; -1 and 1 at 1 bit, otherwise
            ``-(2**(bits-1) - 1)`` to ``2**(bits-1) - 1``.
        scale: float32, one a channel of the first axis ``(C_out,)`` or one for all ``(1,)``.
        bits: 1 to 8.

    Raises:
        InputError: types, shapes or values are others.
    """

    integers: NDArray[np.int8]
    scale: FloatArray
    bits: int

    def __post_init__(self) -> None:
        _check_bits(self.bits)
        _check_type(self.integers, np.int8, "the integers of a weight")
        _check_type(self.scale, np.float32, "the scale of a weight")
        if self.integers.ndim < 1 or self.scale.shape not in ((1,), self.integers.shape[:1]):
            raise InputError(
                f"a scale of shape {self.scale.shape} does not fit a weight of shape {self.integers.shape}: "
                "give one number a channel of the first axis, or one for all"
            )
        if not (np.abs(self.scale) <= _MAX_SCALE).all():  # nor is NaN
            raise InputError("the scale of a weight is not finite or too large for float32 weights: quantize it again")
        top = 2 ** (self.bits - 1) - 1 if self.bits > 1 else 1
        # int16, as the absolute value of -128 is no int8
        if self.integers.size and int(np.abs(self.integers.astype(np.int16)).max()) > top:
            raise InputError(f"an integer of a {self.bits}-bit weight is outside of -{top} to {top}: clamp it")
        if self.bits == 1 and not self.integers.all():
            raise InputError("a 1-bit weight holds 0: give -1 and 1 only")

    @classmethod
    def on_grid(cls, weight: FloatArray, scale: FloatArray, bits: int) -> LinearTensor:
        """A weight that was rounded to its grid before, such as one of a fake-quantized network.

        Raises:
            InputError: the weight is not, in float32, exactly ``integers * scale``.
        """
        safe = np.where(scale == 0, np.float32(1), scale)
        integers = np.rint(weight / _by_channel(safe, weight.ndim))
        tensor = cls(np.clip(integers, -128, 127).astype(np.int8), scale, bits)
        if not np.array_equal(tensor.decode(), weight):
            raise InputError(f"a weight of shape {weight.shape} does not lie on its {bits}-bit grid: quantize it first")
        return tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.integers.shape

    def decode(self) -> FloatArray:
        """The weight, float32."""
        return self.integers.astype(np.float32) * _by_channel(self.scale, self.integers.ndim)

    def codes(self) -> Codes:
        """The integers as unsigned numbers of ``bits`` bits, ``(N,)``."""
        flat = self.integers.ravel().astype(np.int16)
        return ((flat + 1) // 2 if self.bits == 1 else flat + 2 ** (self.bits - 1) - 1).astype(np.uint8)

    @classmethod
    def from_codes(cls, codes: Codes, scale: FloatArray, bits: int) -> LinearTensor:
        """The tensor whose :meth:`codes` are given, in the weight's shape."""
        wide = codes.astype(np.int16)
        integers = wide * 2 - 1 if bits == 1 else wide - (2 ** (bits - 1) - 1)
        if integers.size and int(integers.max()) > 127:
            raise InputError(f"a code of a {bits}-bit weight stands for no integer")
        return cls(integers.astype(np.int8), scale, bits)


@dataclass(frozen=True, eq=False)
class CodebookTensor:
    """Weights that share a few values, ``values[index]``.

    Attributes:
        index: uint8, in the weight's shape.
        values: float32 ``(K,)``, at most :func:`codebook_size` of them.
        bits: 1 to 8; an index is stored in so many.

    Raises:
        InputError: types, shapes or values are others.
    """

    index: Codes
    values: FloatArray
    bits: int

    def __post_init__(self) -> None:
        _check_bits(self.bits)
        _check_type(self.index, np.uint8, "the index of a codebook")
        _check_type(self.values, np.float32, "the values of a codebook")
        most = codebook_size(self.index.size, self.bits)
        if self.values.ndim != 1 or self.values.size > most:
            raise InputError(
                f"a codebook of {self.bits} bits for {self.index.size} weights has the shape {self.values.shape}: "
                f"give at most {most} values in one row"
            )
        if self.index.size and int(self.index.max()) >= self.values.size:
            raise InputError(
                f"an index of {int(self.index.max())} is outside of a codebook of {self.values.size} values"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.index.shape

    def decode(self) -> FloatArray:
        """The weight, float32."""
        return self.values[self.index]

    def codes(self) -> Codes:
        """The indices, ``(N,)``."""
        return self.index.ravel()


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """Weights most of which are zero, of which only the others are stored, with their positions.

    Attributes:
        tensor: the weights, in their shape; a float32 array, or rounded. What it holds elsewhere is not stored.
        positions: int64 ``(n,)``, ascending, into the flattened weights; what is there may be zero as well.

    Raises:
        InputError: types, shapes or values are others, or there are fewer than one entry for 256 weights.
    """

    tensor: LinearTensor | CodebookTensor | FloatArray
    positions: IntArray

    def __post_init__(self) -> None:
        if not isinstance(self.tensor, (LinearTensor, CodebookTensor)):
            _check_type(self.tensor, np.float32, "a sparse weight")
        _check_type(self.positions, np.int64, "the positions of a sparse weight")
        weights, entries = int(np.prod(self.shape, dtype=np.int64)), len(self.positions)
        need_entries(weights, entries)
        checked(self.positions, weights, entries)
        if isinstance(self.tensor, CodebookTensor):
            most = int(codebook_size(entries, self.tensor.bits))
            if self.tensor.values.size > most:
                raise InputError(
                    f"a codebook of {self.tensor.values.size} values for {entries} entries: give at most {most}"
                )

    @classmethod
    def of_largest(
        cls, tensor: LinearTensor | CodebookTensor | FloatArray, weight: FloatArray, entries: int
    ) -> SparseTensor:
        """A tensor that stands for ``weight``, whose ``entries`` largest numbers are stored."""
        need_entries(weight.size, entries)
        return cls(tensor, largest(weight, entries))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    def decode(self) -> FloatArray:
        """The weight, float32, with its zeros."""
        full = self.tensor if isinstance(self.tensor, np.ndarray) else self.tensor.decode()
        out = np.zeros(full.size, dtype=np.float32)
        out[self.positions] = full.reshape(-1)[self.positions]
        return out.reshape(full.shape)


Tensor = LinearTensor | CodebookTensor | SparseTensor | Array


def largest(weight: FloatArray, entries: int) -> IntArray:
    """Ascending positions of the ``entries`` numbers of largest magnitude, of equal ones those that stand first."""
    return np.sort(np.argsort(-np.abs(weight.reshape(-1)), kind="stable")[:entries]).astype(np.int64)


def need_entries(weights: int, entries: int) -> None:
    """Refuse numbers of entries that no sparse tensor has.

    Raises:
        InputError: none, more than weights, or fewer than one for 256 weights.
    """
    if not 1 <= entries <= weights or weights > SPARSEST * entries:
        raise InputError(
            f"a sparse tensor of {weights} weights cannot have {entries} entries: give {-(-weights // SPARSEST)} to "
            f"{weights}"
        )


def codebook_size(weights: Any, bits: Any) -> Any:
    """Values that a codebook can use, ``min(2**bits, weights)``; numbers or arrays that broadcast."""
    return np.minimum(2**bits, weights)


def decode_tensor(tensor: Tensor) -> Array:
    """The array that a stored tensor stands for; weights and half precision become float32."""
    if isinstance(tensor, (LinearTensor, CodebookTensor, SparseTensor)):
        return tensor.decode()
    return tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor


def _by_channel(scale: FloatArray, ndim: int) -> FloatArray:
    return scale.reshape(-1, *[1] * (ndim - 1))


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= MAX_BITS:
        raise InputError(f"a weight of {bits} bits cannot be packed: choose 1 to {MAX_BITS}, or store the array itself")


def _check_type(array: Any, dtype: Any, what: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise InputError(f"{what} must be a NumPy array of {np.dtype(dtype).name}")

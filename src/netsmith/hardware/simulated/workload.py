"""Compute rows of a layer table as matrix products, and the elements that they must move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.hardware.target import FloatArray
from netsmith.network.layers import KIND, LayerTable

IntArray = NDArray[np.int64]

#: Steps of channel counts coarser than this would leave small networks nothing to choose; prices stay exact.
_COARSEST = 16


@dataclass(frozen=True)
class Workload:
    """Rows as ``count`` independent products ``(m, k) x (k, n)`` for a whole batch; all arrays ``(..., L)``.

    A convolution has m = output channels of a group, k = kernel area times input channels of a group, n = batch times
    output positions, and one product a group (im2col). The two operands of an attention product both come with the
    sample, so the batch multiplies ``count``, not ``n``. Glue rows have ``count`` 0.

    Attributes:
        macs: multiply-accumulates.
        weights, inputs, outputs: elements of the whole row; ``inputs`` are the input elements that the kernel touches,
            each once: a side of ``min(h_in, K + (O - 1) * S, K * O)`` pixels (two-dimensional, no dilation).
        w_bits, a_bits: of the two operands; both are activations in an attention product.
        weight_like: the first operand is stored with the network, not computed from the sample.
    """

    m: IntArray
    k: IntArray
    n: IntArray
    count: IntArray
    macs: IntArray
    weights: IntArray
    inputs: IntArray
    outputs: IntArray
    w_bits: IntArray
    a_bits: IntArray
    weight_like: NDArray[np.bool_]
    is_compute: NDArray[np.bool_]
    is_depthwise: NDArray[np.bool_]


def workload(table: LayerTable, batch: int) -> Workload:
    """The products of every row, ``(..., L)``, for ``batch`` samples.

    Raises:
        InputError: the batch is not a whole number above 0.
    """
    if isinstance(batch, bool) or not isinstance(batch, int | np.integer) or batch < 1:
        raise InputError(f"the batch must be a whole number above 0, not {batch!r}")
    outputs = table.c_out * table.h_out * table.w_out  # what a transposed convolution scatters is summed on the chip
    table = as_convolutions(table)
    compute = table.is_compute
    product = table.kind == KIND["matmul"]
    groups = np.maximum(table.groups, 1)
    one = np.ones_like(table.kind)
    m = np.where(compute, np.maximum(table.c_out // groups, 1), one)
    k = np.where(compute, np.maximum(table.c_in // groups, 1) * table.kernel_h * table.kernel_w, one)
    n = np.where(compute, table.h_out * table.w_out * np.where(product, 1, batch), one)
    count = np.where(compute, groups * np.where(product, batch, 1), 0)
    side_h = _touched(table.h_in, table.kernel_h, table.h_out, table.stride)
    side_w = _touched(table.w_in, table.kernel_w, table.w_out, table.stride)
    zero = np.zeros_like(count)
    return Workload(
        m=m, k=k, n=n, count=count, macs=table.macs * batch, weights=np.where(compute, m * k * count, zero),
        inputs=np.where(compute, table.c_in * side_h * side_w * batch, zero),
        outputs=np.where(compute, outputs * batch, zero),
        w_bits=np.where(product, table.a_bits, table.w_bits), a_bits=table.a_bits, weight_like=compute & ~product,
        is_compute=compute, is_depthwise=table.is_depthwise,
    )  # fmt: skip


def as_convolutions(table: LayerTable) -> LayerTable:
    """The table with transposed convolutions as the convolutions of their input that they are.

    One of stride s writes s * s phases of its output, each a convolution with every s-th tap of the kernel; the phases
    stand as output channels. Where s does not divide the kernel, the taps do, and a kernel of one pixel is left.
    Weights and multiply-accumulates are the same.
    """
    transposed = table.kind == KIND["conv_transpose"]
    if not transposed.any():
        return table

    def phases(kernel: IntArray) -> IntArray:
        return np.where(transposed, np.where(kernel % table.stride == 0, np.minimum(table.stride, kernel), kernel), 1)

    high, wide = phases(table.kernel_h), phases(table.kernel_w)
    return table.replace(
        kind=np.where(transposed, KIND["conv"], table.kind), c_out=table.c_out * high * wide,
        kernel_h=table.kernel_h // high, kernel_w=table.kernel_w // wide,
        stride=np.where(transposed, 1, table.stride), h_out=np.where(transposed, table.h_in, table.h_out),
        w_out=np.where(transposed, table.w_in, table.w_out),
    )  # fmt: skip


def _touched(size: IntArray, kernel: IntArray, out: IntArray, stride: IntArray) -> IntArray:
    """Input pixels along one side that a kernel reads."""
    return np.asarray(np.minimum(size, np.minimum(kernel + (out - 1) * stride, kernel * out)))


def granularity(lanes: int) -> int:
    """Channel multiple to propose for an array of that many lanes."""
    return min(lanes, _COARSEST)


def tiles(size: FloatArray, room: float) -> FloatArray:
    """Tiles of ``room`` that an operand takes, at least 1."""
    return np.asarray(np.maximum(np.ceil(size / room), 1.0))


def reread(
    first: FloatArray, second: FloatArray, first_tiles: FloatArray, second_tiles: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """What is read of each operand of one product when it may take more than one tile on the chip.

    One operand is held tile by tile and the other is read again once per tile; of the two orders the one that reads
    less counts. An operand of one tile is held, and then both are read once.

    Args:
        first, second: sizes of the two operands, ``(..., L)``.
        first_tiles, second_tiles: tiles of each.
    """
    hold_first = second * first_tiles + first <= first * second_tiles + second
    return first * np.where(hold_first, 1.0, second_tiles), second * np.where(hold_first, first_tiles, 1.0)


def check_widths(
    table: LayerTable, work: Workload, supported: NDArray[np.bool_], target: str, executes: str, remedy: str
) -> None:
    """Refuse compute rows at a width that no kernel holds.

    Args:
        supported: ``(33, 33)``, whether weights of w and activations of a bits can be executed.
        executes: what the target executes, in words.
        remedy: what the user can do, in words.

    Raises:
        InputError: names the first such layer, what the target executes, and the remedy.
    """
    w, a = work.w_bits, work.a_bits
    inside = (w >= 1) & (w <= 32) & (a >= 1) & (a <= 32)
    good = inside & supported[np.clip(w, 0, 32), np.clip(a, 0, 32)]
    bad = np.argwhere(work.is_compute & ~good)
    if len(bad):
        at = tuple(bad[0])
        raise InputError(
            f"layer {table.names[int(at[-1])]!r} has {w[at]}-bit weights and {a[at]}-bit activations, and target "
            f"{target} executes {executes}; {remedy}"
        )

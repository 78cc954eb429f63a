"""Rows of a layer table as what the array executes: dense layers to be mapped, how often, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.hardware.simulated.bitfusion.config import BitFusionConfig
from netsmith.hardware.simulated.workload import as_convolutions
from netsmith.network.layers import KIND, IntArray, LayerTable

BoolArray = NDArray[np.bool_]

#: Rules that a row can be priced by. The first two are the authors', a depthwise convolution is ours.
RULES = ("none", "direct", "im2col", "depthwise")
RULE = {name: code for code, name in enumerate(RULES)}
ACCUMULATOR_BITS = 32
_FLOAT = 32
_SIZES = ("c_in", "c_out", "kernel_h", "kernel_w", "h_out", "w_out")
#: Counts stay below this, and so in 64-bit integers.
_LARGEST = 2.0**62


class Dense(NamedTuple):
    """Dense layers, arrays ``(P,)``; a linear layer is a convolution with a kernel of one pixel."""

    kernel_h: IntArray
    kernel_w: IntArray
    stride: IntArray
    c_in: IntArray
    c_out: IntArray
    h_out: IntArray
    w_out: IntArray
    batch: IntArray
    im2col: IntArray
    a_bits: IntArray
    w_bits: IntArray


#: The columns of :class:`Dense` before the bits, which decide the grid of tiles.
SHAPE_COLUMNS = Dense._fields.index("a_bits")


@dataclass(frozen=True)
class Workload:
    """A table as the array sees it; all arrays ``(..., L)``.

    Attributes:
        dense: one of the dense layers that a row is.
        repeats: how many of them, one after the other (groups, or heads times samples); 0 for glue.
        rule: index into ``RULES``.
        extension: the authors' simulator cannot price the row.
    """

    dense: Dense
    repeats: IntArray
    rule: IntArray
    extension: BoolArray

    @property
    def mapped(self) -> BoolArray:
        """Rows that a mapping must be found for."""
        return np.asarray((self.rule == RULE["direct"]) | (self.rule == RULE["im2col"]))

    def rows(self, mask: BoolArray) -> Dense:
        """The dense layers of the rows where ``mask`` (``(..., L)``) holds, ``(P,)``."""
        return Dense(*(column[mask] for column in self.dense))


def parallelism(config: BitFusionConfig, a_bits: IntArray, w_bits: IntArray) -> tuple[IntArray, IntArray]:
    """Products per Fusion Unit and cycle, and cycles per product.

    The published rule is ``int(8 / max(a, 2)) * int(8 / max(w, 2))``. Operands above ``max_bits`` (an extension) are
    taken in two halves of ``max_bits``, a cycle for each pair of halves.
    """

    def side(bits: IntArray) -> IntArray:
        return np.asarray(config.max_bits // np.clip(bits, config.min_bits, config.max_bits))

    def halves(bits: IntArray) -> IntArray:
        return np.where(bits > config.max_bits, 2, 1)

    return side(a_bits) * side(w_bits), halves(a_bits) * halves(w_bits)


def workload(table: LayerTable, batch: int, config: BitFusionConfig, target: str) -> Workload:
    """What ``table`` (``(..., L)``) is to the array for ``batch`` samples.

    Groups of a convolution and heads of a product of activations take their turns. In such a product the second operand
    stands for the weights, with the width of the activations; it comes with the sample, so samples take turns too.

    Args:
        target: its name, for messages.

    Raises:
        InputError: the batch is no whole number above 0, or a row cannot be executed; names the layer and the remedy.
    """
    if isinstance(batch, bool) or not isinstance(batch, int | np.integer) or batch < 1:
        raise InputError(f"the batch must be a whole number above 0, not {batch!r}")
    table = as_convolutions(table)
    # not by the product of the sizes, which may be too large for an integer
    work = table.is_compute & (np.minimum.reduce([getattr(table, name) for name in _SIZES]) > 0)
    convolution, product = table.kind == KIND["conv"], table.kind == KIND["matmul"]
    groups = np.maximum(table.groups, 1)
    image = convolution & (groups == 1) & (table.c_in <= config.im2col_channels)
    image &= table.kernel_h * table.kernel_w > 1
    dense = Dense(
        kernel_h=table.kernel_h, kernel_w=table.kernel_w, stride=table.stride,
        c_in=np.maximum(table.c_in // groups, 1), c_out=np.maximum(table.c_out // groups, 1),
        h_out=table.h_out, w_out=table.w_out, batch=np.where(product, 1, int(batch)), im2col=image.astype(np.int64),
        a_bits=table.a_bits, w_bits=np.where(product, table.a_bits, table.w_bits),
    )  # fmt: skip
    rule = np.where(table.is_depthwise, RULE["depthwise"], np.where(image, RULE["im2col"], RULE["direct"]))
    wide = np.maximum(dense.a_bits, dense.w_bits) > config.max_bits
    found = Workload(
        dense=dense, repeats=np.where(work, groups * np.where(product, int(batch), 1), 0),
        rule=np.where(work, rule, RULE["none"]), extension=work & ((groups > 1) | product | wide),
    )  # fmt: skip
    _check(table, found, work, config, target)
    return found


def _check(table: LayerTable, found: Workload, work: BoolArray, config: BitFusionConfig, target: str) -> None:
    """Refuse what the array cannot execute, and what would not fit into exact integers."""
    d = found.dense
    narrowest, widest = np.minimum(d.a_bits, d.w_bits), np.maximum(d.a_bits, d.w_bits)
    executes = (
        f"target {target} executes whole numbers of 1 to {config.widest_bits} bits; profile the network with --bits "
        f"{config.max_bits}"
    )
    lacks = (
        "needs a rule that the published simulator of Bit Fusion lacks (depthwise and grouped convolutions, products "
        f"of activations, more than {config.max_bits} bits), and target {target} has them switched off; set extensions "
        "to true"
    )
    refused = (
        (f"is in floating point, and {executes}", widest == _FLOAT),
        (f"has activations of {{a}} and weights of {{w}} bits, and {executes}", narrowest < 1),
        (f"has activations of {{a}} and weights of {{w}} bits, and {executes}", widest > 2 * config.max_bits),
        (lacks, found.extension & (not config.extensions)),
        (f"is too large for exact counts on target {target}; choose a smaller batch", _most(found, config) > _LARGEST),
    )
    for reason, rows in refused:
        bad = np.argwhere(work & rows)
        if len(bad):
            at = tuple(bad[0])
            what = reason.format(a=int(d.a_bits[at]), w=int(d.w_bits[at]))
            raise InputError(f"layer {table.names[int(at[-1])]!r} {what}")


def _most(found: Workload, config: BitFusionConfig) -> NDArray[np.float64]:
    """A number that no count of a row exceeds: every operand moved for every product, in tiles that do not divide."""
    d = found.dense
    lanes = config.rows * parallelism(config, d.a_bits, d.w_bits)[0]
    window = np.maximum(d.kernel_h, d.stride) * np.maximum(d.kernel_w, d.stride)
    reach = np.maximum(window, d.kernel_h * d.kernel_w + lanes).astype(np.float64)
    products = reach * d.c_in * (d.c_out + config.columns) * d.h_out * d.w_out * d.batch * np.maximum(found.repeats, 1)
    # twice the size in five directions at most; four transfers are summed; partial sums are the widest operand
    return np.asarray(products * (2**5 * 4 * ACCUMULATOR_BITS))

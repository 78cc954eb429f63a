"""Tiles of dense layers: which sizes there are, what fits the memories, and what a tile costs whatever the loop order.

Sharma et al., "Bit Fusion" (ISCA 2018), in the form of the authors' public simulator. All counts are exact integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netsmith.hardware.simulated.bitfusion.config import BitFusionConfig
from netsmith.hardware.simulated.bitfusion.workload import ACCUMULATOR_BITS, SHAPE_COLUMNS, Dense, parallelism
from netsmith.hardware.table.keys import unique_keys
from netsmith.network.layers import IntArray

#: Loops in the order of their codes, and the loops that each operand depends on.
LOOPS = ("B", "OW", "OH", "IC", "OC")
INPUTS, WEIGHTS, OUTPUTS = (0, 1, 2, 3), (3, 4), (0, 1, 2, 4)
#: Tiles that are held at once; about 30 numbers each.
CHUNK = 2**16


@dataclass(frozen=True)
class Candidates:
    """Tiles that fit, arrays ``(C,)``, sorted by problem; at least one for each problem that has any.

    Attributes:
        problem: index of the dense layer.
        tile: sizes ``(5, C)`` in the order of ``LOOPS``.
        trips: how many tiles there are along each loop, ``(5, C)``.
        weights, inputs, outputs: bits of one tile of each operand.
        compute: cycles of all tiles.
        visits: output elements computed in all visits of tiles, those beyond the edges included.
    """

    problem: IntArray
    tile: IntArray
    trips: IntArray
    weights: IntArray
    inputs: IntArray
    outputs: IntArray
    compute: IntArray
    visits: IntArray

    def take(self, index: IntArray) -> Candidates:
        """The candidates at ``index``."""
        return Candidates(
            self.problem[index], self.tile[:, index], self.trips[:, index], self.weights[index], self.inputs[index],
            self.outputs[index], self.compute[index], self.visits[index],
        )  # fmt: skip


def ceil_div(a: IntArray, b: IntArray | int) -> IntArray:
    """Division that rounds up."""
    return np.asarray(-(-a // b))


def candidates(dense: Dense, config: BitFusionConfig) -> Iterator[tuple[IntArray, Candidates]]:
    """Tiles that fit of every dense layer, in chunks of whole layers.

    Yields:
        Indices of the layers of a chunk, and their candidates, whose ``problem`` counts within the chunk.
    """
    columns = np.stack(dense, axis=-1)
    shapes, shape_of = unique_keys(columns[:, :SHAPE_COLUMNS])
    order = np.argsort(shape_of, kind="stable")  # layers of one shape stand together
    bounds = np.searchsorted(shape_of[order], np.arange(len(shapes) + 1))
    axes = _options(shapes, config)
    for first, last in _chunks(np.prod(axes, axis=0), CHUNK):
        grid = _Grid(shapes[first:last], axes[:, first:last], config)
        layers = order[bounds[first] : bounds[last]]
        local = shape_of[layers] - first
        for a, b in _chunks(grid.count[local], CHUNK):
            part = layers[a:b]
            yield part, grid.fitting(local[a:b], dense.a_bits[part], dense.w_bits[part])


def _chunks(sizes: IntArray, limit: int) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive items whose sizes sum to at most ``limit``, or of one item."""
    ends = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + limit, side="right")))
        yield first, last
        first = last


def _expand(counts: IntArray) -> tuple[IntArray, IntArray]:
    """For ``counts`` items of each owner: the owner of every item, and the item's number within it."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def _doublings(size: IntArray) -> IntArray:
    """How many powers of two are below ``size``, exactly."""
    return np.asarray(np.frexp(size - 1)[1], dtype=np.int64)


def _unit(shape: Dense, config: BitFusionConfig) -> IntArray:
    """Smallest tile of output channels: all columns of the array, or one for an unfolded image."""
    return np.where(shape.im2col > 0, 1, config.columns)


def _shape(rows: IntArray) -> Dense:
    """Shapes ``(S, 9)`` as dense layers whose operands have no width."""
    return Dense(*np.pad(rows, ((0, 0), (0, len(Dense._fields) - SHAPE_COLUMNS))).T)


def _options(rows: IntArray, config: BitFusionConfig) -> IntArray:
    """Number of tile sizes of each shape: batch, output pixels, input channels, output channels; ``(4, S)``.

    Powers of two below the dimension, and the dimension itself.
    """
    s = _shape(rows)
    columns = ceil_div(s.c_out, _unit(s, config))
    return np.stack([_doublings(d) + 1 for d in (s.batch, np.maximum(s.h_out, s.w_out), s.c_in, columns)])


class _Grid:
    """All tiles of some shapes whose outputs fit; a tile's outputs do not depend on the operands' widths."""

    def __init__(self, rows: IntArray, axes: IntArray, config: BitFusionConfig) -> None:
        self.config = config
        s = _shape(rows)
        pixels = np.maximum(s.h_out, s.w_out)
        owner, rank = _expand(axes[0] * axes[1] * axes[3])
        rank, i = np.divmod(rank, axes[3, owner])
        oc = np.minimum(_unit(s, config)[owner] << i, s.c_out[owner])
        b, o = np.divmod(rank, axes[1, owner])
        b = np.minimum(1 << b, s.batch[owner])
        o = np.minimum(1 << o, pixels[owner])
        # one size for both directions, cut to the smaller one where a map is not square
        oh, ow = np.minimum(o, s.h_out[owner]), np.minimum(o, s.w_out[owner])
        columns = ceil_div(oc, config.columns)
        outputs = b * oh * ow * columns * (config.columns * ACCUMULATOR_BITS)
        fits = np.flatnonzero(outputs <= 4 * config.obuf_bytes)

        # input channels make no difference to that, so they come second
        parent, rank = _expand(axes[2, owner[fits]])
        at = fits[parent]
        self.owner = k = owner[at]
        ic = np.minimum(1 << rank, s.c_in[k])
        self.tile = np.stack([b[at], ow[at], oh[at], ic, oc[at]])
        size = np.stack([s.batch, s.w_out, s.h_out, s.c_in, s.c_out])[:, k]
        self.trips = ceil_div(size, self.tile)
        self.outputs = outputs[at]
        self.kernel = s.kernel_h[k] * s.kernel_w[k]
        self.im2col = s.im2col[k] > 0
        direct_h = s.kernel_h[k] + (oh[at] - 1) * s.stride[k]
        direct_w = s.kernel_w[k] + (ow[at] - 1) * s.stride[k]
        window = np.where(self.im2col, oh[at] * ow[at] * self.kernel, direct_h * direct_w)
        self.inputs = window * ic * b[at]  # elements
        visits = b[at] * oh[at] * ow[at] * np.prod(self.trips, axis=0)
        self.visits = visits * oc[at]
        self.steps = visits * columns[at]
        self.count = np.bincount(self.owner, minlength=len(rows))
        self.start = np.cumsum(self.count) - self.count

    def fitting(self, shape: IntArray, a_bits: IntArray, w_bits: IntArray) -> Candidates:
        """Tiles that fit of layers ``(P,)`` given by their shape and the widths of their operands."""
        products, passes = parallelism(self.config, a_bits, w_bits)
        rates, rate = np.unique(products, return_inverse=True)
        weights, steps = self._at_rates(rates)
        owner, rank = _expand(self.count[shape])
        at = self.start[shape][owner] + rank
        weight_bits = weights[rate[owner], at] * w_bits[owner]
        input_bits = self.inputs[at] * a_bits[owner]
        # half of a memory holds the tile in use
        fits = np.flatnonzero((weight_bits <= 4 * self.config.wbuf_bytes) & (input_bits <= 4 * self.config.ibuf_bytes))
        owner, at = owner[fits], at[fits]
        return Candidates(
            problem=owner, tile=self.tile[:, at], trips=self.trips[:, at], weights=weight_bits[fits],
            inputs=input_bits[fits], outputs=self.outputs[at], compute=steps[rate[owner], at] * passes[owner],
            visits=self.visits[at],
        )  # fmt: skip

    def _at_rates(self, rates: IntArray) -> tuple[IntArray, IntArray]:
        """Weights of a tile (elements, filled up to the lanes) and its compute cycles, each ``(R, T)``."""
        lanes = self.config.rows * rates[:, None]
        ic, oc = self.tile[3], self.tile[4]
        folded = ceil_div(self.kernel * ic, lanes)
        steps = np.where(self.im2col, folded, self.kernel * ceil_div(ic, lanes))
        return folded * lanes * oc, steps * self.steps

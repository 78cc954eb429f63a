"""What the rows of a layer table lose with the channels of a group: its members, and what follows them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netsmith.compression.channels import ChannelGroup
from netsmith.compression.whole import takes_whole
from netsmith.decisions.rows import Rows
from netsmith.network.layers import KIND

FloatArray = NDArray[np.float64]


def coupling_of(
    rows: Rows, groups: Sequence[ChannelGroup], whole: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Input and output channels that row r loses for each channel that group d loses, ``(D, R)`` each.

    Args:
        whole: of :func:`whole_of`.
    """
    table, count = rows.table, len(groups)
    c_in, c_out = np.zeros((2, count, len(table)))
    for d, group in enumerate(groups):
        for members, side in ((group.inputs, c_in), (group.outputs, c_out)):
            for m in members:
                for row in rows.calls(m.layer):
                    side[d, row] += len(m.index) / group.channels
    depthwise = table.is_depthwise
    c_in[:, depthwise] = np.maximum(c_in[:, depthwise], c_out[:, depthwise])
    for r, sources in rows.sources.items():
        total = sum(int(table.c_out[s]) for s in sources) or 1
        follow = sum((c_out[:, s] for s in sources), np.zeros(count))
        c_in[:, r] = follow * table.c_in[r] / total
        c_out[:, r] = follow * table.c_out[r] / total
        if rows.pads(r):
            c_out[:, r] = c_in[:, r] + _padded(rows, r, groups)
        if r in rows.operands:
            parts = ~whole[:, r]
            c_in[parts, r], c_out[parts, r] = _parts(rows, r, c_out)[:, parts]
    return c_in, c_out


def _padded(rows: Rows, r: int, groups: Sequence[ChannelGroup]) -> FloatArray:
    """``(D,)``: channels of those that row ``r`` adds that leave with each channel that a group loses."""
    module = rows.table.names[r].rpartition("/")[0]
    ends = [sum(len(end.root) for end in group.padded if end.layer == module) / group.channels for group in groups]
    return np.array(ends)


def _parts(rows: Rows, r: int, c_out: FloatArray) -> FloatArray:
    """``(2, D)``: what a product of two activations loses with parts of heads: of the sum that is contracted where both
    operands lose them, else of its result. Nothing where that is not plain, so that no cost is too low."""
    table, operands = rows.table, rows.operands[r]
    lost = np.zeros((2, len(c_out)))
    sizes = [sum(int(table.c_out[s]) for s in some) for some in operands]
    if len(operands) == 2:
        a, b = (sum((c_out[:, s] for s in some), np.zeros(len(c_out))) for some in operands)
        if sizes[0] == sizes[1] == table.c_in[r]:
            lost[0] = np.where((a > 0) & (b > 0), a, 0)
        if sizes[1] == table.c_out[r]:
            lost[1] = np.where(a == 0, b, 0)
    return lost


def whole_of(rows: Rows, groups: Sequence[ChannelGroup], weighty: frozenset[str]) -> NDArray[np.bool_]:
    """Whether what a group loses of a row with groups (or heads) are whole ones, ``(D, R)``.

    Args:
        weighty: paths of all convolutions and linear layers of the network, whether or not they are rows.
    """
    table = rows.table
    out = np.ones((len(groups), len(table)), dtype=bool)
    names = [name.split("#")[0] for name in table.names]
    for r in np.flatnonzero((table.groups > 1) | (table.kind == KIND["matmul"])):
        sizes = [int(table.c_in[r] // table.groups[r])] * 3
        operands = rows.operands.get(int(r), [[int(r)]])
        if len(operands) == 2 and not any(names[s] in weighty for s in operands[0]):
            sizes[1] = int(table.c_out[r] // table.groups[r])  # values, of which the second product keeps the width
        layers = [(names[s], per) for some, per in zip(operands, sizes, strict=False) for s in some]
        for d, group in enumerate(groups):
            own = [at for at in layers if any(m.layer == at[0] for m in (*group.inputs, *group.outputs))]
            out[d, r] = all(takes_whole(group, *at) for at in own) and not (own and table.groups[r] == 1)
    return out

"""Inverted residual blocks in a layer table: what ProxylessNAS and once-for-all keep one table entry for.

A block is a depthwise convolution, the point-wise convolution before it that widens (none at expansion 1), the one
behind it that narrows, squeeze and excite between the two, and the addition of the input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError
from netsmith.hardware.table.keys import IntArray
from netsmith.network.layers import ACTIVATION, KIND, LayerTable

MBCONV = 1000  #: kind of a whole block, beside the kinds of layers
_EXTRA = ("middle", "expand", "skip", "se", "hs")


@dataclass(frozen=True)
class Block:
    """Indices of a block's rows; ``first`` is its depthwise convolution if it does not widen."""

    first: int
    depthwise: int
    last: int
    squeeze: bool
    added: int | None

    @property
    def rows(self) -> range:
        return range(self.first, (self.last if self.added is None else self.added) + 1)


def find_blocks(table: LayerTable) -> list[Block]:
    """The blocks of a table whose rows are in the order of execution.

    Raises:
        InputError: the designs of a population differ in which rows are which.
    """
    flat = {name: column.reshape(-1, len(table)) for name, column in table.columns.items()}
    depthwise = table.is_depthwise.reshape(-1, len(table))
    if (flat["kind"] != flat["kind"][:1]).any() or (depthwise != depthwise[:1]).any():
        raise InputError(
            "the latency table prices whole blocks, but the designs differ in the kinds of their layers; price designs "
            "of one layout together"
        )
    rows = {name: column[0] for name, column in flat.items()}
    size = np.maximum(rows["h_out"], rows["w_out"])
    taken: set[int] = set()
    found = []
    for i in np.flatnonzero(depthwise[0]).tolist():
        block = _block(rows, size, i, taken)
        if block is not None:
            taken |= set(block.rows)
            found.append(block)
    return found


def _block(rows: dict[str, NDArray[np.int64]], size: IntArray, i: int, taken: set[int]) -> Block | None:
    kinds = rows["kind"]

    def point(j: int) -> bool:
        return bool(
            kinds[j] == KIND["conv"] and rows["groups"][j] == 1 and rows["kernel_h"][j] == rows["kernel_w"][j] == 1
        )

    before = i - 1
    while before >= 0 and kinds[before] == KIND["activation"]:
        before -= 1
    widens = before >= 0 and before not in taken and point(before) and rows["c_out"][before] == rows["c_in"][i]
    inner = (KIND["activation"], KIND["avgpool"], KIND["mul"], KIND["reshape"])
    j, squeeze, gated = i + 1, False, False
    while j < len(kinds) and not (point(j) and size[j] == size[i] and squeeze == gated):
        gate = kinds[j] == KIND["linear"] or (point(j) and size[j] == 1)
        if not gate and kinds[j] not in inner:
            return None
        squeeze |= bool(gate)
        gated |= bool(squeeze and kinds[j] == KIND["mul"])
        j += 1
    if j == len(kinds) or rows["c_in"][j] != rows["c_out"][i]:
        return None
    added = j + 1 if j + 1 < len(kinds) and kinds[j + 1] == KIND["add"] else None
    return Block(before if widens else i, i, j, squeeze, added)


def add_blocks(columns: dict[str, IntArray], table: LayerTable) -> NDArray[np.bool_]:
    """Turn each block's depthwise row into a row of kind ``MBCONV``.

    Args:
        columns: of the table, ``(..., L)``; changed, and given the columns of blocks.

    Returns:
        Rows that are parts of a block and cost nothing themselves, ``(..., L)``.
    """
    inside = np.zeros(table.kind.shape, dtype=bool)
    for name in _EXTRA:
        columns[name] = np.zeros(table.kind.shape, dtype=np.int64)
    before = {name: columns[name] for name in ("kind", "c_in", "c_out", "h_in", "w_in")}
    for name in before:
        columns[name] = before[name].copy()
    for block in find_blocks(table):
        i, first = block.depthwise, block.first
        inside[..., list(block.rows)] = True
        inside[..., i] = False
        columns["kind"][..., i] = MBCONV
        columns["c_out"][..., i] = before["c_out"][..., block.last]
        for name in ("c_in", "h_in", "w_in"):
            columns[name][..., i] = before[name][..., first]
        middle, c_in = before["c_in"][..., i], before["c_in"][..., first]
        columns["middle"][..., i] = middle
        columns["expand"][..., i] = np.where(middle % c_in == 0, middle // c_in, 0)
        columns["skip"][..., i] = int(block.added is not None)
        columns["se"][..., i] = int(block.squeeze)
        columns["hs"][..., i] = table.activation[..., i] == ACTIVATION["hardswish"]
        for j in range(i + 1, block.last):  # an activation that is not fused has a row of its own
            if (table.kind[..., j] == KIND["activation"]).all() and (
                table.activation[..., j] == ACTIVATION["hardswish"]
            ).all():
                columns["hs"][..., i] = 1
                break
    return inside

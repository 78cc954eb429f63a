"""Rows of a layer table as keys of a latency table: what matters for the time of a row, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from netsmith.network.layers import ACTIVATION, COMPUTE_CODES, KIND, LayerTable
from netsmith.network.layers import MIXED as MIXED_LAYOUT
from netsmith.network.layers import PLAIN as PLAIN_LAYOUT

IntArray = NDArray[np.int64]

#: Contexts. The same operator costs differently depending on the layout of the tensors around it.
PLAIN = 0  #: tensors without a map (tokens, vectors), integer rows, and operators that read memory as it is
BLOCKED = 1  #: between convolutions, whose tensors are in the runtime's blocked layout
MIXED = 2  #: an addition whose other input is not in the blocked layout
ENTRY = 3  #: first layer of a network
BARE = 4  #: a convolution without what comes before it (used for differences)


class Key(NamedTuple):
    """What the time of a row depends on.

    Bias and padding are left out: every measured layer has a bias, and edges cost what the middle costs.
    """

    kind: int
    c_in: int
    c_out: int
    kernel_h: int
    kernel_w: int
    stride: int
    groups: int
    h_in: int
    w_in: int
    h_out: int
    w_out: int
    activation: int
    bits: int  #: 8 for integer kernels, 32 for floating point
    context: int

    @property
    def computes(self) -> bool:
        """Whether it multiplies and accumulates."""
        return self.kind in COMPUTE_CODES

    @property
    def macs(self) -> int:
        """Multiply-accumulates; 0 for glue."""
        transposed = self.kind == KIND["conv_transpose"]
        return self.weights * (self.h_in * self.w_in if transposed else self.h_out * self.w_out)

    @property
    def weights(self) -> int:
        """Elements of the operand that is a weight, or stands for one; 0 for glue."""
        return self.c_in * self.c_out // max(1, self.groups) * self.kernel_h * self.kernel_w * self.computes

    @property
    def stored(self) -> int:
        """Weights that come with the network: none in a product of two activations."""
        return 0 if self.kind == KIND["matmul"] else self.weights


_ELEMENTWISE = [
    KIND[k] for k in ("add", "mul", "activation", "softmax", "norm", "quantize", "dequantize", "other", "unknown")
]
_MAPS = [KIND[k] for k in ("add", "mul", "activation", "maxpool", "avgpool", "concat", "norm")]


def keys_of(table: LayerTable) -> IntArray:
    """Keys of every row, ``(..., L)`` to ``(..., L, 14)``, columns in the order of :class:`Key`.

    A row runs in an integer kernel if its activations, and its weights where it has any, have at most 8 bits; every
    other width runs in floating point. Widths below 8 are held in 8 bits.
    """
    bits = np.where((table.a_bits <= 8) & (~table.has_weights | (table.w_bits <= 8)), 8, 32)
    columns = layer_columns(table)
    out = np.stack([*(columns[n] for n in Key._fields[:12]), bits, _context(table, bits)], axis=-1)
    return out.astype(np.int64)


def layer_columns(table: LayerTable) -> dict[str, IntArray]:
    """Columns of a layer table, with what does not matter for the time of a row's kind at its neutral value."""
    c = table.columns
    compute = table.is_compute
    is_conv = table.is_conv
    pool = (table.kind == KIND["maxpool"]) | (table.kind == KIND["avgpool"])
    plain = np.isin(table.kind, _ELEMENTWISE)
    one = np.ones_like(table.kind)
    columns = dict(c)
    for name in ("kernel_h", "kernel_w", "stride"):
        columns[name] = np.where(is_conv | pool, c[name], one)
    columns["groups"] = np.where(compute, c["groups"], one)
    columns["activation"] = np.where(
        compute | np.isin(table.kind, [KIND["add"], KIND["activation"]]), c["activation"], 0
    )
    channelwise = plain | pool | (table.kind == KIND["concat"])
    columns["c_in"] = np.where(channelwise, c["c_out"], c["c_in"])
    columns["h_in"] = np.where(plain, c["h_out"], c["h_in"])
    columns["w_in"] = np.where(plain, c["w_out"], c["w_in"])
    return columns


def _context(table: LayerTable, bits: IntArray) -> IntArray:
    is_conv = table.kind == KIND["conv"]
    maps = (
        np.isin(table.kind, _MAPS)
        & ((table.h_in > 1) | (table.h_out > 1))
        & (table.layout != PLAIN_LAYOUT)
        & (bits == 32)
    )
    context = np.where(maps | (is_conv & (bits == 32)), BLOCKED, PLAIN)
    # a padded shortcut leaves the blocked layout, and every later addition behind it inherits that
    mixed = maps & (table.kind == KIND["add"]) & (table.layout == MIXED_LAYOUT)
    context = np.where(mixed, MIXED, context)
    return np.where(is_conv & (table.c_in <= 4) & (table.groups == 1), ENTRY, context).astype(np.int64)


def unique_keys(keys: IntArray) -> tuple[IntArray, IntArray]:
    """Distinct keys ``(U, 14)`` and, for each row of ``keys`` ``(..., 14)``, the index of its key.

    Sorting rows of 14 numbers is slow for a population; their 64-bit hashes sort fast, and equality is checked after.
    """
    flat = keys.reshape(-1, keys.shape[-1])
    multipliers = np.random.default_rng(0).integers(1, 2**62, flat.shape[1], dtype=np.int64) * 2 + 1
    with np.errstate(over="ignore"):
        hashed = (flat * multipliers).sum(axis=1)
    _, first, inverse = np.unique(hashed, return_index=True, return_inverse=True)
    distinct = flat[first]
    if not np.array_equal(distinct[inverse], flat):
        distinct, inverse = np.unique(flat, axis=0, return_inverse=True)
    return distinct, inverse.reshape(keys.shape[:-1])


def describe(key: Key) -> str:
    """A key in words, for messages."""
    from netsmith.network.layers import ACTIVATIONS, KINDS

    act = f"+{ACTIVATIONS[key.activation]}" if key.activation != ACTIVATION["none"] else ""
    return (
        f"{KINDS[key.kind]}{act} {key.c_in}x{key.h_in}x{key.w_in} -> {key.c_out}x{key.h_out}x{key.w_out} "
        f"kernel {key.kernel_h}x{key.kernel_w} stride {key.stride} groups {key.groups} {key.bits} bits"
    )


def as_key(row: Iterable[int]) -> Key:
    """A row as a dictionary key; a user's columns have no names of their own."""
    values = tuple(row)
    return Key(*values) if len(values) == len(Key._fields) else cast(Key, values)

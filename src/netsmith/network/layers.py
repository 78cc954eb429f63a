"""The layer table: a network as a struct of arrays, one row a layer, populations as leading axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError, shown

IntArray = NDArray[np.int64]

#: Row kinds. Those of ``COMPUTE`` do multiply-accumulates; the rest are the glue between them, which costs time too,
#: and ``unknown``, whose cost nobody knows. Files hold their codes: new ones come last.
KINDS = (
    "conv", "linear", "matmul",
    "add", "mul", "activation", "maxpool", "avgpool", "concat", "norm", "softmax", "reshape", "pad",
    "quantize", "dequantize", "other", "conv_transpose", "unknown",
)  # fmt: skip
KIND = {name: code for code, name in enumerate(KINDS)}
COMPUTE = ("conv", "linear", "matmul", "conv_transpose")
COMPUTE_CODES = frozenset(KIND[name] for name in COMPUTE)
WEIGHTED = ("conv", "linear", "conv_transpose")  #: one of whose operands is stored with the network
_COMPUTES = np.isin(KINDS, COMPUTE)  #: by code
FLOAT = 32  #: the width of floating point

#: Where a row's tensors live: PLAIN (tokens, vectors), MAPS (image maps between convolutions, which runtimes keep in a
#: blocked layout), MIXED (an addition one of whose operands left that layout, such as a padded shortcut).
PLAIN, MAPS, MIXED = 0, 1, 2

#: Activations that a runtime may fuse into the row before them.
ACTIVATIONS = ("none", "relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "silu", "gelu", "tanh", "other")
ACTIVATION = {name: code for code, name in enumerate(ACTIVATIONS)}

_COLUMNS = (
    "kind", "c_in", "c_out", "kernel_h", "kernel_w", "stride", "groups",
    "h_in", "w_in", "h_out", "w_out", "bias", "activation", "w_bits", "a_bits", "layout", "calls", "shared",
    "entries",
)  # fmt: skip
_MOST, _MOST_WORK = 10**9, 1e18  #: of any number of a layer, and of its multiply-accumulates, which are 64 bits wide
_RANGES = {
    "kind": (0, len(KINDS) - 1), "groups": (1, _MOST), "activation": (0, len(ACTIVATIONS) - 1),
    "w_bits": (1, FLOAT), "a_bits": (1, FLOAT), "layout": (PLAIN, MIXED),
}  # fmt: skip


@dataclass(frozen=True)
class LayerTable:
    """Layers as integer arrays of shape ``(..., L)``; leading axes are populations of designs.

    Multiply-accumulates of a run of a row are ``c_in * c_out / groups * kernel_h * kernel_w * h_out * w_out`` for every
    compute kind but transposed convolutions, which have those of their input, ``h_in * w_in``: a linear layer over T
    tokens has ``h_out = T``; a matrix product of H heads, ``(M, K) x (K, N)``, has ``groups = H``, ``c_in = K * H``,
    ``c_out = N * H``, ``h_out = M``. Glue rows (kinds that are not in ``COMPUTE``) move ``c_in * h_in * w_in`` elements
    in and ``c_out * h_out * w_out`` out.

    Attributes:
        names: module paths, ``L`` strings; functional products are ``module/op``, or the parameter that they have as an
            operand, and a module's second call is ``module#2``.
        kind: index into ``KINDS``.
        activation: index into ``ACTIVATIONS`` of what is fused behind the row.
        w_bits, a_bits: 32 means floating point.
        layout: PLAIN, MAPS or MIXED.
        calls: how often the row runs for one sample: the steps of a recurrent layer, 0 for what a design leaves out.
        shared: 1 where the weights are no parameters of the row's own: a module's second call, weights that come with
            the sample.
        entries: how many of the weights a file stores, with their positions, the others being zero; 0 for all. What
            runs is not changed by it.
    """

    names: tuple[str, ...]
    kind: IntArray
    c_in: IntArray
    c_out: IntArray
    kernel_h: IntArray
    kernel_w: IntArray
    stride: IntArray
    groups: IntArray
    h_in: IntArray
    w_in: IntArray
    h_out: IntArray
    w_out: IntArray
    bias: IntArray
    activation: IntArray
    w_bits: IntArray
    a_bits: IntArray
    layout: IntArray
    calls: IntArray
    shared: IntArray
    entries: IntArray
    frozen: dict[str, str] = field(default_factory=dict)  #: layer name -> why it cannot be pruned or quantized

    @classmethod
    def from_rows(cls, rows: list[dict[str, Any]]) -> LayerTable:
        """Build a table of shape ``(L,)`` from one mapping a layer; absent columns are 1, bits 32, flags 0."""
        default = dict.fromkeys(_COLUMNS, 1) | {"bias": 0, "activation": 0, "w_bits": 32, "a_bits": 32, "layout": PLAIN}
        default |= {"shared": 0, "entries": 0}
        columns: dict[str, Any] = {
            c: np.array([row.get(c, default[c]) for row in rows], dtype=np.int64) for c in _COLUMNS
        }
        frozen = {row["name"]: row["frozen"] for row in rows if row.get("frozen")}
        return cls(names=tuple(row["name"] for row in rows), frozen=frozen, **columns)

    @classmethod
    def distinct(cls, tables: Sequence[LayerTable]) -> LayerTable:
        """The rows of tables of any shape, each once and run once, ``(U,)``; of equal rows the first gives the name."""
        columns = np.stack([np.concatenate([t.columns[c].ravel() for t in tables]) for c in _COLUMNS])
        columns[[_COLUMNS.index(c) for c in ("calls", "shared", "entries")]] = [[1], [0], [0]]
        unique, first = np.unique(columns, axis=1, return_index=True)
        names = [name for t in tables for name in t.names * (t.kind.size // max(1, len(t)))]
        rows: dict[str, Any] = dict(zip(_COLUMNS, unique, strict=True))
        return cls(names=tuple(names[i] for i in first), **rows)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def columns(self) -> dict[str, IntArray]:
        return {c: getattr(self, c) for c in _COLUMNS}

    @property
    def is_compute(self) -> NDArray[np.bool_]:
        return np.asarray(_COMPUTES[self.kind])

    @property
    def is_conv(self) -> NDArray[np.bool_]:
        """Convolutions, transposed ones among them."""
        return np.asarray((self.kind == KIND["conv"]) | (self.kind == KIND["conv_transpose"]))

    @property
    def has_weights(self) -> NDArray[np.bool_]:
        """Rows one of whose operands is stored with the network."""
        return np.asarray(self.is_conv | (self.kind == KIND["linear"]))

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the rows whose cost nobody knows."""
        return tuple(n for i, n in enumerate(self.names) if (self.kind[..., i] == KIND["unknown"]).any())

    @property
    def is_depthwise(self) -> NDArray[np.bool_]:
        return np.asarray(self.is_conv & (self.groups > 1) & (self.groups == self.c_in))

    @property
    def macs(self) -> IntArray:
        """Multiply-accumulates of one sample, all runs of a row, ``(..., L)``; 0 for glue."""
        transposed = self.kind == KIND["conv_transpose"]
        positions = np.where(transposed, self.h_in * self.w_in, self.h_out * self.w_out)
        macs = self.c_in * self.c_out // self.groups * self.kernel_h * self.kernel_w * positions
        return np.where(self.is_compute, macs * self.calls, 0)

    @property
    def weights(self) -> IntArray:
        """Weights without bias, ``(..., L)``; 0 for products of two activations, for glue, and for what never runs."""
        weights = self.c_in * self.c_out // self.groups * self.kernel_h * self.kernel_w
        return np.where(self.has_weights & (self.calls > 0), weights, 0)

    @property
    def moved(self) -> IntArray:
        """Elements that a row reads and writes, weights aside, ``(..., L)``; additions and products read two maps."""
        operands = np.where((self.kind == KIND["add"]) | (self.kind == KIND["mul"]), 2, 1)
        return operands * self.c_in * self.h_in * self.w_in + self.c_out * self.h_out * self.w_out

    @property
    def params(self) -> IntArray:
        """Weights and biases, ``(..., L)``; those of a module that is called several times at its first row."""
        return np.where(self.shared > 0, 0, self.weights + np.where(self.weights > 0, self.bias * self.c_out, 0))

    def replace(self, **columns: Any) -> LayerTable:
        """Return a table with some columns replaced; shapes broadcast, so ``(N, L)`` columns make a population."""
        arrays = {k: np.asarray(v, dtype=np.int64) if k in _COLUMNS else v for k, v in columns.items()}
        shape = np.broadcast_shapes(self.kind.shape, *(v.shape for k, v in arrays.items() if k in _COLUMNS))
        merged: dict[str, Any] = self.columns | arrays
        full: dict[str, Any] = {k: np.broadcast_to(v, shape) if k in _COLUMNS else v for k, v in merged.items()}
        return dataclasses.replace(self, **full)

    def take(self, index: Any) -> LayerTable:
        """Return the rows at ``index`` (integers or a mask over L); rows may repeat."""
        index = np.arange(len(self))[index]
        columns: dict[str, Any] = {k: v[..., index] for k, v in self.columns.items()}
        return dataclasses.replace(self, names=tuple(self.names[i] for i in index), **columns)

    def to_dict(self) -> dict[str, Any]:
        """Names and columns of a table of shape ``(L,)`` as JSON values; :meth:`from_dict` reads them.

        Entries are left out where every row stores all of its weights.
        """
        columns = {c: v.tolist() for c, v in self.columns.items() if c != "entries" or v.any()}
        return {"names": list(self.names)} | columns

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> LayerTable:
        """The table that :meth:`to_dict` wrote.

        Raises:
            InputError: a column is missing, or holds other than whole numbers that a layer may have.
        """
        names = record.get("names") if isinstance(record, Mapping) else None
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise InputError("the layers have no list of names")
        missing = {"calls": [1] * len(names)} | dict.fromkeys(("shared", "entries"), [0] * len(names))  # in older files
        columns: dict[str, Any] = {}
        for name in _COLUMNS:
            low, high = _RANGES.get(name, (0, _MOST))
            values = record.get(name, missing.get(name))
            if not isinstance(values, list | tuple) or len(values) != len(names):
                raise InputError(f"the column {name} of the layers is no list of {len(names)} numbers")
            wrong = [v for v in values if type(v) is not int or not low <= v <= high]
            if wrong:
                allowed = f"no whole number of {low} to {high}"
                raise InputError(f"the column {name} of the layers has {shown(wrong[0])}, {allowed}")
            columns[name] = np.array(values, dtype=np.int64)
        found = cls(names=tuple(names), **columns)
        sizes = [np.maximum(1.0, columns[c]) for c in ("c_in", "c_out", "kernel_h", "kernel_w", "calls")]
        maps = [np.maximum(1.0, np.maximum(columns[f"{axis}_in"], columns[f"{axis}_out"])) for axis in "hw"]
        work = np.prod([*sizes, *maps], axis=0)
        if (work > _MOST_WORK).any():
            raise InputError(f"layer {shown(names[int(work.argmax())])} has more work than any machine does")
        return found

    def row(self, i: int) -> dict[str, Any]:
        """Row ``i`` of a table of shape ``(L,)`` as plain values."""
        return {"name": self.names[i]} | {k: int(v[i]) for k, v in self.columns.items()}

"""What a user's table tells layers apart by: rows of a layer table as keys over any columns.

A table that ``cpu`` measured has the columns of :class:`~netsmith.hardware.table.keys.Key`. A user's table has those
that it has; a column that it gives for no row of a kind (``ANY``) is not looked at for that kind, and a kind of glue
that it has no row of costs nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError, shown
from netsmith.hardware.table.interpolation import Row
from netsmith.hardware.table.keys import IntArray, layer_columns
from netsmith.hardware.table.mbconv import MBCONV, add_blocks
from netsmith.network.layers import ACTIVATIONS, COMPUTE_CODES, KINDS, LayerTable

ANY = -1  #: the table does not tell layers of this kind apart by this column
FREE = -2  #: kind of a row that costs nothing here: glue that is not modelled, or a part of a block

#: Columns that a user's table may have, in the order of its keys.
COLUMNS = (
    "name", "kind", "c_in", "c_out", "kernel_h", "kernel_w", "stride", "groups", "h_in", "w_in", "h_out", "w_out",
    "activation", "w_bits", "a_bits", "middle", "expand", "skip", "se", "hs",
)  # fmt: skip


@dataclass(frozen=True)
class Schema:
    """What a table tells apart.

    Attributes:
        columns: of its keys.
        names: layer names, by the index that stands in the column "name".
        ignored: kind -> columns that are ``ANY`` for it; kind ``ANY`` where the table has no column "kind".
        widths: kind -> measured (weight, activation) bits, ascending.
    """

    columns: tuple[str, ...]
    names: tuple[str, ...]
    ignored: dict[int, tuple[int, ...]]
    widths: dict[int, list[tuple[int, int]]]

    @classmethod
    def of(cls, columns: tuple[str, ...], names: tuple[str, ...], keys: Iterable[Row]) -> Schema:
        """Read it off the rows of a table."""
        rows = np.array(list(keys), dtype=np.int64).reshape(-1, len(columns))
        kinds = rows[:, columns.index("kind")] if "kind" in columns else np.full(len(rows), ANY)
        ignored: dict[int, tuple[int, ...]] = {}
        widths: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for kind in np.unique(kinds).tolist():
            mine = rows[kinds == kind]
            ignored[kind] = tuple(np.flatnonzero((mine == ANY).all(axis=0)).tolist())
            if {"w_bits", "a_bits"} <= set(columns):
                pairs = mine[:, [columns.index("w_bits"), columns.index("a_bits")]]
                found = {(w, a) for w, a in pairs.tolist() if ANY not in (w, a)}
                widths[kind] = sorted(found, key=lambda p: (sum(p), p))
        return cls(columns, names, ignored, dict(widths))

    @property
    def all_widths(self) -> tuple[tuple[int, int], ...]:
        """Pairs of bit-widths of compute layers, the widest first; empty if the table does not tell them apart."""
        pairs = {p for kind, found in self.widths.items() if kind in {*COMPUTE_CODES, ANY, MBCONV} for p in found}
        return tuple(sorted(pairs, key=lambda p: (-sum(p), p)))

    def keys(self, table: LayerTable) -> IntArray:
        """Keys of every row, ``(..., L)`` to ``(..., L, K)``.

        Raises:
            InputError: the table is by layer names and does not know widths, but the layers differ in them.
        """
        columns = layer_columns(table)
        # a product of two activations and glue have no weights; their width is that of the activations
        columns["w_bits"] = np.where(table.has_weights, columns["w_bits"], columns["a_bits"])
        if "name" in self.columns:
            index = {name: i for i, name in enumerate(self.names)}
            numbers = np.array([index.get(n, len(self.names)) for n in table.names], dtype=np.int64)
            columns["name"] = np.broadcast_to(numbers, table.kind.shape)
        inside = np.zeros(table.kind.shape, dtype=bool)
        if MBCONV in self.ignored:
            inside = add_blocks(columns, table)
        absent = np.full(table.kind.shape, ANY, dtype=np.int64)
        keys = np.stack([columns.get(c, absent) for c in self.columns], axis=-1)
        kinds = columns["kind"] if "kind" in self.columns else np.full(table.kind.shape, ANY)
        self._round_widths(keys, kinds)
        for kind, which in self.ignored.items():
            for column in which:
                keys[..., column] = np.where(kinds == kind, ANY, keys[..., column])
        if "name" in self.columns:
            self._refuse_unknown_widths(table, keys)
        keys[inside | self._not_modelled(table, columns)] = FREE
        return keys

    def _not_modelled(self, table: LayerTable, columns: dict[str, IntArray]) -> NDArray[np.bool_]:
        """Glue of a kind, or of a name, that the table does not have."""
        if "kind" not in self.columns:
            return np.asarray(~table.is_compute & (columns["name"] == len(self.names)))
        return np.asarray(~table.is_compute & ~np.isin(table.kind, list(self.ignored)))

    def _round_widths(self, keys: IntArray, kinds: IntArray) -> None:
        """A width without a kernel is held in the next wider one that has been measured."""
        for kind, pairs in self.widths.items():
            w, a = self.columns.index("w_bits"), self.columns.index("a_bits")
            wanted, here = keys[..., [w, a]], kinds == kind
            found = np.zeros(kinds.shape, dtype=bool)
            for pair in pairs:
                fits = here & ~found & (wanted <= np.array(pair)).all(axis=-1)
                keys[fits, w], keys[fits, a] = pair
                found |= fits

    def _refuse_unknown_widths(self, table: LayerTable, keys: IntArray) -> None:
        lacking = [c for c in ("c_in", "c_out") if c not in self.columns]
        known = keys[..., self.columns.index("name")].reshape(-1)
        for column in lacking:
            pairs = np.stack([known, np.broadcast_to(getattr(table, column), table.kind.shape).reshape(-1)], axis=1)
            pairs = np.unique(pairs[known < len(self.names)], axis=0)
            doubled = np.flatnonzero(np.diff(pairs[:, 0]) == 0)
            if len(doubled):
                raise InputError(
                    f"the latency table prices {shown(self.names[pairs[doubled[0], 0]])} by its name and knows "
                    "nothing of "
                    f"{column}, but its channels change here; give times by channels, or do not prune "
                    "(--methods quantize)"
                )


def describe_row(key: Row, columns: tuple[str, ...], names: tuple[str, ...]) -> str:
    """A key in words, for messages."""
    words = []
    for column, value in zip(columns, key, strict=True):
        if column == "name":
            words.append(repr(names[value]) if value < len(names) else "a layer of another name")
        elif column == "kind":
            words.append("inverted residual block" if value == MBCONV else KINDS[value])
        elif column == "activation" and value > 0:
            words.append(f"activation {ACTIVATIONS[value]}")
        elif value != ANY and column != "activation":
            words.append(f"{column} {value}")
    return " ".join(words)

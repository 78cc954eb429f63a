"""The buffers of a run of a network, step by step, and how many bytes they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from netsmith.network.layers import FLOAT, LayerTable

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Form = Literal["float", "integer"]


@dataclass(frozen=True)
class Value:
    """What a node yields: ``scale`` times what its row writes (or, ``by`` groups, for each of the row's groups).

    Attributes:
        name: of the node.
        row: of the layer table; -1 for what no row sets the size of, which has ``scale`` numbers.
    """

    name: str
    row: int
    scale: float
    numbers: float
    by: Literal["output", "groups"] = "output"


@dataclass(frozen=True)
class Timeline:
    """The steps of a run, and the buffers that hold something at each.

    Attributes:
        steps: what runs, ``T`` names of nodes (or of conversions).
        buffers: for each of B buffers the tensors that lie in it, one after the other: value and form.
        live: ``(T, B)``: which buffers hold something at which step.
        readers: for each buffer the rows that read it; -1 for what reads floats.
    """

    steps: tuple[str, ...]
    buffers: tuple[tuple[tuple[Value, Form], ...], ...]
    live: BoolArray
    readers: tuple[tuple[int, ...], ...]

    def bytes(self, table: LayerTable, float_bits: int = FLOAT, integer_bits: int = 8) -> FloatArray:
        """Bytes of every buffer for layer tables ``(N, R)``, ``(N, B)``; fractions where numbers have few bits.

        Args:
            float_bits, integer_bits: that a number takes in either form.
        """
        numbers = self._numbers(table)
        bits = [max(integer_bits if form == "integer" else float_bits for _, form in held) for held in self.buffers]
        return np.asarray(numbers * np.array(bits, dtype=float) / 8)

    def bytes_read(self, table: LayerTable, float_bits: int = FLOAT) -> FloatArray:
        """The same where a value is stored once: in the most bits of the layers that read it, and in ``float_bits``
        where something reads it that is no layer of few bits."""
        numbers = self._numbers(table)
        bits = np.where(table.a_bits >= FLOAT, float_bits, table.a_bits)
        out = np.empty_like(numbers)
        for b, rows in enumerate(self.readers):
            widths = bits[:, list(rows)].max(axis=1) if rows and min(rows) >= 0 else float_bits
            out[:, b] = numbers[:, b] * widths / 8
        return out

    def _numbers(self, table: LayerTable) -> FloatArray:
        """Numbers in every buffer, ``(N, B)``."""
        firsts = [held[0][0] for held in self.buffers]
        row = np.array([v.row for v in firsts], dtype=np.int64)
        scale = np.array([v.scale for v in firsts])
        written = (table.c_out * table.h_out * table.w_out)[:, row]
        groups = np.array([v.by == "groups" for v in firsts])
        sizes = np.where(row < 0, 1, np.where(groups, table.groups[:, row], written))
        return np.asarray(sizes * scale, dtype=float)


def peak_steps(timeline: Timeline, sizes: FloatArray) -> FloatArray:
    """Bytes that are in use at each step, ``(N, T)``, for sizes of buffers ``(N, B)``."""
    return np.asarray(sizes @ timeline.live.T)


def held_at(timeline: Timeline, sizes: FloatArray, step: int) -> Mapping[str, float]:
    """The tensors that live at a step with their bytes, largest first; sizes ``(B,)``."""
    found = {
        held[-1][0].name: float(sizes[b])
        for b, held in enumerate(timeline.buffers)
        if timeline.live[step, b]
    }  # fmt: skip
    return dict(sorted(found.items(), key=lambda item: -item[1]))

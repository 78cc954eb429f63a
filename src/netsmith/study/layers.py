"""Which layers decisions are about, as agents that go through a network layer by layer are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsmith.network.layers import LayerTable


@dataclass(frozen=True)
class Layers:
    """Which layers decisions are about.

    Attributes:
        table: of the network as given, shape ``(L,)``.
        rows: for each of the D decisions the row that stands for it.
        touched: ``(D, L)``, the rows that each decision changes.
    """

    table: LayerTable
    rows: Sequence[int]
    touched: NDArray[np.bool_]

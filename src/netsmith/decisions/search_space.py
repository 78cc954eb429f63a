"""What a search chooses from: a given network's decisions, or a family of networks; with what designs are and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netsmith.export.packed import Scheme, Stored, table_bytes
from netsmith.export.packed.file import file_bytes
from netsmith.export.packed.model import stored_tensors
from netsmith.network.graph import Graph
from netsmith.network.layers import LayerTable
from netsmith.space import Space

Designs = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
RowCost = Callable[[LayerTable], FloatArray]  #: the cost of each row of a table, ``(..., L)``


class RowSpace(Protocol):
    """Decisions, and what each does to the layer table: what prices are made of.

    A row is one layer that some design has; the rows of all designs together are the columns of one table, in which a
    row that a design leaves out has 0 ``calls`` (and sizes that a target can price all the same).
    """

    @property
    def decisions(self) -> Space:
        """The D decisions."""
        ...

    @property
    def reference(self) -> Designs:
        """The design that relative budgets refer to, ``(D,)``: of a given network the one that changes nothing."""
        ...

    def canonical(self, designs: Designs) -> Designs:
        """Designs ``(N, D)`` with the choices that make no difference reset, so that equal networks are equal."""
        ...

    def depends(self) -> BoolArray:
        """``(D, R)``: which decisions change which rows. Sizes, bits and calls of a row depend on nothing else."""
        ...

    def deciding(self, row: int) -> list[int]:
        """The decisions that ``row`` depends on, first those that must be priced jointly if there are too many."""
        ...

    def rows(self, designs: Designs, at: Sequence[int] | IntArray | None = None) -> LayerTable:
        """The layers of designs ``(N, D)``, ``(N, R)``; only the rows ``at``, if given."""
        ...


class SearchSpace(RowSpace, Protocol):
    """Decisions, what each does to the layer table, and the networks that they make."""

    def build(self, design: Designs, weights: Any = None) -> Any:
        """The module of a design ``(D,)``, with fresh weights or those that a network of all designs has for it."""
        ...

    def activate(self, network: Any, design: Designs) -> None:
        """Let a network of all designs compute what the one of ``design (D,)`` does, until another is activated."""
        ...


class Between(Protocol):
    """What lies between the layers of a space's networks and depends on the whole of a design.

    A space may bring it as ``between``. Its rows have no cost of their own: it prices them, and what else there is, for
    whole designs, and expands that around one of them for a table.
    """

    @property
    def rows(self) -> BoolArray:
        """Which rows it prices, ``(R,)``."""
        ...

    @property
    def starts(self) -> Designs:
        """Designs ``(S, D)`` around which a search expands before it has found any."""
        ...

    def has(self, cost: str) -> bool:
        """Whether what lies between layers has this cost."""
        ...

    def is_free(self, row_cost: RowCost) -> bool:
        """Whether it costs nothing at every design."""
        ...

    def price(self, designs: Designs, row_cost: RowCost) -> FloatArray:
        """What lies between the layers of each design costs, ``(N,)``."""
        ...

    def expand(
        self, around: Designs, row_cost: RowCost
    ) -> tuple[float, list[FloatArray], dict[tuple[int, int], FloatArray]]:
        """First order, and pairs of decisions, around a design ``(D,)``: the cost there, what each choice of each
        decision adds to it, and what two choices add beyond both."""
        ...

    def with_bits(self, table: LayerTable, design: Designs) -> LayerTable:
        """The rows of one design ``(..., R)`` with the bit-widths that the rows between layers have in it."""
        ...

    def added(self, table: LayerTable, design: Designs) -> LayerTable:
        """Rows that one design ``(R,)`` needs beside those of the space."""
        ...


@dataclass(frozen=True)
class Storage:
    """How the networks of a space lie in a packed file; a space may bring it as ``storage``.

    Attributes:
        scheme: how weights of few bits are stored.
        stored: by row name, how its tensors stand in the file.
        frame_bytes: of the file, whatever the design: its head, and the tensors that no row has.
    """

    scheme: Scheme = "linear"
    stored: Mapping[str, Stored | None] | None = None
    frame_bytes: int = field(default_factory=file_bytes)

    @classmethod
    def of(cls, graph: Graph, scheme: Scheme = "linear") -> Storage:
        """How a traced network is stored."""
        stored, others = stored_tensors(graph)
        return cls(scheme, stored, table_bytes(graph.layers, [], others=others, stored=stored)[0])

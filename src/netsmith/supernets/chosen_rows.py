"""Rows of a family of networks each of which depends on one decision at most: of all designs together, in one table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.network.layers import LayerTable

Designs = NDArray[np.int64]
IntArray = NDArray[np.int64]
Row = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """Rows that come together: a block, or what stands before and behind all blocks.

    Attributes:
        decision: that they depend on; -1 for none.
        choices: for each choice (for the only one, where there is no decision) its rows by the name of their part. What
            is a part of one choice and not of another has no calls in the latter.
    """

    decision: int
    choices: Sequence[Mapping[str, Row]]


@dataclass(frozen=True)
class ChosenRows:
    """R rows of which any design has some.

    Attributes:
        names: ``R`` of them; a row has the name that it has where most of its section is there.
        columns: each ``(R, K)``: of every choice of the decision that a row depends on.
        decision: ``(R,)``, -1 where nothing changes a row.
        section: ``(R,)``, the number of the section that a row belongs to.
        decisions: how many decisions there are.
    """

    names: tuple[str, ...]
    columns: Mapping[str, IntArray]
    decision: IntArray
    section: IntArray
    decisions: int

    @classmethod
    def of(cls, sections: Sequence[Section], decisions: int) -> ChosenRows:
        """The rows of sections, in their order; parts of a section in that of the choice with the most of them."""
        most = max(len(section.choices) for section in sections)
        rows, decision, numbers = list[Row](), list[int](), list[int]()
        for number, section in enumerate(sections):
            fullest = dict[str, Row]()
            for choice in sorted(section.choices, key=len, reverse=True):
                fullest = {**fullest, **{part: row for part, row in choice.items() if part not in fullest}}
            for part, full in fullest.items():
                own = [choice.get(part) for choice in section.choices]
                cells = [full | {"calls": 0} if row is None else row | {"name": full["name"]} for row in own]
                rows += cells + [cells[-1]] * (most - len(cells))  # never looked up
                decision.append(section.decision)
                numbers.append(number)
        table = LayerTable.from_rows(rows)
        return cls(
            table.names[::most], {k: v.reshape(-1, most) for k, v in table.columns.items()}, np.array(decision),
            np.array(numbers), decisions,
        )  # fmt: skip

    def at(self, designs: Designs, rows: Sequence[int] | IntArray | None = None) -> LayerTable:
        """The rows of designs ``(N, D)``, ``(N, R)``, or some of them."""
        which = np.arange(len(self.names)) if rows is None else np.asarray(rows, dtype=np.int64)
        decision, designs = self.decision[which], np.atleast_2d(designs)
        choice = np.where(decision < 0, 0, designs[:, decision]) if self.decisions else np.zeros((len(designs), 1), int)
        columns: dict[str, Any] = {k: v[which, choice] for k, v in self.columns.items()}
        return LayerTable(names=tuple(self.names[r] for r in which), **columns)

    def depends(self) -> NDArray[np.bool_]:
        """``(D, R)``: which decisions change which rows."""
        return np.asarray(np.arange(self.decisions)[:, None] == self.decision)

    def deciding(self, row: int) -> list[int]:
        """The decision that a row depends on, if there is one."""
        return [int(self.decision[row])] if self.decision[row] >= 0 else []


class OfChosenRows(ABC):
    """The part of a search space that follows from its rows."""

    @property
    @abstractmethod
    def _rows(self) -> ChosenRows:
        """The rows of all its networks together."""

    def depends(self) -> NDArray[np.bool_]:
        """``(D, R)``: which decisions change which rows."""
        return self._rows.depends()

    def deciding(self, row: int) -> list[int]:
        """The decision that ``row`` depends on, if there is one."""
        return self._rows.deciding(row)

    def rows(self, designs: Designs, at: Sequence[int] | IntArray | None = None) -> LayerTable:
        """The rows of all networks together, ``(N, R)``; those that a design ``(N, D)`` leaves out have no calls."""
        return self._rows.at(designs, at)

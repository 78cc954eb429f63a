"""Tables that are wider than the terminal: cut into several below each other, so that no figure is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

_BETWEEN = 2  #: spaces between two columns


@dataclass(frozen=True)
class Column:
    """The head of a column; ``left`` is its alignment, numbers stand at the right."""

    name: str
    left: bool = False


def print_wide(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str] | None], *, title: str = "", keys: int = 1
) -> None:
    """Print a table, in parts where the terminal is too narrow for all of its columns.

    Args:
        rows: cells as markup; None is an empty line.
        keys: how many columns at the left tell rows apart; every part has them.
    """
    lines = [row for row in rows if row is not None]
    widths = [
        max([_width(line) for line in column.name.split("\n")] + [_width(row[i]) for row in lines])
        for i, column in enumerate(columns)
    ]
    for number, part in enumerate(_parts(widths, keys, console.width)):
        table = Table(title=title if not number else None, title_justify="left", box=None, pad_edge=False)
        for i in part:
            column = columns[i]
            table.add_column(column.name, justify="left" if column.left else "right", overflow="fold",
                             no_wrap=i >= keys and widths[i] < console.width // 2)  # fmt: skip
        for row in rows:
            if row is None:
                table.add_section()
            else:
                table.add_row(*(row[i] for i in part))
        if number:
            console.print()
        console.print(table)


def _parts(widths: Sequence[int], keys: int, room: int) -> list[list[int]]:
    """Columns of each part; the first ``keys`` are in all, folded where they would take more than half of the room."""
    first = min(sum(widths[:keys]) + _BETWEEN * keys, room // 2)
    parts: list[list[int]] = []
    used = room + 1
    for i in range(keys, len(widths)):
        wide = min(widths[i], room - first) + _BETWEEN
        if used + wide - _BETWEEN > room:
            parts.append(list(range(keys)))
            used = first
        parts[-1].append(i)
        used += wide
    return parts or [list(range(keys))]


def _width(markup: str) -> int:
    return Text.from_markup(markup).cell_len

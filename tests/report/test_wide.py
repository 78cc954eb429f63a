"""Tables in narrow terminals: cut into parts, and never a cell."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from netsmith.report.wide import Column, print_wide

HEAD = [Column("layer", left=True), Column("kind", left=True), *(Column(f"figure {i}") for i in range(6))]
ROWS = [
    [f"layer{i}.conv{i}", "conv", *(f"{i}{j}.5 us" for j in range(4)), "compute 17%, buffers 6%, dram 4%", "memory"]
    for i in range(3)
]


def printed(width: int) -> list[str]:
    out = io.StringIO()
    print_wide(Console(file=out, width=width, highlight=False), HEAD, [*ROWS, None, ["all", *[""] * 7]], title="t")
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [24, 32, 50, 80, 160])
def test_every_cell_is_there_whole_at_every_width(width: int) -> None:
    lines = printed(width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    for row in ROWS:
        for cell in row[1:6]:
            assert cell in text
    letters = re.sub(r"\s", "", text)
    assert all(word in letters for word in ("17%", "buffers", "dram", "layer2.conv2"))
    assert sum("figure 0" in line for line in lines) == 1


def test_one_table_where_there_is_room_and_rows_are_named_in_every_part() -> None:
    assert len(printed(160)) == len(ROWS) + 3  # title, head, sum
    parts = "\n".join(printed(50)).split("\n\n")
    assert len(parts) > 2 and all("layer1.conv1" in part for part in parts)

"""A specialization as tables in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from netsmith.metrics import metric_of
from netsmith.report.console import make_console, show_summary
from netsmith.report.figures import compared_table
from netsmith.report.networks import network_lines
from netsmith.report.wide import Column, print_wide
from netsmith.runs.search_record import built_blocks


def show_specialization(summary: Mapping[str, Any]) -> None:
    """The network that was found, those it was compared with, and what :func:`show_summary` shows."""
    console, found = make_console(), summary["specialization"]
    blocks = built_blocks(found)
    console.print(f"found by {escape(found['system'])} in {escape(found['space'])}{':' if blocks else ''}")
    for line in network_lines(blocks or []):
        console.print(f"  {escape(line)}", soft_wrap=True)
    head, rows = compared_table(found, metric_of(summary))
    if rows:
        columns = [Column(name, left=name == "network") for name in head]
        print_wide(console, columns, [[escape(cell) for cell in cells] for cells in rows], title="\ncompared")
    console.print()
    show_summary(summary)

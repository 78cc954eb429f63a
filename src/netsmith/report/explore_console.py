"""An exploration of hardware as a table in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from netsmith.report.console import make_console
from netsmith.report.explore import explore_notes, explore_sentence, explore_table
from netsmith.report.wide import Column, print_wide


def show_exploration(record: Mapping[str, Any]) -> None:
    """Every configuration, what is worth its size in bold, and what has to be known to read the figures."""
    console = make_console()
    head, lines = explore_table(record)
    rows = [[f"[bold]{escape(c)}[/]" if line.worth else escape(c) for c in line.cells] for line in lines]
    title = f"{escape(record['model'])} on {escape(record['family'])} around {escape(record['base_name'])}, simulated"
    print_wide(console, [Column(name) for name in head], rows, title=title, keys=len(record["fields"]))
    for note in explore_notes(record):
        console.print(f"[dim]{escape(note)}[/]", soft_wrap=True)
    console.print(escape(explore_sentence(record)), soft_wrap=True)
    for name, what in (("explore.json", "these figures"), ("report.html", "the report, open it in a browser")):
        console.print(f"  {escape(str(record['run']))}/{name}  [dim]{what}[/]", soft_wrap=True)

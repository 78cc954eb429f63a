"""What a network says of its inputs, as a table in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from netsmith.report.console import make_console
from netsmith.report.wide import Column, print_wide


def show_predictions(result: Mapping[str, Any]) -> None:
    """One line an input and class, the likeliest first."""
    rows = [
        (escape(found["input"]) if not rank else "", escape(said["class"]), f"{said['score']:.1%}")
        for found in result["predictions"]
        for rank, said in enumerate(found["top"])
    ]
    print_wide(make_console(), [Column("input", left=True), Column("class", left=True), Column("score")], rows)

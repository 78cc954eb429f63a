"""What became of the claims of a run, as a table in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from netsmith.report.console import make_console
from netsmith.units import format_joules, format_seconds

_COLOURS = {"holds": "green", "fails": "bold red", "elsewhere": "yellow", "not checked": "dim"}
_WRITE: dict[str, Callable[[float], str]] = {
    "s": format_seconds, "B": lambda value: f"{value:,.0f} B", "J": format_joules, "share": lambda v: f"{v:.2%}",
    "count": lambda value: f"{value:,.0f}",
}  # fmt: skip


def show_claims(result: Mapping[str, Any]) -> None:
    """One line a claim: what was said, what was found, and whether it holds; then how many do."""
    console = make_console()
    table = Table(box=None, pad_edge=False)
    for name, side in (("claim", "left"), ("said", "right"), ("found", "right"), ("", "left")):
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for claim in result["claims"]:
        colour, why = _COLOURS[claim["verdict"]], f" ({claim['why']})" if claim["why"] else ""
        said, found = (_shown(claim[key], claim["unit"]) for key in ("said", "found"))
        verdict = f"[{colour}]{claim['verdict']}[/]{escape(why)}"
        table.add_row(escape(claim["what"]), escape(said), escape(found), verdict)
    console.print(table)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in result["counts"].items() if count)
    text = "nothing fails" if result["ok"] else "the run is not what it claims to be"
    console.print(f"[{'green' if result['ok'] else 'bold red'}]{text}[/]: {counts}")


def _shown(value: Any, unit: str) -> str:
    """A value in its unit; nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if unit in _WRITE and isinstance(value, int | float):
        return _WRITE[unit](value)
    return f"{value:.6g} {unit}".rstrip() if isinstance(value, float) else str(value)

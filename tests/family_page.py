"""The tables of keys in ``docs/hardware.md``, made anew from the code: ``python tests/family_page.py``."""

from __future__ import annotations

import re
from pathlib import Path

from netsmith.hardware import family_schema
from netsmith.hardware.simulated.families import family

PAGE = Path(__file__).parents[1] / "docs" / "hardware.md"


def family_table(name: str) -> str:
    """The keys of a family as a Markdown table."""
    lines = ["| key | type | unit | default | meaning |", "| --- | --- | --- | --- | --- |"]
    for p in family_schema(name):
        default = "required" if p.default is None else f"`{p.default}`"
        limits = f" ({p.limits})" if p.limits else ""
        lines.append(f"| `{p.name}` | {p.type} | {p.unit} | {default} | {p.doc}{limits} |")
    return "\n".join(lines)


def refreshed(text: str) -> str:
    """The page with its tables made anew, between ``<!-- keys: FAMILY -->`` marks.

    Tables of families that are not installed stay as they are.
    """

    def table(match: re.Match[str]) -> str:
        if not family(match[2]).installed:
            return match[0]
        return f"{match[1]}\n{family_table(match[2])}\n{match[3]}"

    return re.sub(r"(<!-- keys: (\w+) -->)\n(?:.*?\n)??(<!-- end of keys -->)", table, text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

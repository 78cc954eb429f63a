"""What a network says of its inputs, as a table in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape

from netsmith.report.console import make_console
from netsmith.report.wide import Column, print_wide


def show_predictions(result: Mapping[str, Any]) -> None:
    """One line an input and class, the likeliest first, or an input and output."""
    found = result["predictions"]
    classes = all("top" in each for each in found)
    rows = [row for each in found for row in (_classes(each) if classes else _outputs(each))]
    columns = ["class", "score"] if classes else ["output", "values"]
    print_wide(make_console(), [Column("input", left=True), *(Column(c, left=c != "score") for c in columns)], rows)
    if folder := next((each["files"][0].rpartition("/")[0] for each in found if each.get("files")), None):
        make_console().print(f"all outputs are in {escape(folder)}")


def _classes(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for rank, said in enumerate(found["top"]):
        yield escape(found["input"]) if not rank else "", escape(said["class"]), f"{said['score']:.1%}"


def _outputs(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for rank, (name, said) in enumerate(found["outputs"].items()):
        words = _numbers(said["values"]) if "values" in said else " x ".join(map(str, said["shape"]))
        yield escape(found["input"]) if not rank else "", escape(name), escape(words)


def _numbers(values: Any) -> str:
    if isinstance(values, list):
        return f"[{', '.join(map(_numbers, values))}]"
    return f"{values:.5g}" if isinstance(values, float) else str(values)

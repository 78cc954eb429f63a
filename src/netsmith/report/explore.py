"""An exploration of hardware: its table, on the page and in a terminal, and its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netsmith.report.charts import JOULES, SECONDS, Point, Series, linear, log, scatter, unit_of
from netsmith.report.heat import Axis, Cell, heat_map
from netsmith.units import COST_NAMES, format_bytes, format_cost, format_count

_UNITS = {"latency": SECONDS, "energy": JOULES}
_MOST_AXIS = 24  #: values of a field that a heat map has room for


@dataclass(frozen=True)
class Line:
    """One configuration: its cells, and whether it is worth its size."""

    cells: list[str]
    worth: bool


def least(record: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of least cost."""
    return min((dict(c) for c in record["configurations"] if c["cost"] is not None), key=lambda c: float(c["cost"]))


def explore_table(record: Mapping[str, Any]) -> tuple[list[str], list[Line]]:
    """Head and rows; what no configuration has is left out."""
    cost, rows = record["minimize"], record["configurations"]
    columns: dict[str, Any] = {
        "units": lambda r: _of(r, "units", format_count),
        "buffers": lambda r: _of(r, "buffer_bytes", format_bytes),
        "bandwidth": lambda r: _of(r, "bytes_per_s", lambda v: f"{format_bytes(v)}/s"),
        f"{cost} as given": lambda r: format_cost(cost, r[f"given_{cost}"]),
        f"least {cost}": lambda r: "–" if r["cost"] is None else format_cost(cost, r["cost"]),
        "of that": lambda r: "–" if r["cost"] is None else f"{r['cost'] / r[f'given_{cost}']:.2f}×",
        "bound": lambda r: "–" if r["bound"] is None else format_cost(cost, r["bound"]),
        _other(cost): lambda r: "–" if r.get(_other(cost)) is None else format_cost(_other(cost), r[_other(cost)]),
        "mean bits": lambda r: f"w{r['bits']['weights']:.3g} a{r['bits']['activations']:.3g}" if r.get("bits") else "–",
    }
    columns = {name: write for name, write in columns.items() if any(write(row) != "–" for row in rows)}
    lines = [
        Line([*(shown(row["values"][f]) for f in record["fields"]), *(write(row) for write in columns.values())],
             bool(row["worth"]))
        for row in rows
    ]  # fmt: skip
    return [*record["fields"], *columns], lines


def shown(value: Any) -> str:
    """A value of a field."""
    return str(value).lower() if isinstance(value, bool) else f"{value:.6g}" if isinstance(value, float) else str(value)


def explore_notes(record: Mapping[str, Any]) -> list[str]:
    """What has to be known to read the table."""
    cost = record["minimize"]
    bound = (
        f"Each least {cost} is proven for its configuration: no design of this space whose summed loss is as small is "
        "predicted to cost less than its bound"
    )
    if not record["exact"]:
        bound += ", under the cost table as it is expanded around the design that was found"
    failed = [row for row in record["configurations"] if row["cost"] is None]
    most = f"{record['max_loss']:.4g} {record.get('loss_unit', 'nats')}".rstrip()
    return [
        f"Every network may lose {most} in summed sensitivities: {record['says']}",
        bound,
        f"Simulated by the model of the family {record['family']}: nothing was measured, and {record['kept']}",
        "In bold what is worth its size: no other configuration here that has no more of anything costs less",
        *([f"On {len(failed)} no network fits: {failed[0]['why']}"] if failed else []),
    ]


def explore_sentence(record: Mapping[str, Any]) -> str:
    """``least latency 228 µs at rows 16, bandwidth 768, 0.77 of the network as given there``."""
    best, cost = least(record), record["minimize"]
    where = ", ".join(f"{field} {shown(best['values'][field])}" for field in record["fields"])
    ratio = best["cost"] / best[f"given_{cost}"]
    return f"least {cost} {format_cost(cost, best['cost'])} at {where}, {ratio:.2f} of what it takes as given"


def explore_section(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows: a heat map of two fields or a line of one, and the table."""
    head, lines = explore_table(record)
    one = len(record["fields"]) == 1 and all(_is_number(row["values"][record["fields"][0]]) for row in _there(record))
    plot, legend = _line(record) if one else _heat(record)
    cost = COST_NAMES[record["minimize"]]
    several = len(record["fields"]) > 2
    caption = f"The least {cost} that a network of the same summed loss is predicted to take on each configuration."
    if several:
        caption += f" Each cell is the best over {', '.join(record['fields'][2:])}."
    return {
        "title": f"{cost.capitalize()} at equal loss", "caption": caption, "plot": plot, "legend": legend, "head": head,
        "lines": lines, "notes": explore_notes(record),
    }  # fmt: skip


def _there(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in record["configurations"] if row["cost"] is not None]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _line(record: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Cost over the values of one field: the best network, and the one as given."""
    field, cost, rows = record["fields"][0], record["minimize"], _there(record)
    unit, factor = unit_of([row[f"given_{cost}"] for row in rows], _UNITS[cost])
    series, lines = [], []
    for name, key, style, hollow in (("as given", f"given_{cost}", "c1", True), ("at equal loss", "cost", "c0", False)):
        points = [
            Point(float(row["values"][field]), row[key] * factor,
                  f"{field} {shown(row['values'][field])}, {name}: {format_cost(cost, row[key])}", hollow)
            for row in rows
        ]  # fmt: skip
        series.append(Series(name, points, style))
        lines.append((name, [(p.x, p.y) for p in points]))
    xs, ys = [p.x for p in series[0].points], [p.y for s in series for p in s.points]
    x = log(xs) if min(xs) > 0 and max(xs) >= 4 * min(xs) else linear(min(xs), max(xs))
    plot = scatter(
        series, x, linear(0.0, max(ys) * 1.05), x_label=field, y_label=f"{cost}, {unit}, predicted",
        title=f"{cost} over {field}", lines=lines,
    )  # fmt: skip
    return plot, ["filled: the least at equal loss", "hollow: the network as given"]


def _heat(record: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """A cell for each pair of values of the first two fields, deeper where less is needed."""
    fields, cost = record["fields"][:2], record["minimize"]
    cells: dict[tuple[str, str], Cell] = {}
    for row in _there(record):
        at = (shown(row["values"][fields[0]]), shown(row["values"][fields[1]]) if len(fields) > 1 else "")
        where = ", ".join(f"{f} {shown(v)}" for f, v in row["values"].items())
        text = f"{where}: {format_cost(cost, row['cost'])}, as given {format_cost(cost, row[f'given_{cost}'])}"
        if at not in cells or row["cost"] < cells[at].value:
            cells[at] = Cell(row["cost"], format_cost(cost, row["cost"]), text, bool(row["worth"]))
    every = [
        list(dict.fromkeys(shown(row["values"][f]) for row in record["configurations"]))[:_MOST_AXIS] for f in fields
    ]
    y, x = Axis(fields[0], every[0]), Axis(fields[1] if len(fields) > 1 else "", every[1] if len(fields) > 1 else [""])
    title = f"{cost} over {' and '.join(fields)}"
    return heat_map(cells, x, y, title), ["the deeper, the less", "framed: worth its size"]


def _other(cost: str) -> str:
    return "energy" if cost == "latency" else "latency"


def _of(row: Mapping[str, Any], key: str, write: Any) -> str:
    value = row["hardware"].get(key)
    return "–" if value is None else str(write(value))

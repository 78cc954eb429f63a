"""The networks of a front as a table, for a page and for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from netsmith.metrics import ACCURACY, Metric
from netsmith.report.certificate import between
from netsmith.report.scores import tight
from netsmith.units import format_cost, format_seconds

MARKS = {"int8": "8-bit integers alone", "uniform": "uniform pruning"}  #: names of what a front is compared with
_SAID = {True: "yes", False: "no"}
_COUNTED = (("energy", "energy, predicted"), ("size", "size"), ("macs", "MACs"), ("memory", "peak memory"))

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A figure, and beside it how sure it is or what it is against."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One network in the table."""

    cells: tuple[Cell, ...]
    chosen: bool = False


def front_table(front: Row, metric: Metric = ACCURACY) -> tuple[list[str], list[Line]]:
    """Head and lines: the network as given, the front, what it is compared with; columns that nobody fills are out.

    Args:
        front: ``front`` of a summary.
        metric: of the summary.
    """
    given: Row = {**front["baseline"], "name": given_name(front)}
    rows: list[Row] = [given, *front["points"], *(front.get("marks") or [])]
    columns = _columns(front, metric)
    filled = [[make(row) for make in columns.values()] for row in rows]
    kept = [i for i in range(len(columns)) if any(line[i].text for line in filled)]
    lines = [
        Line((_name(row, front), *(cells[i] for i in kept)), row.get("folder") == front["chosen"])
        for row, cells in zip(rows, filled, strict=True)
    ]
    return ["", *(list(columns)[i] for i in kept)], lines


def given_name(front: Row) -> str:
    """What the network is called that costs are against."""
    return str(front["baseline"].get("name") or "as given")


def is_measured(front: Row) -> bool:
    """Whether latencies of a front were measured."""
    return any(point.get("latency_measured_s") is not None for point in front["points"])


def lost(row: Row, metric: Metric) -> Cell:
    """How much of the score is lost, and the most that it is, in points or in the metric's unit."""
    if row.get("loss") is None:
        return Cell("")
    bound = row.get("loss_bound")
    return Cell(_number(metric, row["loss"]), "" if bound is None else f"at most {_number(metric, bound)}")


def _number(metric: Metric, loss: float) -> str:
    value = loss * metric.scale
    return f"{value:.2f}" if metric.unit == "%" or abs(value) >= 0.1 else f"{value:.3g}"


def _columns(front: Row, metric: Metric) -> dict[str, Callable[[Row], Cell]]:
    """What each column has of a network."""
    measured, minimized, base = is_measured(front), front["minimize"], front["baseline"]["costs"]

    def score(row: Row) -> Cell:
        return Cell(tight(metric, row.get("score")), between(row.get("score_interval"), partial(tight, metric)))

    def certified(row: Row) -> Cell:
        found = row.get("certified")
        return Cell("" if found is None else _SAID[found])

    def timed(row: Row) -> Cell:
        text = _written("latency", row.get("latency_measured_s"))
        return Cell(text, between(row.get("latency_interval_s"), format_seconds))

    def predicted(row: Row) -> Cell:
        return Cell("" if measured else _written("latency", row["costs"].get("latency")))

    def speed(row: Row) -> Cell:
        was, now = base.get("latency"), row["costs"].get("latency")
        return Cell(f"{was / now:.2f}×" if was and now and row["costs"] is not base else "")

    def counted(cost: str) -> Callable[[Row], Cell]:
        def cell(row: Row) -> Cell:
            was, now = base.get(cost), row["costs"].get(cost)
            return Cell(_written(cost, now), f"{now / was:.2f}×" if was and now is not None else "")

        return cell

    def least(row: Row) -> Cell:
        bound, here = row.get("cost_bound"), row["costs"].get(minimized)
        if bound is None or not here:
            return Cell("")
        return Cell(format_cost(minimized, bound), f"{max(1 - bound / here, 0.0):.1%} below")

    return {
        _score_name(metric): score, _lost_name(metric): partial(lost, metric=metric), "certified": certified,
        "latency, measured": timed,
        "latency, predicted": predicted, "speed": speed, **{name: counted(cost) for cost, name in _COUNTED},
        "proven least": least,
    }  # fmt: skip


def _score_name(metric: Metric) -> str:
    return "score" if metric.key == "accuracy" else metric.name


def _lost_name(metric: Metric) -> str:
    return f"{metric.points} lost" if metric.points else f"{metric.name} lost"


def _written(cost: str, value: float | None) -> str:
    return "" if value is None else format_cost(cost, value)


def number_of(row: Row) -> str:
    """What a network of the front is called: the last part of its folder, ``3`` of ``points/3``."""
    return str(row["folder"]).rstrip("/").rsplit("/", 1)[-1]


def _name(row: Row, front: Row) -> Cell:
    if "name" in row:
        return Cell(MARKS.get(row["name"], str(row["name"])), str(row.get("folder") or ""))
    return Cell(number_of(row), row["folder"] + (", chosen" if row["folder"] == front["chosen"] else ""))

"""Figures in words: what the terminal and the page both say of a summary."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netsmith.units import format_bytes, format_cost, format_count, format_seconds

_NAMES = {"latency": "latency", "energy": "energy", "size": "size", "macs": "MACs"}


@dataclass(frozen=True)
class Row:
    """One line of the before/after table; ``change`` is a factor or a difference, ``good`` None if neither."""

    name: str
    before: str
    after: str
    change: str
    good: bool | None


@dataclass(frozen=True)
class BudgetRow:
    """One budget: ``share`` is value over limit."""

    name: str
    limit: str
    value: str
    met: bool
    share: float
    note: str


def before_after(summary: Mapping[str, Any]) -> list[Row]:
    """The lines of the before/after table; figures that neither side has are left out."""
    a, b = summary["baseline"], summary["result"]
    split = summary.get("accuracy_split")
    rows = [_accuracy(f"accuracy ({split})" if isinstance(split, str) else "accuracy", a["accuracy"], b["accuracy"])]
    lines = (
        ("latency, measured", "latency_measured_s", format_seconds),
        ("latency, predicted", "latency_predicted_s", format_seconds),
        ("energy, predicted", "energy_j", lambda v: format_cost("energy", v)),
        ("MACs", "macs", format_count),
        ("parameters", "params", format_count),
        ("packed size", "size_bytes", format_bytes),
    )
    for name, key, write in lines:
        if a.get(key) is None and b.get(key) is None:
            if key == "latency_measured_s":
                rows.append(Row(name, "not measured", "not measured", "", None))
            continue
        rows.append(_cost(name, a.get(key), b.get(key), write))
    return rows


def budget_rows(summary: Mapping[str, Any]) -> list[BudgetRow]:
    """The lines of the budget table."""
    rows = []
    for budget in summary["budgets"]:
        share = budget["value"] / budget["limit"]
        note = ""
        if budget["met"] and share > 1 and budget.get("tolerance"):
            note = f"within the {budget['tolerance']:.0%} by which repeated measurements differ"
        name = _NAMES[budget["cost"]]
        limit, value = (format_cost(budget["cost"], budget[k]) for k in ("limit", "value"))
        rows.append(BudgetRow(name, limit, value, budget["met"], share, note))
    return rows


def headline(summary: Mapping[str, Any]) -> str:
    """The outcome in one sentence; a network that did not get faster is said not to have."""
    a, b = summary["baseline"], summary["result"]
    parts = []
    measured = a["latency_measured_s"] and b["latency_measured_s"]
    before, after = (x["latency_measured_s"] if measured else x["latency_predicted_s"] for x in (a, b))
    if before and after:
        how = "as measured" if measured else "as predicted, not measured"
        ratio = before / after
        speed = f"{ratio:.2f} times as fast, {how}" if ratio >= 1.005 else f"not faster ({ratio:.2f} times, {how})"
        parts.append(speed)
    if a["accuracy"] is not None and b["accuracy"] is not None:
        points = (b["accuracy"] - a["accuracy"]) * 100
        lost = f"{abs(points):.2f} points of accuracy {'lost' if points < 0 else 'gained'}"
        parts.append(lost if abs(points) >= 0.005 else "no accuracy lost")
    if a["size_bytes"] and b["size_bytes"]:
        parts.append(f"{b['size_bytes'] / a['size_bytes']:.0%} of the size")
    return "; ".join(parts)


def verdict(summary: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether all budgets are met, and the sentence that says so."""
    missed = [_NAMES[b["cost"]] for b in summary["budgets"] if not b["met"]]
    if not summary["budgets"]:
        return True, "No budget was set"
    if missed:
        return False, f"Not met: the budget of {' and '.join(missed)}"
    return True, "Every budget is met" if len(summary["budgets"]) > 1 else "The budget is met"


def command(summary: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """The command line that repeats a run, or None if the configuration is not that of a command."""
    if isinstance(summary.get("command"), str):
        return str(summary["command"])
    job, model = config.get("job"), config.get("model")
    if not isinstance(job, str) or not isinstance(model, str):
        return None
    words = ["netsmith", job, model]
    for name, value in config.items():
        inner = value.items() if isinstance(value, Mapping) else [(name, value)]
        for option, given in inner:
            if option in ("job", "model") or given is None or given is False:
                continue
            text = ",".join(str(v) for v in given) if isinstance(given, list) else str(given)
            words += ["--" + option.replace("_", "-")] + ([] if given is True else [text])
    return shlex.join(words)


def _accuracy(name: str, before: float | None, after: float | None) -> Row:
    if before is None or after is None:
        return Row(name, _share(before), _share(after), "", None)
    points = (after - before) * 100
    change = f"{points:+.2f} points" if abs(points) >= 0.005 else "the same"
    return Row(name, _share(before), _share(after), change, None if abs(points) < 0.005 else points > 0)


def _cost(name: str, before: float | None, after: float | None, write: Any) -> Row:
    was, now = (write(v) if v is not None else "–" for v in (before, after))
    if not before or after is None:
        return Row(name, was, now, "", None)
    ratio = after / before
    return Row(name, was, now, f"{ratio:.2f}×", None if abs(ratio - 1) < 0.005 else ratio < 1)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"

"""The front of a run: its picture, what that means, and the outcome in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from netsmith.metrics import ACCURACY, Metric, metric_of
from netsmith.report.certificate import between, gained, most_lost, needed, percent, sureness
from netsmith.report.charts import BYTES, COUNTS, JOULES, SECONDS, unit_of
from netsmith.report.front_axes import is_even
from netsmith.report.front_plot import NARROW, WIDE, Level, Mark, Picture, draw
from netsmith.report.front_table import MARKS, front_table, given_name, is_measured, lost, number_of
from netsmith.report.marks import SIGNS
from netsmith.report.scores import axis, each_of, points, tight
from netsmith.runs.front_record import chosen_of
from netsmith.units import COST_NAMES, format_cost, format_seconds

_UNITS = {"latency": SECONDS, "energy": JOULES, "macs": COUNTS, "size": BYTES, "memory": BYTES}
_LABELS = {**MARKS, "int8": "int8 alone"}  #: beside the marks
_SHAPES = {"int8": "diamond", "uniform": "triangle"}
_MODELLED = ("latency", "energy")  #: costs that a model predicts where nothing measures them
#: classes of the style sheet for whether a network is certified, and what a legend says of it
_GOOD, _BAD, _OPEN = ("good", "certified to keep what was asked"), ("bad", "not certified"), ("ink", "not tested")
_USUAL = {"good": "certified to lose no more than 1 point", "bad": "not certified to lose no more than 1 point"}
#: times as fast as given, and shares of another cost, that the upper edge may show: the roundest first
_FACTORS = (1, 2, 4, 3, 1.5, 8, 6, 5, 10, 16, 20, 30, 50, 100, 1.25, 1.2, 1.1, 0.8, 0.5)
_PARTS = (1, 0.5, 0.25, 0.75, 0.1, 0.05, 0.01, 0.3, 0.2, 0.4, 0.6, 0.8, 0.9, 0.15, 0.03, 0.02, 1.25, 1.5, 2)
_PROVEN = (
    "proven: left of here is no design of this space whose summed loss is as small as that of the network at this "
    "height, under the model that the search went by"
)


def front_sections(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a page has of a front; None for a run of one network."""
    front = summary.get("front")
    if not front:
        return None
    picture, metric = picture_of(summary), metric_of(summary)
    head, lines = front_table(front, metric)
    return {
        "count": len(front["points"]), "wide": draw(picture, WIDE), "narrow": draw(picture, NARROW),
        "legend": legend(front, picture, metric), "head": head, "lines": lines, "chosen": front["chosen"],
        "rule": front["rule"], "bounded": _bounded(front), "level": _level(front), "whose": _whose(front),
        "needed": needed(summary), "each": each_of(summary),
    }  # fmt: skip


def front_sentence(summary: Mapping[str, Any]) -> str:
    """``2.60 times as fast, and at 95 % confidence no more than 0.48 points lost: certified on 10,000 test images``."""
    front = summary["front"]
    cost, point = front["minimize"], chosen_of(front)
    how = ""
    if cost == "latency" and is_measured(front):
        how = ", as measured"
    elif cost in _MODELLED:
        simulated = " (simulated)" if summary.get("simulated") else ""
        how = f", predicted for {summary.get('target') or 'the target'}{simulated}"
    gain = gained(cost, front["baseline"]["costs"].get(cost), point["costs"].get(cost), how)
    return ", and ".join(part for part in (gain, sureness(summary) or _sure_of(point, metric_of(summary))) if part)


def picture_of(summary: Mapping[str, Any]) -> Picture:
    """What is drawn of a front; networks whose score is not known are left out."""
    front, metric = summary["front"], metric_of(summary)
    cost, given, rows = front["minimize"], front["baseline"], front["points"]
    marks = [row for row in front.get("marks") or [] if row["score"] is not None]
    known = [row for row in (given, *rows, *marks) if row["score"] is not None]
    unit, scale = unit_of([row["costs"][cost] for row in (given, *rows, *marks)], _UNITS[cost])
    numbered = [
        _mark(row, front, scale, metric, number=number_of(row)) for row in rows if row["score"] is not None
    ]  # fmt: skip
    others = [_mark(row, front, scale, metric) for row in known if row is given or row in marks]
    bound = [
        (row["cost_bound"] * scale, _height(metric, row["score"]))
        for row in rows if row.get("cost_bound") is not None and row["score"] is not None
    ]  # fmt: skip
    name, how = COST_NAMES.get(cost, cost), ""
    if cost in _MODELLED:
        how = ", measured" if cost == "latency" and is_measured(front) else ", predicted"
    even = is_even([_height(metric, row["score"]) for row in known], metric.unit == "%")
    uneven = "" if even else " (uneven: the top is spread)"
    return Picture(
        marks=numbered, others=others, bound=bound, proven=_PROVEN, top=_against(front, scale),
        levels=_levels(front, metric), x_label=f"{name}{how}{'' if unit == '1' else f', {unit}'}",
        y_label=f"{axis(metric, each_of(summary))}{uneven}", metric=metric,
        title=f"{len(rows)} networks: {name} against {_called(metric)}. {front_sentence(summary)}.",
    )  # fmt: skip


def legend(front: Mapping[str, Any], picture: Picture, metric: Metric = ACCURACY) -> list[tuple[str, str, str]]:
    """Classes of the style sheet, signs, and what they mean."""
    states = [(state, what) for state, what in (_GOOD, _BAD, _OPEN) if any(m.style == state for m in picture.marks)]
    if states == [_OPEN]:
        states = [(_OPEN[0], "networks of the front")]
    elif metric.unit != "%" and not front.get("asked"):
        states = [(state, "certified to lose little" if state == "good" else "not certified to") for state, _ in states]
    elif not front.get("asked"):  # then they are tested against what the rule says that is usual
        states = [(state, _USUAL.get(state, what)) for state, what in states]
    found = [(state, SIGNS["circle"], what) for state, what in states] + [("ring", "", "chosen")]
    every, level = [*picture.marks, *picture.others], _level(front)
    if any(m.low is not None for m in every):
        what = "score that is certain" + (f" at {level} confidence" if level else "")
        by_score = (front.get("asked") or {}).get("min_score") is not None
        found.append(("ink", "▂", what if by_score else f"{what}: that of {_whose(front)} less the largest loss"))
    if any(m.y_span for m in every):
        both = " and latency" if any(m.x_span for m in every) else ""
        found.append(("ink", "┼", f"{level} interval of each score{both} by itself".strip()))
    found += [("soft-mark", SIGNS[m.shape], m.label) for m in picture.others]
    if picture.bound:
        what = "no design of this space whose summed loss is as small can be cheaper, under the model"
        found.append(("bound-key", "", f"proven: {what}"))
    return found


def _mark(
    row: Mapping[str, Any], front: Mapping[str, Any], scale: float, metric: Metric, number: str = ""
) -> Mark:  # fmt: skip
    """A network of the front if it has a number, else the network as given or one that the front is compared with."""
    cost, given, asked = front["minimize"], front["baseline"], front.get("asked") or {}
    span = row.get("latency_interval_s") if cost == "latency" else None
    around, low = row.get("score_interval"), None
    if row is not given:
        low = row.get("score_bound") if asked.get("min_score") is not None else None
        before = _before(front)
        if low is None and row.get("loss_bound") is not None and before is not None:
            low = before - metric.rank(row["loss_bound"])
    chosen = bool(number) and row["folder"] == front["chosen"]
    name = given_name(front) if row is given else row.get("name", "")
    label, style, shape = _LABELS.get(name, name), "soft-mark", "square" if row is given else _SHAPES.get(name, "cross")
    if number:
        name = f"network {number}{', chosen' if chosen else ''}"
        label = _short(cost, given["costs"].get(cost), row["costs"][cost]) if chosen else ""
        style, shape = (_GOOD if row.get("certified") else _OPEN if row.get("certified") is None else _BAD)[0], "circle"
    return Mark(
        x=row["costs"][cost] * scale, y=_height(metric, row["score"]),
        x_span=None if span is None else (span[0] * scale, span[1] * scale),
        y_span=None if around is None else _sorted(_height(metric, end) for end in around),
        low=None if low is None else _height(metric, low), style=style, shape=shape, number=number, label=label,
        text=_said(row, MARKS.get(name, name), cost, metric), chosen=chosen,
    )  # fmt: skip


def _height(metric: Metric, score: float) -> float:
    """Where a score lies on the axis, in the unit that it is shown in: what is better lies higher."""
    return metric.rank(score) * metric.scale


def _sorted(ends: Iterable[float]) -> tuple[float, float]:
    low, high = sorted(ends)
    return low, high


def _called(metric: Metric) -> str:
    return "score" if metric.key == "accuracy" else metric.name


def _said(row: Mapping[str, Any], name: str, cost: str, metric: Metric) -> str:
    """What a pointer at a network shows."""
    around = between(row.get("score_interval"), partial(tight, metric))
    parts = [f"{_called(metric)} {tight(metric, row['score'])}" + (f" ({around})" if around else "")]
    if (gone := lost(row, metric)).text:
        parts.append(f"{gone.text} {metric.points or metric.name} lost" + (f", {gone.note}" if gone.note else ""))
    around = between(row.get("latency_interval_s"), format_seconds) if cost == "latency" else ""
    value = format_cost(cost, row["costs"][cost])
    parts.append(f"{COST_NAMES.get(cost, cost)} {value}" + (f" ({around})" if around else ""))
    if row.get("cost_bound") is not None:
        parts.append(f"proven under the model: none as good is below {format_cost(cost, row['cost_bound'])}")
    return f"{name}: " + "; ".join(parts)


def _levels(front: Mapping[str, Any], metric: Metric) -> list[Level]:
    """The score that was asked for, and that which losses are against where the network as given has none."""
    asked, given, found = front.get("asked") or {}, _before(front), list[Level]()
    if front.get("teacher"):
        score = front["teacher"]["score"]
        found.append(Level(_height(metric, score), f"teacher: {metric.shown(score)}", "level"))
    if asked.get("min_score") is not None:
        least = asked["min_score"]
        found.append(Level(_height(metric, least), f"asked for: {metric.shown(least)}", "limit"))
    elif asked.get("max_drop") is not None and given is not None:
        least, drop = given - metric.rank(asked["max_drop"]), points(metric, asked["max_drop"])
        found.append(Level(_height(metric, least), f"allowed: {drop} lost", "limit"))
    return found


def _before(front: Mapping[str, Any]) -> float | None:
    """The score that losses are against: of the network as given, or of the teacher of networks that were found."""
    score = (front.get("teacher") or front["baseline"])["score"]
    return None if score is None else float(score)


def _bounded(front: Mapping[str, Any]) -> bool:
    """Whether there is a bound on what networks lose."""
    return any(point.get("loss_bound") is not None for point in front["points"])


def _whose(front: Mapping[str, Any]) -> str:
    """What losses are against, in words."""
    return "the teacher" if front.get("teacher") else "the network as given"


def _against(front: Mapping[str, Any], scale: float) -> tuple[list[tuple[float, str]], str]:
    """Costs for the upper edge: how many times as fast as given, or what is left of another cost."""
    cost, name = front["minimize"], front["baseline"].get("name")
    given = front["baseline"]["costs"].get(cost)
    if not given:
        return [], ""
    if cost == "latency":
        than = name or "the network as given"
        return [(given * scale / f, f"{f:g}×") for f in _FACTORS], f"times as fast as {than}"
    of = f"of {name}" if name else "as given"
    return [(given * scale * f, f"{f:.0%}") for f in _PARTS], f"of the {COST_NAMES.get(cost, cost)} {of}"


def _short(cost: str, before: float | None, after: float) -> str:
    """What a cost came to, in few letters."""
    if not before or not after:
        return ""
    return f"{before / after:.2f}× as fast" if cost == "latency" else f"{after / before:.0%} of given"


def _sure_of(point: Mapping[str, Any], metric: Metric) -> str:
    """As much as a point itself says of its score."""
    if point.get("loss_bound") is not None and point.get("confidence") is not None:
        return f"at {percent(point['confidence'])} confidence {most_lost(metric, point['loss_bound'])}"
    return "" if point["score"] is None else f"a score of {metric.shown(point['score'])}"


def _level(front: Mapping[str, Any]) -> str:
    """The confidence of the points; empty where they say none."""
    return next((percent(p["confidence"]) for p in front["points"] if p.get("confidence") is not None), "")

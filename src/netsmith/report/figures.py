"""Figures in words: what the terminal and the page both say of a summary."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from netsmith.metrics import ACCURACY, Metric, metric_of, metrics_of
from netsmith.report.certificate import certified, needed, sureness
from netsmith.report.front import front_sentence
from netsmith.report.scores import change, outcome, same, tight
from netsmith.report.widths import in_words, simulated_note
from netsmith.units import COST_NAMES, format_apart, format_bytes, format_cost, format_count, format_seconds

#: what a doubtful accuracy is, by the kind of a doubt (see ``netsmith.jobs.doubt``)
_DOUBTS = {"guess": "no better than a guess", "order": "that of another order of classes"}
ON_BY_DEFAULT = ("reconstruct",)  #: switches that a command line turns off by name


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
    metrics = metrics_of(summary)
    metric, others = metrics[0], metrics[1:]
    split = summary.get(f"{metric.key}_split")
    name = f"{metric.name} ({split})" if isinstance(split, str) else metric.name
    rows = [_score(metric, name, a[metric.key], b[metric.key])]
    if doubtful := _DOUBTS.get((summary.get("doubt") or {}).get("kind", "")):
        rows = [Row(f"{name}, {doubtful}", rows[0].before, rows[0].after, "says nothing", False)]
    rows += [_score(m, m.name, a.get(m.key), b.get(m.key)) for m in others if b.get(m.key) is not None]
    searched = f"search_{metric.key}"
    untuned = summary.get(f"{searched}_untuned")
    if untuned is not None and summary.get("recovery"):
        rows.append(_score(metric, "search split, before training", a.get(searched), untuned))
        rows.append(_score(metric, "search split, after training", a.get(searched), b.get(searched)))
    lines = (
        ("latency, measured", "latency_measured_s", format_seconds),
        ("latency, predicted", "latency_predicted_s", format_seconds),
        ("energy, predicted", "energy_j", lambda v: format_cost("energy", v)),
        ("peak memory", "memory_bytes", format_bytes),
        ("MACs", "macs", format_count),
        ("parameters", "params", format_count),
        (f"packed size{' (model.nsw)' if 'model.nsw' in (summary.get('files') or {}) else ''}", "size_bytes",
         format_bytes),
    )  # fmt: skip
    for name, key, write in lines:
        if a.get(key) is None and b.get(key) is None:
            if key == "latency_measured_s" and not summary.get("simulated"):
                rows.append(Row(name, "not measured", "not measured", "", None))
            continue
        rows.append(_cost(name, a.get(key), b.get(key), write))
    means = a.get("mean_bits") or {}, b.get("mean_bits") or {}
    for side in ("weights", "activations"):
        was, now = (mean.get(side) for mean in means)
        if was is not None and now is not None and abs(was - now) > 1e-9:
            rows.append(_cost(f"mean bits of {side}", was, now, "{:.3g}".format))
    return rows


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """What makes the figures worth less than they seem."""
    return [str(w) for w in summary.get("warnings") or []]


def notes(summary: Mapping[str, Any]) -> list[str]:
    """What has to be known to read the figures: what they are compared with, and which bits are only simulated."""
    said = []
    found = summary.get("specialization")
    if found:
        metric = metric_of(summary)
        untrained = summary["baseline"][metric.key] is None
        said.append(
            f"Before is the reference network of the space {found['space']}"
            + (f" ({found['reference']})" if found.get("reference") else "")
            + (f", which was not trained: its {metric.name} is not known" if untrained else "")
        )
    against = _against(summary)
    if against:
        said.append(
            f"{summary.get('target') or 'the target'} has no floating point: latency and energy before are those of "
            f"the network as given at {against}"
        )
    simulated = simulated_note(summary.get("layers") or [])
    if simulated:
        said.append(simulated)
    sure = "" if summary.get("front") else sureness(summary)  # a front says it in its headline
    if sure:
        said += [sentence[0].upper() + sentence[1:] for sentence in (sure, needed(summary)) if sentence]
    check = summary.get("additivity")
    if check:
        said.append(
            f"Losses of single choices, summed, rank {check['n']:.0f} random designs that fill the budget with a "
            f"correlation of {check['spearman']:.2f} (Spearman) to what they lose when run"
        )
    return said


def _against(summary: Mapping[str, Any]) -> str:
    """Bits at which a network as given in floating point is priced; empty where that is floating point."""
    priced = summary["baseline"].get("priced_bits")
    return in_words(*priced) if priced and min(priced) < 32 else ""


def is_predicted(summary: Mapping[str, Any], cost: str) -> bool:
    """Whether a cost of the result comes from a model; MACs and size are counted."""
    return cost == "energy" or (cost == "latency" and summary["result"]["latency_measured_s"] is None)


def budget_rows(summary: Mapping[str, Any]) -> list[BudgetRow]:
    """The lines of the budget table."""
    rows = []
    for budget in summary["budgets"]:
        share = budget["value"] / budget["limit"]
        note = ""
        if budget["met"] and share > 1 and budget.get("tolerance"):
            note = f"within the {budget['tolerance']:.0%} by which repeated measurements differ"
        name = COST_NAMES[budget["cost"]] + (", predicted" if is_predicted(summary, budget["cost"]) else "")
        limit, value = format_apart(budget["cost"], budget["limit"], budget["value"])
        rows.append(BudgetRow(name, limit, value, budget["met"], share, note))
    return rows


def headline(summary: Mapping[str, Any]) -> str:
    """The outcome in one sentence; a network that did not get faster is said not to have."""
    if summary.get("front"):
        return front_sentence(summary)
    a, b, metric = summary["baseline"], summary["result"], metric_of(summary)
    parts, predicted = list[str](), list[str]()
    measured = a["latency_measured_s"] and b["latency_measured_s"]
    before, after = (x["latency_measured_s"] if measured else x["latency_predicted_s"] for x in (a, b))
    if before and after:
        ratio, how = before / after, ", as measured" if measured else ""
        speed = f"{ratio:.2f} times as fast{how}" if ratio >= 1.005 else f"not faster ({ratio:.2f} times{how})"
        (parts if measured else predicted).append(speed)
    if a.get("energy_j") and b.get("energy_j") is not None:
        predicted.append(f"{b['energy_j'] / a['energy_j']:.0%} of the energy")
    if predicted:
        against = _against(summary)
        parts.append(
            " and ".join(predicted) + (f" against the network at {against}" if against else "")
            + f", predicted for {summary.get('target') or 'the target'}"
            + (" (simulated)" if summary.get("simulated") else "")
        )  # fmt: skip
    if doubtful := _DOUBTS.get((summary.get("doubt") or {}).get("kind", "")):
        parts.append(f"what {metric.name} is lost is not known, as that of the network as given is {doubtful}")
    elif a[metric.key] is not None and b[metric.key] is not None:
        parts.append(outcome(metric, a[metric.key], b[metric.key]))
    elif b[metric.key] is not None:
        parts.append(f"{metric.name} {tight(metric, b[metric.key])}")
    if a["size_bytes"] and b["size_bytes"]:
        parts.append(f"{b['size_bytes'] / a['size_bytes']:.0%} of the size")
    return "; ".join(parts)


def compared_table(
    found: Mapping[str, Any], metric: Metric = ACCURACY
) -> tuple[list[str], list[list[str]]]:  # fmt: skip
    """Head and rows of the networks that a specialization was compared with, its own first; figures nobody has are out.

    Args:
        found: ``specialization`` of a summary.
        metric: of the summary; a search that goes on has compared nothing yet.
    """
    rows, score = found.get("compared") or [], {metric.name: (metric.key, partial(tight, metric))}
    columns = {n: c for n, c in (score | _COMPARED).items() if any(row.get(c[0]) is not None for row in rows)}
    cells = [[write(row[key]) if row.get(key) is not None else "–" for key, write in columns.values()] for row in rows]
    return ["network", *columns], [[row["label"], *line] for row, line in zip(rows, cells, strict=True)]


def verdict(summary: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether all that was asked for holds, and the sentence that says so, and of what by a prediction only."""
    costs = [b["cost"] for b in summary["budgets"]]
    predicted, sure = [c for c in costs if is_predicted(summary, c)], certified(summary)
    missed = [
        COST_NAMES[b["cost"]] + (" (predicted)" if b["cost"] in predicted else "")
        for b in summary["budgets"] if not b["met"]
    ]  # fmt: skip
    uncertain = "not certified: the score that was asked for"
    if missed:
        said = f"Not met: the budget of {' and '.join(missed)}"
        return False, f"{said}; {uncertain}" if sure is False else said
    if sure is False:
        return False, uncertain.capitalize()
    if not summary["budgets"]:
        several = f"A front of {len(summary['front']['points'])}" if summary.get("front") else "No budget was set"
        return True, "Certified" if sure else several
    which = " and ".join(COST_NAMES[c] for c in predicted) + " " if len(predicted) < len(costs) else ""
    met = "Every budget is met" if len(costs) > 1 else "The budget is met"
    met = f"{met}, {which}as predicted" if predicted else met
    return True, f"{met}, and the score is certified" if sure else met


def command(summary: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """The command line that repeats a run, or None if the configuration is not that of a command."""
    if isinstance(summary.get("command"), str):
        return str(summary["command"])
    job, model = config.get("job"), config.get("model")
    if not isinstance(job, str) or not isinstance(model or config.get("space"), str):
        return None
    if job == "demo":
        return shlex.join(["netsmith", "demo", "--out", str(summary["run"]), "--seed", str(config.get("seed", 0))])
    words = ["netsmith", job, *([model] if model else [])]  # a specialization has a space, by name of its option
    for key, value in config.items():
        inner = value.items() if isinstance(value, Mapping) else [(key, value)]
        for option, given in inner:
            if option in ("job", "model") or given is None or (given is False and option not in ON_BY_DEFAULT):
                continue
            text = ",".join(str(v) for v in given) if isinstance(given, list) else str(given)
            name = ("no-" if given is False else "") + option.replace("_", "-")
            words += [f"--{name}"] + ([] if isinstance(given, bool) else [text])
    return shlex.join(words)


def words_of(line: str | None) -> list[str]:
    """A command line as the pieces that a narrow page must not break: an option and its value stay together."""
    return [] if line is None else re.split(r" (?=--)", line)


def _score(metric: Metric, name: str, before: float | None, after: float | None) -> Row:
    was, now = tight(metric, before, "–"), tight(metric, after, "–")
    if before is None or after is None:
        return Row(name, was, now, "", None)
    good = None if same(metric, before, after) else metric.lost(before, after) < 0
    return Row(name, was, now, change(metric, before, after), good)


def _cost(name: str, before: float | None, after: float | None, write: Any) -> Row:
    was, now = (write(v) if v is not None else "–" for v in (before, after))
    if not before or after is None:
        return Row(name, was, now, "", None)
    ratio = after / before
    return Row(name, was, now, f"{ratio:.2f}×", None if abs(ratio - 1) < 0.005 else ratio < 1)


#: columns of the networks that were compared, beside their score
_COMPARED: dict[str, tuple[str, Callable[[Any], str]]] = {
    "latency, measured": ("latency_measured_s", format_seconds),
    "latency, predicted": ("latency_predicted_s", format_seconds), "MACs": ("macs", format_count),
    "parameters": ("params", format_count), "search": ("search_seconds", format_seconds),
    "training": ("train_seconds", format_seconds),
}  # fmt: skip

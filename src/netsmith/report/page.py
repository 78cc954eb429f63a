"""A run as one HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

from netsmith.errors import InputError
from netsmith.files import check_place, write_atomic
from netsmith.metrics import Metric, metric_of
from netsmith.report.bits import bits_plot
from netsmith.report.brief import brief
from netsmith.report.charts import JOULES, MAX_POINTS, SECONDS, Point, Series, linear, scatter, unit_of, wide
from netsmith.report.explore import explore_section, explore_sentence
from netsmith.report.facts import facts_of, plain, spaced
from netsmith.report.family import family_plot
from netsmith.report.feeding import feeding_rows
from netsmith.report.figures import before_after, budget_rows, command, headline, notes, verdict, warnings, words_of
from netsmith.report.front import front_sections
from netsmith.report.marks import SHAPES, SIGNS
from netsmith.report.memory import memory_plot
from netsmith.report.paths import is_searched, paths_sections, search_state
from netsmith.report.pictures import Shown, shown_pictures
from netsmith.report.roofline import roofline_plot
from netsmith.report.scores import each_of
from netsmith.report.widths import in_words, simulated, widths
from netsmith.runs.explore_record import read_exploration
from netsmith.runs.folder import Run
from netsmith.runs.front_record import built_points
from netsmith.runs.names import SUMMARY
from netsmith.runs.search_record import SEARCH_FILE, read_search
from netsmith.units import format_count, format_joules, format_seconds


def write_report(run_path: str | Path) -> Path:
    """Write ``report.html`` of a run and return its path.

    A specialization that is not finished has a page too: what its search has found so far, which a browser reloads.

    Raises:
        InputError: no run folder, the run is not finished and no specialization, or a file of it is damaged.
    """
    run = Run.open(run_path)
    target = run.folder / "report.html"
    check_place(target, "the report", own=lambda path: True)
    if (explored := read_exploration(run.folder)) is not None:
        write_atomic(target, render_exploration(brief(explored), brief(run.config)))
        return target
    finished = (run.folder / SUMMARY).exists()
    found = None if finished else read_search(run.folder)
    if found is None:
        if not finished and (built := built_points(run.folder)):
            raise InputError(
                f"{run.folder} is not finished: {len(built)} of the networks of its front are done, each a run that "
                f"has a report ({', '.join(built)}); repeat the front's command with --resume for the rest"
            )
        summary = brief(run.summary())
        html = render(summary, brief(run.config), shown_pictures(run.folder, summary))
    else:
        when = datetime.fromtimestamp((run.folder / SEARCH_FILE).stat().st_mtime)
        html = render_live(brief(found), brief(run.config), str(run_path), f"{when:%H:%M:%S}")
    write_atomic(target, html)
    return target


def render(summary: Mapping[str, Any], config: Mapping[str, Any], pictures: Sequence[Shown] = ()) -> str:
    """The page of a summary; every text in it is escaped."""
    good, sentence = verdict(summary)
    return _filled(
        title=_title(summary, config), live=None, good=good, verdict=sentence, headline=headline(summary),
        rows=before_after(summary), notes=notes(summary), warnings=warnings(summary), budgets=budget_rows(summary),
        front=front_sections(summary), trade_off=_trade_off(summary),
        fidelity=_fidelity(summary), family=family_plot(summary), roofline=roofline_plot(summary.get("roofline")),
        memory=memory_plot(summary), pictures=pictures, each=each_of(summary),
        bits=bits_plot(summary), modelled=bool(summary.get("simulated")), layers=_layers(summary),
        paths=paths_sections(summary.get("specialization"), metric_of(summary)), feeding=feeding_rows(summary),
        frozen=_frozen(summary),
        facts=facts_of(summary, config), versions=summary["versions"],
        command=words_of(command(summary, config)), run=summary["run"],
    )  # fmt: skip


def render_live(found: Mapping[str, Any], config: Mapping[str, Any], run: str, when: str) -> str:
    """The page of a specialization that goes on, as it stood at ``when``; a browser loads it again and again."""
    facts = [(spaced(k), plain(v)) for k, v in config.items() if v not in (None, "", [], {}) and k != "job"]
    absent = dict.fromkeys(("front", "trade_off", "fidelity", "family", "roofline", "bits", "memory", "pictures"))
    return _filled(
        title=_title({"run": run, "specialization": found}, config), live=when,
        verdict="Building" if is_searched(found) else "Searching", headline=search_state(found), modelled=False,
        layers=[], frozen=[], feeding=[], paths=paths_sections(found), facts=facts, versions={}, run=run, **absent,
    )  # fmt: skip


def render_exploration(record: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The page of an exploration of hardware; every text in it is escaped."""
    facts = [(spaced(k), plain(v)) for k, v in config.items() if v not in (None, "", [], {}) and k != "job"]
    absent = dict.fromkeys(
        ("front", "trade_off", "fidelity", "family", "roofline", "bits", "memory", "paths", "live", "pictures")
    )
    line = command({"run": record["run"]}, config)
    return _filled(
        title=f"{record['model']} on {record['family']}", good=True, verdict="Simulated", layers=[], frozen=[],
        headline=explore_sentence(record), modelled=True, feeding=[], exploration=explore_section(record), facts=facts,
        versions=record.get("versions") or {}, run=record["run"], command=words_of(line), **absent,
    )  # fmt: skip


def _filled(**values: Any) -> str:
    return str(_template().render(**values))


@cache
def _template() -> Any:
    import jinja2

    def read(name: str) -> str:
        return files("netsmith.report").joinpath(name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, loader=jinja2.FunctionLoader(read)
    )
    return environment.get_template("page.html")


def _title(summary: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    found = summary.get("specialization") or {}
    model = found.get("space") or summary.get("model") or config.get("model") or Path(summary["run"]).name
    target = found.get("target") or summary.get("target") or config.get("target")
    return f"{model} on {target}" if target else str(model)


def _trade_off(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """All trials: their cost against score where every trial has one, else against loss.

    The cost is latency, or energy if only that has a budget.
    """
    trials = summary.get("trials") or []
    if not trials:
        return None
    metric = metric_of(summary)
    by_score = all(isinstance(t.get(metric.key), (int, float)) for t in trials)
    budgets = {b["cost"]: b["limit"] for b in summary["budgets"]}
    by_energy = "latency" not in budgets and "energy" in budgets and all(t.get("energy_j") for t in trials)
    cost, key, units = ("energy", "energy_j", JOULES) if by_energy else ("latency", "latency_s", SECONDS)
    write = format_joules if by_energy else format_seconds
    unit, scale = unit_of([t[key] for t in trials], units)
    modelled = by_energy or bool(summary.get("simulated"))  # then nothing of it was measured
    names = list(dict.fromkeys(str(t.get("strategy", "search")) for t in trials))
    series = []
    for name in names:
        points = []
        for t in (t for t in trials if str(t.get("strategy", "search")) == name):
            y = t[metric.key] * metric.scale if by_score else t["loss"]
            guess = modelled or t.get("measured") is False
            how = "predicted" if guess else "measured" if t.get("measured") else ""
            what = f"{metric.name} {metric.shown(t[metric.key])}" if by_score else f"loss {y:.4g}"
            text = f"{name}: {what}, {write(t[key])} {how}".strip()
            points.append(Point(t[key] * scale, y, text, guess and not modelled, bool(t.get("chosen"))))
        shape = SHAPES.get(name, "circle")
        series.append(Series(name, points, "ink" if shape == "circle" else "soft-mark", shape))
    series.sort(key=lambda s: s.shape == "circle")  # whole designs are few, and on top
    every = [p for s in series for p in s.points]
    limit = budgets.get(cost)
    xs = [p.x for p in every] + ([limit * scale] if limit is not None else [])
    pad = (max(xs) - min(xs)) * 0.05
    plot = scatter(
        series, linear(min(xs) - pad, max(xs) + pad), wide([p.y for p in every]),
        x_label=f"{cost}{', predicted' if modelled else ''}, {unit}",
        y_label=_score_label(metric) if by_score else "estimated loss (less is better)",
        title=f"{cost.capitalize()} and {metric.name} of every trial",
        limit=None if limit is None else (limit * scale, "budget"),
    )  # fmt: skip
    thinned = max(len(s.points) for s in series) > MAX_POINTS
    return {
        "plot": plot, "legend": [(s.name, s.style, SIGNS[s.shape], len(s.points)) for s in reversed(series)],
        "count": len(trials),
        "chosen": any(p.chosen for p in every), "hollow": any(p.hollow for p in every), "thinned": thinned,
        "cost": f"predicted {cost}" if modelled else cost,
    }  # fmt: skip


def _score_label(metric: Metric) -> str:
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.name}{unit}{'' if metric.higher_is_better else ' (less is better)'}"


def _fidelity(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Predicted against measured latency."""
    pairs = [(f["predicted_s"], f["measured_s"]) for f in summary.get("fidelity") or [] if f["measured_s"] > 0]
    if not pairs:
        return None
    unit, scale = unit_of([v for pair in pairs for v in pair], SECONDS)
    points = []
    for predicted, measured in pairs:
        off = predicted / measured - 1
        text = f"predicted {format_seconds(predicted)}, measured {format_seconds(measured)} ({off:+.1%})"
        points.append(Point(measured * scale, predicted * scale, text))
    values = [v for p in points for v in (p.x, p.y)]
    pad = max(values) * 0.1  # a few per cent of error look like it, however close together the designs are
    axis = linear(min(values) - pad, max(values) + pad)
    plot = scatter(
        [Series("designs", points)], axis, axis, x_label=f"measured, {unit}", y_label=f"predicted, {unit}",
        title="Predicted and measured latency", diagonal=True,
    )  # fmt: skip
    errors = [abs(p / m - 1) for p, m in pairs]
    return {"plot": plot, "count": len(pairs), "median": f"{median(errors):.1%}", "worst": f"{max(errors):.1%}"}


def _layers(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the layer list: shares in percent for the bars, texts for the rest."""
    rows = summary.get("layers") or []
    slowest = max((v for r in rows for v in _pair(r, "latency_s") if v), default=0.0)
    found = []
    for row in rows:
        choice = row.get("choice") or {}
        width, of, bits = choice.get("width"), choice.get("of"), choice.get("bits")
        both = widths(choice)
        before, after = _pair(row, "latency_s")
        m0, m1 = _pair(row, "macs")
        found.append({
            "name": row["name"], "kind": row.get("kind", ""), "width": width, "of": of, "bits": bits,
            "widths": in_words(*both) if both else "", "simulated": simulated(choice),
            "removed": width == 0, "kept": 100 * width / of if width is not None and of else None,
            "before": None if before is None else format_seconds(before),
            "after": None if after is None else format_seconds(after),
            "before_bar": 100 * (before or 0) / slowest if slowest else 0,
            "after_bar": 100 * (after or 0) / slowest if slowest else 0,
            "macs": f"{format_count(m0)} → {format_count(m1)} MACs" if m0 is not None and m1 is not None else "",
        })  # fmt: skip
    return found


def _frozen(summary: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Reasons and the layers that they keep."""
    by_reason: dict[str, list[str]] = {}
    for layer, reason in summary["frozen"].items():
        by_reason.setdefault(reason, []).append(layer)
    choices = {row["name"]: row.get("choice") or {} for row in summary.get("layers") or []}
    kept = [n for n, c in choices.items() if c.get("pinned") and "not quantized" not in summary["frozen"].get(n, "")]
    if kept and len(kept) < len(choices):  # otherwise bits were not what this run chose
        by_reason["no choice of bits: the first and the last layer keep the widest"] = kept
    return sorted(by_reason.items(), key=lambda item: -len(item[1]))


def _pair(row: Mapping[str, Any], key: str) -> tuple[float | None, float | None]:
    pair = row.get(key) or {}
    return pair.get("before"), pair.get("after")

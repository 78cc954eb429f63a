"""What is certain of the score of a run, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netsmith.certificates import few_of
from netsmith.metrics import Metric, metric_of
from netsmith.report.scores import at_least, each_of, points
from netsmith.units import COST_NAMES


def certified(summary: Mapping[str, Any]) -> bool | None:
    """Whether the certificate that was asked for holds; None where none was asked for."""
    met = (summary.get("certificate") or {}).get("met")
    return None if met is None else bool(met)


def sureness(summary: Mapping[str, Any]) -> str:
    """The certificate as a sentence without its end, from ``at 95 % confidence`` on; empty where there is none."""
    found = summary.get("certificate") or {}
    if found.get("confidence") is None:
        return ""
    metric, each = metric_of(summary), each_of(summary)
    asked, met = found.get("asked") or {}, found.get("met")
    sure = f"at {percent(found['confidence'])} confidence"
    images = f"{found['examples']:,} test {each}" if found.get("examples") else f"the test {each}"
    bound, score = found.get("loss_bound"), found.get("score_bound")
    if bound is not None and asked.get("min_score") is None:
        # what was asked for is what a sequence of tests shows; a bound is of one network by itself
        what = most_lost(metric, asked["max_drop"] if met and asked.get("max_drop") is not None else bound)
        allowed = f"{points(metric, asked.get('max_drop') or 0.0)} {'were' if metric.unit == '%' else 'was'} allowed"
        missed = f"as much as {points(metric, bound)} lost, where {allowed}"
    elif score is not None:
        what = at_least(metric, score)
        missed = f"no {'more' if metric.higher_is_better else 'less'} than a score of {metric.shown(score)}, where "
        missed += f"{metric.shown(asked.get('min_score') or 0.0)} was asked for"
    else:
        return ""
    images += few_of(found.get("differ"))
    if met is None:
        return f"{sure} {what}, on {images}"
    return f"{sure} {what}: certified on {images}" if met else f"{sure} {missed}: not certified on {images}"


def needed(summary: Mapping[str, Any]) -> str:
    """How many test images a tighter certificate would take; empty where nothing says it."""
    found = summary.get("certificate") or {}
    more, each = found.get("needed_examples") or {}, each_of(summary)
    if not more.get("examples"):
        if more and found.get("met") is False:
            return f"no number of test {each} would certify what was asked for at the loss that was seen"
        return ""
    what = "what was asked for" if found.get("met") is False else f"a loss of {points(metric_of(summary), more['for'])}"
    often = "as often as these" if found.get("method", "exact") == "exact" else "as much as these"
    return f"{what} would be certified by about {more['examples']:,} test {each} where they differ {often}"


def most_lost(metric: Metric, bound: float) -> str:
    """``no more than 0.48 points lost``, or how much is gained where that is certain."""
    return f"no more than {points(metric, bound)} lost" if bound >= 0 else f"at least {points(metric, -bound)} gained"


def percent(share: float, digits: int | None = None) -> str:
    """``0.95`` as ``95 %``; with all digits that it has unless these are said."""
    return f"{share * 100:.6g} %" if digits is None else f"{share * 100:.{digits}f} %"


def gained(cost: str, before: float | None, after: float | None, how: str = "") -> str:
    """What a cost came to in words: ``2.60 times as fast``, ``26 % of the size``; empty where either is not known."""
    if not before or not after:
        return ""
    if cost != "latency":
        return f"{percent(after / before, 0)} of the {COST_NAMES.get(cost, cost)}{how}"
    ratio = before / after
    return f"{ratio:.2f} times as fast{how}" if ratio >= 1.005 else f"not faster ({ratio:.2f} times{how})"


def between(span: Sequence[float] | None, write: Callable[[float], str]) -> str:
    """An interval in words; empty where there is none."""
    return f"{write(span[0])} to {write(span[1])}" if span else ""

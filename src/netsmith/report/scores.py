"""Scores as people read them: in the unit of their metric, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netsmith.metrics import Metric

_ALIKE = 5e-4  #: of a score that has no percent, below which nobody calls two different


def each_of(summary: Mapping[str, Any]) -> str:
    """What an example is called, in the plural."""
    return str((summary.get("task") or {}).get("each") or "images")


def tight(metric: Metric, score: float | None, absent: str = "") -> str:
    """A score in a cell of a table: ``92.03%``, ``27.31 dB``."""
    if score is None:
        return absent
    return f"{score:.2%}" if metric.unit == "%" else metric.shown(score)


def same(metric: Metric, before: float, after: float) -> bool:
    """Whether two scores are so near that they are called the same."""
    far = abs(after - before) * metric.scale
    return far < 0.005 if metric.unit == "%" else far < _ALIKE * max(abs(before), abs(after), 1e-12)


def change(metric: Metric, before: float, after: float) -> str:
    """``-0.52 points``, ``+0.31 dB``, ``the same``."""
    if same(metric, before, after):
        return "the same"
    by = (after - before) * metric.scale
    digits = f"{by:+.2f}" if metric.unit == "%" or abs(by) >= 0.1 else f"{by:+.3g}"
    return f"{digits} {metric.points}".rstrip()


def points(metric: Metric, loss: float) -> str:
    """A difference of two scores, ``0.0048`` as ``0.48 points``; of others than shares in their unit."""
    if metric.unit != "%":
        return metric.difference(loss)
    text = f"{loss * 100:.2f}"
    return f"{text} point{'' if text == '1.00' else 's'}"


def outcome(metric: Metric, before: float, after: float) -> str:
    """``0.28 points of accuracy lost``, ``0.31 dB of PSNR gained``, ``no mIoU lost``, ``MSE 0.012 worse``."""
    if same(metric, before, after):
        return f"no {metric.name} lost"
    gone = metric.lost(before, after)
    if not metric.unit:
        return f"{metric.name} {abs(gone):.3g} {'worse' if gone > 0 else 'better'}"
    by = metric.difference(abs(gone))
    return f"{by} of {metric.name} {'lost' if gone > 0 else 'gained'}"


def at_least(metric: Metric, score: float) -> str:
    """``a score of 91.57 % or more``, or ``or less`` where less is better."""
    return f"a score of {metric.shown(score)} or {'more' if metric.higher_is_better else 'less'}"


def axis(metric: Metric, each: str) -> str:
    """What an axis of scores is called, a better one further up."""
    name = "score" if metric.key == "accuracy" else metric.name
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{name} on test {each}{unit}{'' if metric.higher_is_better else ' (less is better)'}"

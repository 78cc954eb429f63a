"""What ``front.json`` says of each network of a front, from the summary of its own run and from the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netsmith.certificates import Certificate, around, latency_interval
from netsmith.metrics import FloatArray, Metric

_COSTS = {"energy": "energy_j", "size": "size_bytes", "macs": "macs", "memory": "memory_bytes"}


def costs_of(side: Mapping[str, Any]) -> dict[str, float]:
    """Costs by name in SI units, latency as measured where it was: those that a side of a summary knows."""
    measured, predicted = side.get("latency_measured_s"), side.get("latency_predicted_s")
    latency = predicted if measured is None else measured
    found = {} if latency is None else {"latency": float(latency)}
    return found | {name: float(side[key]) for name, key in _COSTS.items() if side.get(key) is not None}


def scored(metric: Metric, rows: FloatArray, confidence: float) -> dict[str, Any]:
    """A score with its interval, from what was noted of each example, rows ``(N, F)``."""
    return {"score": metric.of(rows), "score_interval": list(around(metric, rows, confidence))}


def given_of(
    summary: Mapping[str, Any], rows: FloatArray | None, confidence: float, metric: Metric
) -> dict[str, Any]:  # fmt: skip
    """The network as given: ``baseline`` of a front. It is the unit of latencies, and so has no interval of one.

    Args:
        rows: what was noted of each test example; None where it has no score.
    """
    side = summary["baseline"]
    score = {"score": None, "score_interval": None} if rows is None else scored(metric, rows, confidence)
    latency = {"latency_measured_s": side["latency_measured_s"], "latency_interval_s": None}
    return score | latency | {"costs": costs_of(side)}


def point_of(
    folder: str, summary: Mapping[str, Any], rows: FloatArray, sure: Certificate, certified: bool | None,
    proven: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One network of a front, in the schema of :func:`netsmith.runs.front_record.point_schema`.

    Args:
        folder: of its run, below that of the front.
        summary: of its run.
        rows: what was noted of each test example, ``(N, F)``.
        sure: what is certain of it, by the metric of its score.
        certified: whether it is certified to keep what was asked; None where that was not tested.
        proven: ``divergence``, ``bound`` and ``cost_bound``, where a search went by one and proved the others.
    """
    after, unit = summary["result"], summary["baseline"].get("latency_measured_s")
    sessions: Sequence[float] = (summary.get("timing") or {}).get("session_ratios") or []
    timed = list(latency_interval(sessions, unit, sure.confidence)) if sessions and unit else None
    absent = {"divergence": None, "bound": None, "cost_bound": None}
    return {
        "folder": folder, **scored(sure.metric, rows, sure.confidence), "loss": sure.loss,
        "loss_bound": sure.loss_bound, "score_bound": sure.score_bound, "confidence": sure.confidence,
        "latency_measured_s": after["latency_measured_s"], "latency_interval_s": timed,
        "latency_predicted_s": after["latency_predicted_s"], "costs": costs_of(after), **absent, **(proven or {}),
        "certified": certified, "design": summary["design"],
    }  # fmt: skip


def whole(run: str, chosen: Mapping[str, Any], folder: str, front: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of a front: that of its chosen network, whose files lie in ``folder``, with all networks."""
    files = {name: f"{folder}/{file}" for name, file in chosen["files"].items()}
    return {**chosen, "run": run, "files": files, "front": dict(front)}


def reported(points: Sequence[Mapping[str, Any]], minimized: str, metric: Metric) -> list[dict[str, Any]]:
    """Networks in the order of ``front.json``: by score on the test split, the best first, ties by cost."""
    return [dict(p) for p in sorted(points, key=lambda p: (-metric.rank(p["score"]), p["costs"][minimized]))]

"""What ``front.json`` says of each network of a front, from the summary of its own run and from the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.certificates import Certificate, latency_interval, score_interval

BoolArray = NDArray[np.bool_]
_COSTS = {"energy": "energy_j", "size": "size_bytes", "macs": "macs", "memory": "memory_bytes"}


def costs_of(side: Mapping[str, Any]) -> dict[str, float]:
    """Costs by name in SI units, latency as measured where it was: those that a side of a summary knows."""
    measured, predicted = side.get("latency_measured_s"), side.get("latency_predicted_s")
    latency = predicted if measured is None else measured
    found = {} if latency is None else {"latency": float(latency)}
    return found | {name: float(side[key]) for name, key in _COSTS.items() if side.get(key) is not None}


def scored(right: BoolArray, confidence: float) -> dict[str, Any]:
    """A score with its interval, from which examples are right, ``(N,)``."""
    count, n = int(right.sum()), len(right)
    return {"score": count / n, "score_interval": list(score_interval(count, n, confidence))}


def given_of(summary: Mapping[str, Any], right: BoolArray | None, confidence: float) -> dict[str, Any]:
    """The network as given: ``baseline`` of a front. It is the unit of latencies, and so has no interval of one.

    Args:
        right: which test examples it gets right; None where it has no score.
    """
    side = summary["baseline"]
    score = {"score": None, "score_interval": None} if right is None else scored(right, confidence)
    latency = {"latency_measured_s": side["latency_measured_s"], "latency_interval_s": None}
    return score | latency | {"costs": costs_of(side)}


def point_of(
    folder: str, summary: Mapping[str, Any], right: BoolArray, sure: Certificate, certified: bool | None,
    proven: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One network of a front, in the schema of :data:`netsmith.runs.front_record.POINT`.

    Args:
        folder: of its run, below that of the front.
        summary: of its run.
        right: which test examples it gets right, ``(N,)``.
        sure: what is certain of it.
        certified: whether it is certified to keep what was asked; None where that was not tested.
        proven: ``divergence``, ``bound`` and ``cost_bound``, where a search went by one and proved the others.
    """
    after, unit = summary["result"], summary["baseline"].get("latency_measured_s")
    sessions: Sequence[float] = (summary.get("timing") or {}).get("session_ratios") or []
    around = list(latency_interval(sessions, unit, sure.confidence)) if sessions and unit else None
    absent = {"divergence": None, "bound": None, "cost_bound": None}
    return {
        "folder": folder, **scored(right, sure.confidence), "loss": sure.loss, "loss_bound": sure.loss_bound,
        "score_bound": sure.score_bound, "confidence": sure.confidence,
        "latency_measured_s": after["latency_measured_s"], "latency_interval_s": around,
        "latency_predicted_s": after["latency_predicted_s"], "costs": costs_of(after), **absent, **(proven or {}),
        "certified": certified, "design": summary["design"],
    }  # fmt: skip


def whole(run: str, chosen: Mapping[str, Any], folder: str, front: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of a front: that of its chosen network, whose files lie in ``folder``, with all networks."""
    files = {name: f"{folder}/{file}" for name, file in chosen["files"].items()}
    return {**chosen, "run": run, "files": files, "front": dict(front)}


def reported(points: Sequence[Mapping[str, Any]], minimized: str) -> list[dict[str, Any]]:
    """Networks in the order of ``front.json``: by score on the test split, ties by cost."""
    return [dict(p) for p in sorted(points, key=lambda p: (-p["score"], p["costs"][minimized]))]

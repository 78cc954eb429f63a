"""Claims of a front: its list, its summary and the summaries of its networks say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from netsmith.files import read_json
from netsmith.jobs.claims.claim import Claim, compared, unchecked, unit_of
from netsmith.jobs.claims.evidence import Evidence
from netsmith.jobs.claims.figures import cost_of
from netsmith.runs.front_record import FRONT_FILE

_FOLDER = re.compile(r"points/\d{1,4}")


def points_of(summary: Mapping[str, Any]) -> list[str]:
    """Folders of a front's networks, in its order; empty where a run is no front."""
    front = summary.get("front")
    points = front.get("points") if isinstance(front, dict) else None
    named = [str(p.get("folder")) for p in points or () if isinstance(p, dict)]
    return [name for name in named if _FOLDER.fullmatch(name)]


def front(seen: Evidence, points: Mapping[str, Evidence]) -> Iterator[Claim]:
    """A front against its networks.

    Args:
        points: what the folders of its networks hold.
    """
    said = seen.summary["front"]
    path = seen.folder / FRONT_FILE  # it needs no digest of its own: the summary, which has one, holds the same list
    listed = read_json(path, "repeat the run") if path.is_file() else None
    same = "missing" if listed is None else "the same" if listed == said["points"] else "other"
    yield compared(f"{FRONT_FILE} and the summary", "the same", same)
    metric = seen.metric
    scores = [metric.rank(point["score"]) for point in said["points"]]
    ordered, first = scores == sorted(scores, reverse=True), "most accurate first"
    first = first if metric.key == "accuracy" else "best first"
    yield compared("order of the front", first, first if ordered else "another")
    for point in said["points"]:
        name = point["folder"]
        if name not in points:
            yield unchecked(
                f"{name} in the front", point["score"], "its folder is no run that can be read", unit_of(metric)
            )
            continue
        yield from _point(name, point, points[name])
    chosen = points.get(said["chosen"])
    if chosen is not None:
        other = [k for k in ("result", "design", "budgets") if seen.summary.get(k) != chosen.summary.get(k)]
        text = f"other {', '.join(other)}" if other else "as in its own summary"
        yield compared(f"the chosen network, {said['chosen']}", "as in its own summary", text)


def _point(name: str, point: Mapping[str, Any], seen: Evidence) -> Iterator[Claim]:
    """One entry of the list against the summary of its run."""
    after, sure = seen.summary["result"], seen.summary.get("certificate") or {}
    metric = seen.metric
    yield compared(f"{name} in the front: score", point["score"], after[metric.key], unit_of(metric))
    said = {k: point.get(k) for k in ("latency_measured_s", "latency_predicted_s", "design")}
    found = {k: after.get(k, seen.summary.get(k)) for k in said}
    said |= {f"cost {k}": v for k, v in point["costs"].items()}
    found |= {f"cost {k}": cost_of(after, k) for k in point["costs"]}
    if sure.get("confidence") == point.get("confidence"):  # a run of one network may certify at another confidence
        said |= {k: point.get(k) for k in ("loss", "loss_bound")}
        found |= {k: sure.get(k) for k in ("loss", "loss_bound")}
    other = [k for k in said if compared(k, said[k], found[k]).verdict == "fails"]
    text = f"other {', '.join(other)}" if other else "as in its summary"
    yield compared(f"{name} in the front: figures", "as in its summary", text)


def baseline_of(folder: Path, seen: Evidence) -> Path | None:
    """The network as given that a point was measured against, where it lies in the folder of the front only."""
    own = seen.folder / "baseline.onnx"
    return None if own.exists() or not (folder / "baseline.onnx").exists() else folder / "baseline.onnx"

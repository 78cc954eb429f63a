"""Latency of whole networks on this machine, against that of a reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from netsmith.export.product import Product
from netsmith.hardware.measured.timing import Feed, time_models
from netsmith.runs.folder import Run

SESSION_S = 0.5
SEARCH_SESSIONS, FINAL_SESSIONS = 3, 7
#: figures of a product that only a model prices
UNTIMED: MappingProxyType[str, Any] = MappingProxyType({"latency_measured_s": None, "timing": {}})
NEAR = 0.06  #: networks this close to the budget are worth a final measurement before they are trained


def quiet_latency(model: Path, threads: int, feed: Feed | None = None) -> float:
    """Latency in seconds of a model that others are measured against.

    What a busy machine adds to it would be the unit of every later figure: the quietest of three sessions counts.

    Args:
        feed: what it is run on; None for random numbers.
    """
    sessions = (
        time_models({"model": model}, threads=threads, seconds=SESSION_S, feed=feed) for _ in range(SEARCH_SESSIONS)
    )
    return min(session["model"].quiet_s for session in sessions)


def timed(
    baseline: Path, model: bytes | Path, threads: int, final: bool = True, feed: Feed | None = None
) -> dict[str, Any]:
    """Time a model against another; the session with the median ratio speaks for all, of which a final timing has more.

    Within one session the spread is small, but where its tensors happen to lie in memory shifts a whole session by
    some percent, so one session alone can be wrong with a narrow interval around it.
    """
    count = FINAL_SESSIONS if final else SEARCH_SESSIONS
    both: dict[str, Any] = {"baseline": baseline, "model": model}
    sessions = [time_models(both, threads=threads, seconds=SESSION_S, seed=i, feed=feed) for i in range(count)]
    ratios = sorted(t["model"].ratio for t in sessions)
    t = next(t for t in sessions if t["model"].ratio == ratios[count // 2])
    return {
        "ratio": t["model"].ratio, "ratio_ci": list(t["model"].ratio_ci), "session_ratios": ratios,
        "rounds": sum(s["model"].n for s in sessions), "baseline_median_s": t["baseline"].median_s,
        "baseline_iqr_s": t["baseline"].iqr_s, "model_median_s": t["model"].median_s,
        "model_iqr_s": t["model"].iqr_s,
    }  # fmt: skip


def near_timed(baseline: Path, model: bytes | Path, threads: int, share: float, feed: Feed | None = None) -> float:
    """Latency of a model over that of another; measured longer where it is near ``share``."""
    quick = float(timed(baseline, model, threads, final=False, feed=feed)["ratio"])
    near = abs(quick - share) < NEAR * share
    return float(timed(baseline, model, threads, feed=feed)["ratio"]) if near else quick


def final_timing(
    run: Run, product: Product, baseline: Mapping[str, Any], threads: int, feed: Feed | None = None
) -> dict[str, Any]:
    """A product on this machine, against the network that its run began with.

    Args:
        baseline: figures of that network, whose ``latency_measured_s`` is the unit.

    Returns:
        ``latency_measured_s`` and ``timing``, see :func:`timed`; :data:`UNTIMED` has both where nothing is measured.
    """
    timing = timed(run.path("baseline.onnx"), product.files["onnx"], threads, feed=feed)
    return {"latency_measured_s": timing["ratio"] * baseline["latency_measured_s"], "timing": timing}

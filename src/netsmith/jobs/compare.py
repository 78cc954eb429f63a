"""Finished runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netsmith.errors import InputError
from netsmith.jobs.run import Run


def compare(runs: Sequence[str | Path]) -> dict[str, Any]:
    """Collect the figures of finished runs.

    Returns:
        ``rows``, one a run: accuracy before and after, latency measured, its ratio to the run's own baseline, MACs,
        parameters, bytes, and whether every budget is met.

    Raises:
        InputError: no run, or one that is not finished.
    """
    if not runs:
        raise InputError("no run to compare; name at least one run folder")
    rows = []
    for folder in runs:
        summary = Run.open(folder).summary()
        before, after = summary["baseline"], summary["result"]
        base, now = before["latency_measured_s"], after["latency_measured_s"]
        rows.append({
            "run": str(folder), "model": summary.get("model"), "data": summary.get("data"),
            "target": summary.get("target"),
            "accuracy_before": before["accuracy"], "accuracy_after": after["accuracy"], "latency_before_s": base,
            "latency_after_s": now, "ratio": now / base if now and base else None, "macs": after["macs"],
            "params": after["params"], "size_bytes": after["size_bytes"],
            "met": all(b["met"] for b in summary["budgets"]),
            "budgets": summary["budgets"],
        })  # fmt: skip
    return {"rows": rows}

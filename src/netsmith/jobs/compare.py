"""Finished runs side by side, and their networks priced on other hardware."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netsmith.errors import InputError
from netsmith.files import read_json
from netsmith.hardware.target import Target, as_run, get_target, prepare_target, price
from netsmith.metrics import metric_of
from netsmith.network.layers import LayerTable
from netsmith.progress import Progress, progress_of
from netsmith.runs.folder import Run
from netsmith.runs.search_record import built_blocks


def compare(
    runs: Sequence[str | Path], *, targets: Sequence[str] = (), progress: Progress | None = None
) -> dict[str, Any]:
    """Collect the figures of finished runs; a front stands here with all of its networks, a row each.

    Args:
        targets: hardware to price every run's network on; a measured one measures the layers that it lacks.

    Returns:
        ``rows``, one a run: the score before and after (``accuracy_before``, by the metric of the ``task``), latency
        before and after and their ratio, ``latency`` whether these are ``measured`` or ``predicted``, predicted
        energy and its ratio, MACs, parameters, bytes, mean bits, whether every budget is met, ``warnings`` of what
        makes its figures worth less, of a specialization the ``blocks`` of its network (else null), and of a front
        whether it is the ``chosen`` network (else null). With targets also ``costs``: run -> target -> predicted
        ``latency_s``, ``energy_j`` (null where the target has none) and the same of the run's ``baseline``.

    Raises:
        InputError: no run, one that is not finished, or a target that cannot be used.
    """
    if not runs:
        raise InputError("no run to compare; name at least one run folder")
    progress = progress_of(progress)
    devices = {spec: get_target(spec) for spec in targets}
    rows, every = [], [one for folder in runs for one in _networks(folder)]
    for folder, chosen in every:
        summary = Run.open(folder).summary()
        found, metric = summary.get("specialization"), metric_of(summary)
        before, after = summary["baseline"], summary["result"]
        measured = before["latency_measured_s"] is not None and after["latency_measured_s"] is not None
        how = "measured" if measured else "predicted"
        base, now = before[f"latency_{how}_s"], after[f"latency_{how}_s"]
        joules, spent = before.get("energy_j"), after.get("energy_j")
        rows.append({
            "run": folder, "model": summary.get("model"), "data": summary.get("data"),
            "target": summary.get("target"),
            f"{metric.key}_before": before[metric.key], f"{metric.key}_after": after[metric.key],
            "latency_before_s": base,
            "latency_after_s": now, "ratio": now / base if now and base else None, "latency": how,
            "energy_j": spent, "energy_ratio": spent / joules if spent is not None and joules else None,
            "mean_bits": after.get("mean_bits"), "macs": after["macs"],
            "params": after["params"], "size_bytes": after["size_bytes"],
            "met": all(b["met"] for b in summary["budgets"]),
            "warnings": list(summary.get("warnings") or []),
            "budgets": summary["budgets"], "blocks": built_blocks(found) if found else None,
            "chosen": chosen, **({"task": summary["task"]} if summary.get("task") else {}),
        })  # fmt: skip
    if not devices:
        return {"rows": rows}
    layers = {folder: _layers(Run.open(folder)) for folder, _ in every}
    for device in (d for d in devices.values() if d.capabilities.by_row):  # others price whole networks only
        tables = [as_run(table, device.capabilities) for pair in layers.values() for table in pair]
        prepare_target(device, LayerTable.distinct(tables), progress)
    progress.stage("pricing")
    costs = {
        folder: {spec: _priced(after, d) | {"baseline": _priced(before, d)} for spec, d in devices.items()}
        for folder, (before, after) in layers.items()
    }
    simulated = [spec for spec, device in devices.items() if not device.capabilities.measured]
    return {"rows": rows, "costs": costs, "simulated": simulated}


def _networks(folder: str | Path) -> list[tuple[str, bool | None]]:
    """Folders of the networks of a run, and of those of a front which was chosen."""
    front = Run.open(folder).summary().get("front")
    if not front:
        return [(str(folder), None)]
    return [(str(Path(folder) / p["folder"]), p["folder"] == front["chosen"]) for p in front["points"]]


def _layers(run: Run) -> tuple[LayerTable, LayerTable]:
    """The layers of a run's network before and after."""
    record = read_json(run.path("layers.json"), "repeat the run with this netsmith, older ones did not write it")
    tables = record if isinstance(record, dict) else {}
    try:
        return LayerTable.from_dict(tables.get("baseline", {})), LayerTable.from_dict(tables.get("result", {}))
    except InputError as error:
        raise InputError(f"{run.path('layers.json')} is damaged ({error}); repeat the run") from error


def _priced(table: LayerTable, device: Target) -> dict[str, float | None]:
    cost = price(device, as_run(table, device.capabilities))
    energy = None if cost.energy_j is None else float(cost.energy_j.sum())
    return {"latency_s": float(cost.latency_s.sum() + cost.fixed_s), "energy_j": energy}

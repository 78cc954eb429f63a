"""What a specialization came to: its summary, in the schema of ``netsmith.runs.summary``."""

from __future__ import annotations

from typing import Any

import numpy as np

from netsmith.certificates import certificate
from netsmith.jobs.specialization import Specialization
from netsmith.jobs.tested import rows_of
from netsmith.jobs.versions import device, versions
from netsmith.runs.names import FORMATS
from netsmith.runs.summary import kept_budgets
from netsmith.systems.registry import SYSTEMS

TRAINED = "after training the network"  #: is a guess, perhaps
RETRAIN = "train for more epochs, with another --lr, or check the data"


def summarise(
    job: Specialization, baseline: dict[str, Any], done: dict[str, tuple[dict[str, Any], dict[str, Any]]],
    scores: dict[str, dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    """The summary of a finished specialization, in the schema of ``netsmith.runs.summary``."""
    accuracy = {system: float(found["accuracy"]) for system, found in scores.items()}
    own = job.config.search.system
    found, result = done[own]
    before = baseline | {
        "accuracy": None, "latency_predicted_s": job.given["latency"] * job.correction,
        "energy_j": job.given.get("energy"),
    }  # fmt: skip
    keys = ("latency_measured_s", "latency_predicted_s", "energy_j", "macs", "params", "size_bytes", "search_accuracy")
    after = {k: result[k] for k in keys} | {"accuracy": accuracy[own]}
    values = {
        "latency": after["latency_predicted_s" if job.simulated else "latency_measured_s"], "macs": after["macs"],
        "energy": after["energy_j"], "size": after["size_bytes"],
    }  # fmt: skip
    design = found["design"]
    return {
        "schema": 1, "warnings": job.task.ruined(TRAINED, {"test": accuracy[own]}, RETRAIN), "baseline": before,
        "result": after,
        "frozen": {}, "seed": job.config.seed,
        "budgets": kept_budgets(job.limits, values),
        "design": job.family.decisions.describe(design) if design is not None else {}, "versions": versions(),
        "run": str(job.run.folder), "target": job.config.target, "simulated": job.simulated,
        "model": f"{job.family.name} ({own})", "data": job.data.name, "data_note": job.data.note,
        "data_notes": list(job.data.sentences), "preprocessing": job.data.feeding.to_dict(), "strategy": own,
        "certificate": certificate(None, rows_of(scores[own]), metric=job.metric).to_dict(),
        "timing": result["timing"], "parity": result["parity"], "recovery": result["history"],
        "fidelity": found["tried"],
        "device": device(job.target, job.config.threads), "specialization": _specialization(job, done, accuracy),
        "files": {n: n for n in (*FORMATS.values(), "network.json")},
    }  # fmt: skip


def _specialization(
    job: Specialization, done: dict[str, tuple[dict[str, Any], dict[str, Any]]], accuracy: dict[str, float]
) -> dict[str, Any]:
    """How the search went and what each system came to."""
    rows = []
    for system, (found, result) in done.items():
        design = found["design"]
        searched = job.searched(system) if SYSTEMS[system].trains else {"seconds": 0.0}
        figures = {k: result[k] for k in ("latency_measured_s", "latency_predicted_s", "macs", "params")}
        rows.append({
            "system": system, "label": system, "accuracy": accuracy[system], **figures,
            "energy_j": result["energy_j"], "train_seconds": result["seconds"], "search_seconds": searched["seconds"],
            "blocks": [place["chosen"] for place in job.family.places(design)] if design is not None else None,
        })  # fmt: skip
    own = job.config.search.system
    design = done[own][0]["design"]
    chosen = np.array(design) if design is not None else job.family.reference
    if SYSTEMS[own].trains:
        job.course.history = job.searched(own)["history"]
    seconds = {k: rows[0][k] for k in ("search_seconds", "train_seconds")}
    return job.course.summary("done", chosen) | seconds | {"compared": rows}

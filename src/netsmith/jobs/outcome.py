"""From the stages of a compression to its summary."""

from __future__ import annotations

from typing import Any

import numpy as np

from netsmith.accuracy.sensitivity import Sensitivity
from netsmith.compression.choices import A_BITS, BITS, DEPTH, W_BITS, WIDTH
from netsmith.jobs.export import FORMATS
from netsmith.jobs.profile import kind_of
from netsmith.jobs.roofline import roofline
from netsmith.jobs.stages import Stages
from netsmith.jobs.versions import versions


def summarise(
    job: Stages, baseline: dict[str, Any], sensitivity: Sensitivity, found: dict[str, Any], result: dict[str, Any],
    limits: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    """The summary of a finished compression, in the schema of ``netsmith.jobs.summary``."""
    design = np.array(found["best"]["design"])
    timed = "latency" in limits and not job.simulated

    energy = job.pricing.cost(job.graph.layers).energy_j is not None

    def side(of: dict[str, Any], predicted: float, size: float, joules: float | None) -> dict[str, Any]:
        keys = ("accuracy", "search_accuracy", "latency_measured_s", "macs", "params")
        costs = {"latency_predicted_s": predicted, "size_bytes": round(size), "energy_j": joules}
        return {k: of[k] for k in keys} | costs

    before = side(
        baseline | {"accuracy": result["baseline_accuracy"]}, job.given("latency"), job.given("size"),
        job.given("energy") if energy else None,
    )  # fmt: skip
    after = side(
        result, float(found["best"]["predicted_s"]), result["size_bytes"],
        float(job.pricing.predict(design, "energy")[0]) if energy else None,
    )  # fmt: skip
    values = {
        "latency": after["latency_predicted_s"] if job.simulated else after["latency_measured_s"],
        "macs": after["macs"], "size": after["size_bytes"], "energy": after["energy_j"],
    }  # fmt: skip
    budgets = [{"cost": n, "limit": v, "value": values[n], "met": bool(values[n] <= v)} for n, v in limits.items()]
    return {
        "schema": 1, "baseline": before, "result": after, "budgets": budgets,
        "design": job.choices.space.describe(design), "frozen": job.subject.frozen, "seed": job.config["seed"],
        "versions": versions(), "run": str(job.run.folder), "target": job.config["target"],
        "simulated": job.simulated, "bound": found["best"]["bound"], "loss": found["best"]["loss"],
        "layers": _layers(job, design),
        "roofline": roofline(job.target, before=job.graph.layers, after=job.pricing.rows(design)),
        "timing": result["timing"], "parity": result["parity"],
        "fusion": result["fusion"],
        "fidelity": [{k: a[k] for k in ("predicted_s", "measured_s")} for a in found["attempts"]] if timed else [],
        "trials": _trials(job, sensitivity, found, before), "recovery": result["history"],
        "search_accuracy_untuned": result["search_accuracy_untuned"],
        "sensitivity": {
            "candidates": sensitivity.candidates, "seconds": sensitivity.seconds, "recomputed": sensitivity.recomputed,
        },
        "model": job.subject.loaded.spec, "data": job.subject.data.name, "data_note": job.subject.data.note,
        "strategy": job.config["strategy"], "methods": job.config["methods"], "device": _device(job),
        "files": {n: n for n in ("baseline.onnx", *(f"model.{f}" for f in FORMATS), "recipe.json")},
    }  # fmt: skip


def _device(job: Stages) -> dict[str, Any]:
    if job.simulated:
        return {"name": job.target.name, "simulated": True}
    from netsmith.hardware.measured.fingerprint import fingerprint

    return fingerprint(job.config["threads"]).to_dict()


def _layers(job: Stages, design: Any) -> list[dict[str, Any]]:
    before, _ = job.choices.columns(job.choices.original)
    after, present = job.choices.columns(design)
    t0, t1 = job.pricing.per_row(job.choices.original), job.pricing.per_row(design)
    rows = []
    for i, name in enumerate(before.names):
        if not before.is_compute[0, i]:
            continue
        rows.append({
            "name": name, "kind": kind_of(job.graph.layers, i),
            "choice": {
                "width": int(after.c_out[0, i]) if present[0, i] else 0, "of": int(before.c_out[0, i]),
                "bits": int(after.w_bits[0, i]) if present[0, i] else 0,
                "a_bits": int(after.a_bits[0, i]) if present[0, i] else 0,
            },
            "latency_s": {"before": float(t0[i]), "after": float(t1[i])},
            "macs": {"before": int(before.macs[0, i]), "after": int(after.macs[0, i]) if present[0, i] else 0},
        })  # fmt: skip
    return rows


def _trials(
    job: Stages, sensitivity: Sensitivity, found: dict[str, Any], before: dict[str, Any]
) -> list[dict[str, Any]]:
    """Designs that were measured, and every choice taken alone with its predicted latency.

    The latter is scaled as the network as given was measured, so that both kinds stand on one axis.
    """
    scale = (before["latency_measured_s"] or before["latency_predicted_s"]) / before["latency_predicted_s"]
    trials = [
        {"strategy": job.config["strategy"], "loss": a["loss"], "latency_s": a["measured_s"], "measured": True,
         "chosen": a["design"] == found["best"]["design"]}
        for a in found["attempts"]
    ]  # fmt: skip
    original = job.choices.original
    singles, losses, kinds = [], [], []
    names = {
        WIDTH: "one group narrower", DEPTH: "one branch dropped", BITS: "one layer int8",
        W_BITS: "weights of one layer in fewer bits", A_BITS: "input of one layer in fewer bits",
    }  # fmt: skip
    for d, decision in enumerate(job.choices.space.decisions):
        for k in range(len(decision.choices) - 1):
            x = original.copy()
            x[d] = k
            singles.append(x)
            losses.append(float(sensitivity.loss[d, k]))
            kinds.append(names[decision.kind])
    if singles:
        for kind, loss, t in zip(kinds, losses, job.pricing.predict(np.array(singles)), strict=True):
            trials.append(
                {"strategy": kind, "loss": loss, "latency_s": float(t) * scale, "measured": False, "chosen": False}
            )
    return trials

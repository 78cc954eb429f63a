"""From the stages of a compression to its summary."""

from __future__ import annotations

from typing import Any

import numpy as np

from netsmith.accuracy.sensitivity import Sensitivity
from netsmith.certificates import certificate
from netsmith.export.onnx import stored_bits
from netsmith.files import read_json
from netsmith.hardware.target import limits_of, unknown_costs
from netsmith.jobs.contents import code_digest
from netsmith.jobs.integers import REASON, as_it_runs
from netsmith.jobs.memory import MEMORY_FILE
from netsmith.jobs.profile import kind_of
from netsmith.jobs.roofline import roofline
from netsmith.jobs.stages import Stages
from netsmith.jobs.tested import rows_of
from netsmith.jobs.versions import device, versions
from netsmith.network.layers import LayerTable
from netsmith.runs.names import FORMATS
from netsmith.runs.summary import kept_budgets
from netsmith.tasks.task import GUESS

RUINED = "loosen the budget, or train it for longer with --epochs"


def summarise(
    job: Stages, baseline: dict[str, Any], sensitivity: Sensitivity, found: dict[str, Any], result: dict[str, Any],
    limits: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    """The summary of a finished compression, in the schema of ``netsmith.runs.summary``."""
    design = as_it_runs(job.space, np.array(found["best"]["design"]), tuple(result["floats"]))
    task, key = job.task, job.metric.key
    doubt = _doubt(job, baseline, result[f"baseline_{key}"])
    ruined = [] if doubt[0] else task.ruined("the network that came out", {"test": result[key]}, RUINED)
    rows = job.pricing.rows(design)
    timed = "latency" in limits and not job.simulated

    energy = job.pricing.cost(job.graph.layers).energy_j is not None

    def side(of: dict[str, Any], predicted: float, size: float, joules: float | None) -> dict[str, Any]:
        keys = (key, f"search_{key}", "latency_measured_s", "macs", "params")
        costs = {"latency_predicted_s": predicted, "size_bytes": round(size), "energy_j": joules}
        return {k: of[k] for k in keys} | costs

    others = [m.key for m in task.metrics[1:]]
    before = side(
        baseline | {key: result[f"baseline_{key}"]}, job.given("latency"), job.given("size"),
        job.given("energy") if energy else None,
    )  # fmt: skip
    predicted = float(found["best"]["predicted_s"])
    if result["floats"]:  # another network than the one that was chosen
        predicted = float(job.pricing.predict(design)[0])
    after = side(
        result, predicted, result["size_bytes"],
        float(job.pricing.predict(design, "energy")[0]) if energy else None,
    )  # fmt: skip
    before |= {k: result[f"baseline_{k}"] for k in others}
    after |= {k: result[k] for k in others}
    before |= {"mean_bits": _mean_bits(job.graph.layers), "priced_bits": _priced_bits(job)}
    after["mean_bits"] = _mean_bits(rows)
    held = read_json(job.run.path(MEMORY_FILE), "repeat the run")
    for of, name in ((before, "baseline"), (after, "result")):
        of["memory_bytes"] = held[name]["peak_bytes"] if held[name] else None
    values = {
        "latency": after["latency_predicted_s"] if job.simulated else after["latency_measured_s"],
        "macs": after["macs"], "size": after["size_bytes"], "energy": after["energy_j"],
        "memory": after["memory_bytes"],
    }  # fmt: skip
    return {
        "schema": 1, "doubt": doubt[0],
        "warnings": [*doubt[1], *ruined, *unknown_costs(job.graph.layers), *job.graph.warnings],
        "baseline": before, "result": after, "budgets": kept_budgets(limits, values),
        "design": job.space.decisions.describe(design), "seed": job.config.seed,
        "frozen": job.space.frozen | dict.fromkeys(result["floats"], REASON),
        "versions": versions(), "run": str(job.run.folder), "target": job.config.target,
        "simulated": job.simulated, "target_limits": dict(limits_of(job.target)),
        "bound": found["best"]["bound"], "loss": found["best"]["loss"],
        "additivity": found["additivity"] or None, **{k: found[k] for k in ("family", "rule") if k in found},
        "layers": _layers(job, design),
        "roofline": roofline(job.target, before=job.graph.layers, after=rows),
        "certificate": certificate(
            rows_of(result["tested"]["before"]), rows_of(result["tested"]["after"]), metric=job.subject.metric
        ).to_dict(),
        "memory": held, "timing": result["timing"], "parity": result["parity"],
        "fusion": result["fusion"],
        "fidelity": [{k: a[k] for k in ("predicted_s", "measured_s")} for a in found["attempts"]] if timed else [],
        "trials": _trials(job, sensitivity, found, before, energy), "recovery": result["history"],
        f"search_{key}_untuned": result[f"search_{key}_untuned"], "task": task.describe(),
        **({"resume": "approximate"} if task.train is not None and task.train.order == "stream" else {}),
        "sensitivity": {
            "candidates": sensitivity.candidates, "seconds": sensitivity.seconds, "recomputed": sensitivity.recomputed,
        },
        "built_with": {
            **{k: list(v) if isinstance(v, tuple) else v for k, v in task.built_with.items()},
            "code": code_digest(job.subject.loaded.spec),
        },
        "exported_with": {
            "calibration": job.config.quantize.calibration, "huffman": job.config.huffman,
            "floats": job.space.has_floats, **({"reorder": True} if job.config.reorder else {}),
        },
        "model": job.subject.loaded.spec, "data": task.name, "data_note": task.note,
        "data_notes": list(task.sentences), "preprocessing": job.subject.feeding.to_dict(),
        "strategy": job.config.strategy.name, "methods": [method.name for method in job.config.methods],
        "device": device(job.target, job.config.threads),
        "files": {n: n for n in ("baseline.onnx", *FORMATS.values(), "recipe.json")},
    }  # fmt: skip


def _doubt(job: Stages, baseline: dict[str, Any], score: float) -> tuple[dict[str, Any] | None, list[str]]:
    """What speaks against the score of the network as given, on the examples of search and test, and in words."""
    found, where = baseline.get("doubt"), "search"
    if not found or found["kind"] == GUESS:  # more examples may tell
        scores = {"search": baseline[f"search_{job.metric.key}"], "test": score}
        found, where = job.task.doubt_of(scores), "search and test"
    return found, [job.task.doubted(found, where, bool(job.config.weights))] if found else []


def _mean_bits(table: LayerTable) -> dict[str, float]:
    """Bits of a weight and of a number that enters a compute layer, in the mean over all of them; table ``(L,)``."""
    entering = np.where(table.is_compute, table.c_in * table.h_in * table.w_in, 0)
    sides = {"weights": (table.w_bits, table.weights), "activations": (table.a_bits, entering)}
    return {name: float((bits * count).sum() / max(count.sum(), 1)) for name, (bits, count) in sides.items()}


def _priced_bits(job: Stages) -> list[int]:
    """(Weight, activation) widths that the network as given is priced at."""
    pairs = job.target.capabilities.bits
    return list((32, 32) if (32, 32) in pairs else pairs[0])


def _layers(job: Stages, design: Any) -> list[dict[str, Any]]:
    before, after = job.space.rows(job.space.reference), job.space.rows(design)
    present = after.calls > 0
    t0, t1 = job.pricing.per_row(job.space.reference), job.pricing.per_row(design)
    free = job.space.of_stage("numbers") & (job.space.decisions.sizes > 1)
    pinned = np.asarray(~job.space.depends()[free].any(axis=0))  # no choice of its bits
    rows = []
    for i, name in enumerate(before.names):
        if not before.is_compute[0, i]:
            continue
        bits = [int(b[0, i]) if present[0, i] else 0 for b in (after.w_bits, after.a_bits)]
        rows.append({
            "name": name, "kind": kind_of(job.graph.layers, i),
            "kernel": [int(before.kernel_h[0, i]), int(before.kernel_w[0, i])],
            "choice": {
                "width": int(after.c_out[0, i]) if present[0, i] else 0, "of": int(before.c_out[0, i]),
                "bits": bits[0], "a_bits": bits[1], "stored_bits": list(stored_bits(*bits)),
                "pinned": bool(pinned[i]),
            },
            "latency_s": {"before": float(t0[i]), "after": float(t1[i])},
            "macs": {"before": int(before.macs[0, i]), "after": int(after.macs[0, i])},
        })  # fmt: skip
    return rows


def _trials(
    job: Stages, sensitivity: Sensitivity, found: dict[str, Any], before: dict[str, Any], energy: bool
) -> list[dict[str, Any]]:
    """Designs that were tried whole, and every choice taken alone with its predicted latency.

    The latter is scaled as the network as given was measured, so that both kinds stand on one axis.

    Args:
        energy: whether the target has an energy model.
    """
    scale = (before["latency_measured_s"] or before["latency_predicted_s"]) / before["latency_predicted_s"]
    trials = [
        {"strategy": job.config.strategy.name, "loss": a["loss"], "latency_s": a["measured_s"],
         "measured": not job.simulated, "chosen": a["design"] == found["best"]["design"]}
        for a in found["attempts"]
    ]  # fmt: skip
    original = job.space.reference
    designs, losses, kinds = [a["design"] for a in found["attempts"]], [], []
    for d, decision in enumerate(job.space.decisions.decisions):
        kind, own = job.space.kind_of(d)
        for k in range(len(decision.choices) - 1):
            x = original.copy()
            x[d] = k
            designs.append(x.tolist())
            losses.append(float(sensitivity.loss[d, k]))
            kinds.append(kind.trial(own))
    every = np.array(designs)
    for name, loss, t in zip(kinds, losses, job.pricing.predict(every[len(trials) :]), strict=True):
        trials.append(
            {"strategy": name, "loss": loss, "latency_s": float(t) * scale, "measured": False, "chosen": False}
        )
    joules = job.pricing.predict(every, "energy").tolist() if energy else [None] * len(trials)
    return [trial | {"energy_j": j} for trial, j in zip(trials, joules, strict=True)]

"""From a network that a search found to a product: trained, exported, checked, measured and tested."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from netsmith.accuracy.onnx_score import onnx_score
from netsmith.export.product import COMPARED, release
from netsmith.jobs.specialization import Specialization
from netsmith.jobs.tested import tested, without_others
from netsmith.jobs.timing import UNTIMED, final_timing
from netsmith.network.graph import trace
from netsmith.network.load import load_model
from netsmith.network.weights import load_weights, save_weights
from netsmith.network.zoo.blueprint import blueprint_of
from netsmith.progress import training_events
from netsmith.systems.oneshot import shuffled
from netsmith.systems.registry import SYSTEMS
from netsmith.training import Checkpoints, Training, fit, reestimate_batch_norm

TRAIN_LR, TRAIN_DECAY = 0.1, 5e-4  #: of a network from scratch, as `netsmith train` has them
INHERIT_LR = 0.03


def trained(job: Specialization, system: str, found: dict[str, Any]) -> dict[str, Any]:
    """The weights of a system's network, in its file: from scratch, or from those that it had among all paths."""
    name = f"train-{_stage(system, found)}"
    return dict(job.shared.stage(name, lambda: _train(job, system, found), together=True))


def _train(job: Specialization, system: str, found: dict[str, Any]) -> dict[str, Any]:
    start, blueprint = time.perf_counter(), blueprint_of(found["description"])
    searched = SYSTEMS[system].trains
    if inherit := job.config.training.inherit and found["design"] is not None and searched:
        model = job.family.build(np.array(found["design"]), job.network(system))
        reestimate_batch_norm(model, shuffled(job.task.search))
    else:
        model = load_model(blueprint.build, seed=job.config.seed).model
    history: list[Any] = []
    if job.epochs["train"]:
        job.announce("train", system)
        rate = job.config.training.lr or (INHERIT_LR if inherit else TRAIN_LR)
        result = fit(
            model, job.task,
            Training(
                epochs=job.epochs["train"], lr=rate, weight_decay=TRAIN_DECAY,
                batch_size=job.config.training.batch_size, seed=job.config.seed,
            ),
            teacher=job.teacher, progress=training_events(job.progress), workers=job.shared.workers,
            checkpoints=Checkpoints(job.checkpoints(system) / f"{blueprint.key}.safetensors"),
        )  # fmt: skip
        history = [json.loads(json.dumps(h, default=vars)) for h in result.history]
    if job.shared.workers.is_first:
        job.checkpoints(system, alone=True)
        save_weights(job.run.place(_weights(system, found)), model.state_dict())
    return {"history": history, "seconds": time.perf_counter() - start}


def built(job: Specialization, system: str, found: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
    """The network of a system: trained, exported, checked and measured."""
    return dict(job.shared.stage(f"build-{_stage(system, found)}", lambda: _build(job, system, found, baseline)))


def _build(job: Specialization, system: str, found: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
    own = system == job.config.search.system
    where = _where(job, system)
    blueprint = blueprint_of(found["description"])
    model = blueprint.build()
    load_weights(model, job.run.path(_weights(system, found)))
    model.eval()
    job.announce("export", system)
    graph = trace(model, blueprint.input_shape)
    images = next(job.task.search.batches(COMPARED))
    product = release(
        graph, job.run, job.data.feeding, images, model=model, metadata=job.data.metadata, where=where
    )  # fmt: skip
    job.run.write_text(f"{where}network.json", blueprint.to_json())
    if own:
        tables = {"baseline": job.reference, "result": graph.layers}
        job.run.write_json("layers.json", {k: t.to_dict() for k, t in tables.items()})
    figures = product.figures | UNTIMED
    if not job.simulated:
        job.announce("measure", system)
        figures |= final_timing(job.run, product, baseline, job.config.threads)
    costs = {name: job.pricing.total(graph.layers, name) for name in job.costs}
    return figures | {
        "search_accuracy": onnx_score(product.files["onnx"], job.task, job.task.search, graph),
        "latency_predicted_s": costs["latency"] * job.correction, "energy_j": costs.get("energy"),
    }  # fmt: skip


def scored(
    job: Specialization, found: Mapping[str, Mapping[str, Any]], announce: bool = True
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Each system's network on the test split, looked at once, when every choice is made; see :func:`tested`."""

    def all_of_them() -> dict[str, dict[str, Any]]:
        if announce:
            job.progress.stage("test")
        paths = {system: job.run.path(f"{_where(job, system)}model.onnx") for system in found}
        return {s: without_others(tested(p, job.task, job.task.test)) for s, p in paths.items()}

    networks = {s: f["description"] for s, f in found.items()}
    return dict(job.shared.stage("test", all_of_them, networks))


def _where(job: Specialization, system: str) -> str:
    return "" if system == job.config.search.system else f"compared/{system}/"


def _weights(system: str, found: Mapping[str, Any]) -> str:
    """Weights as they were trained; the network that is kept has them in ``model.safetensors`` as well."""
    return f"checkpoints/{system}/trained-{_stage(system, found)}.safetensors"


def _stage(system: str, found: Mapping[str, Any]) -> str:
    """What tells the stages of one network of a system from those of another."""
    return f"{system}-{blueprint_of(found['description']).key}"

"""From a design space to a network for one data set and one piece of hardware."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from netsmith.data import data_for, describe
from netsmith.errors import InputError, NetsmithError, did_you_mean
from netsmith.hardware.target import get_target
from netsmith.jobs.contents import target_contents
from netsmith.jobs.device_loop import within_aims
from netsmith.jobs.doubt import trained_guess
from netsmith.jobs.finishing import built, tested, trained
from netsmith.jobs.plans import of_specialization
from netsmith.jobs.result import Result
from netsmith.jobs.specialization import SEARCHED, SYSTEMS, Specialization
from netsmith.jobs.subject import named
from netsmith.jobs.together import RunTogether
from netsmith.jobs.versions import device, versions
from netsmith.network.weights import read_metadata
from netsmith.progress import Progress, Silent
from netsmith.runs.names import FORMATS, RECORDED
from netsmith.runs.summary import kept_budgets
from netsmith.supernets.gates import MODES
from netsmith.supernets.objective import FORMS
from netsmith.supernets.space import BlockSpace, load_space
from netsmith.training.schedule import check_training
from netsmith.training.workers import Workers
from netsmith.units import read_budgets


def specialize(
    space: str | BlockSpace, data: Any, *, target: str = "cpu", latency: str | None = None, energy: str | None = None,
    size: str | None = None, macs: str | None = None, system: str = "proxylessnas", compare: Sequence[str] = (),
    search_epochs: int | None = None, warmup_epochs: int | None = None, warmup_from: str | None = None,
    epochs: int | None = None, lr: float | None = None, inherit: bool = False, teacher: str | None = None,
    teacher_weights: str | None = None, loss: str = "constrained", weight: float = 0.1, mode: str = "recompute",
    every: int = 5, evaluations: int = 300, batch_size: int = 128, width: float = 1.0, batch: int = 1,
    out: str | Path = "runs/specialize", resume: bool = False, seed: int = 0, threads: int = 1,
    mean: Sequence[float] | None = None, std: Sequence[float] | None = None, image_size: int | None = None,
    label_column: str | None = None, classes: str | Path | Sequence[str] | None = None,
    pixel_range: Sequence[float] | None = None, search_size: int | None = None, train_limit: int | None = None,
    progress: Progress | None = None, watch: Callable[[Path], Any] | None = None,
) -> Result:  # fmt: skip
    """Find a network of a space that keeps budgets on a target, train it, and measure it.

    Args:
        space: name or TOML file of a space, or a space.
        data: ``digits``, a Hugging Face name, a local folder, or data in memory (see ``netsmith.data.load_data``), with
            a train split.
        target: hardware; its measured or modelled costs drive the search.
        latency, energy, size, macs: budgets, absolute (``3ms``) or relative to the space's reference network, every
            block of which is MobileNetV2's (``0.5x``).
        system: ``proxylessnas`` (gradients), ``proxylessnas-r`` (REINFORCE), ``oneshot`` (uniform paths, then
            evolution), ``random`` (a random network that fills the budgets) or ``multiplier`` (the reference network,
            narrower).
        compare: systems to run as well and to train alike.
        search_epochs, warmup_epochs: of the network of all paths; None chooses by the size of the train split.
        warmup_from: folder of a run with the same space, data, seed and settings of training, whose warm-up is used: it
            depends on no target and no budget.
        epochs: of training the network that was found; 0 leaves it as it is.
        lr: peak learning rate of that.
        inherit: start from the weights that the network had among all paths.
        teacher, teacher_weights: MODEL to distil from.
        loss: ``constrained``, ``additive`` or ``multiplicative``; see ``netsmith.supernets.objective``.
        weight: of the cost, in ``additive``.
        mode: of the gates' gradients: ``recompute``, ``full`` or ``two``.
        every: steps of the weights for one of the probabilities.
        evaluations: networks that are run with the weights of the search, on the search split, to choose among those
            that fill the budgets; 0 takes the most probable network as it is.
        batch_size: images of a training step.
        width: multiplier of all channels of the space.
        batch: samples at a time that the target runs, where it is modelled.
        classes: names in the order of the network's outputs, or a file of them; see ``netsmith.data.load_data``.
        pixel_range: values that become 0 and 255 in images of more than 8 bits; likewise.
        threads: threads that the network is measured with.
        watch: called with the run folder whenever ``search.json`` there was renewed, every few seconds of a search.

    Returns:
        The network and its figures; see :class:`netsmith.jobs.result.Result`.

    Raises:
        InputError: input that cannot be used.
        InfeasibleError: a budget that no network of the space meets.
    """
    progress = progress or Silent()
    texts = {"latency": latency, "energy": energy, "size": size, "macs": macs}
    budgets = read_budgets(**texts)
    systems = _systems(system, compare)
    if evaluations < 1 and "oneshot" in systems:
        raise InputError("oneshot chooses by running networks; give --evaluations 1 or more")
    check_training(lr=lr, seed=seed)
    _among("--mode", mode, MODES)
    _among("--loss", loss, FORMS)
    device = get_target(target, threads=threads) if target == "cpu" else get_target(target)
    if not device.capabilities.by_row:
        raise InputError(f"{target} has times of whole blocks; specialize with times of single layers")
    if batch > 1 and device.capabilities.runs_here:
        raise InputError(f"{target} is measured at batch 1; drop --batch")
    loaded = space if isinstance(space, BlockSpace) else load_space(space)
    config: dict[str, Any] = {
        "job": "specialize", "space": loaded.name if isinstance(space, BlockSpace) else space, "data": describe(data),
        "target": target, **texts, "system": system, "compare": list(systems[1:]), "search_epochs": search_epochs,
        "warmup_epochs": warmup_epochs,
        "warmup_from": str(warmup_from) if warmup_from else None, "epochs": epochs, "lr": lr, "inherit": inherit,
        "teacher": teacher,
        "teacher_weights": str(teacher_weights) if teacher_weights else None, "loss": loss, "weight": weight,
        "mode": mode, "every": every, "evaluations": evaluations, "batch_size": batch_size, "width": width,
        "batch": batch, "seed": seed, "threads": threads, "mean": list(mean) if mean else None,
        "std": list(std) if std else None, "image_size": image_size, "label_column": label_column,
        "classes": named(classes), "pixel_range": list(pixel_range) if pixel_range else None,
        "search_size": search_size, "train_limit": train_limit,
    }  # fmt: skip
    workers = Workers.from_environment()
    progress = progress if workers.is_first else Silent()
    with RunTogether(out, config, resume, workers) as shared:
        run = shared.run
        progress = run.logged(progress)
        progress.stage("load")
        try:
            header = read_metadata(teacher_weights) if teacher_weights else {}
            images = shared.in_turn(lambda: data_for(
                data, header, seed=seed, search_size=search_size, label_column=label_column, image_size=image_size,
                mean=mean, std=std, train_limit=train_limit, classes=classes, pixel_range=pixel_range,
                record=shared.folder / RECORDED, report=progress.update,
            ))  # fmt: skip
            images.need_train()
            _, height, side = images.input_shape
            if height != side:
                raise InputError(f"the images are {height}x{side}; spaces are for square ones: give --image-size")
            own = loaded.resized(side)
            own = own.scaled(width) if width != 1.0 else own
            job = Specialization(shared, own, images, device, config, progress, watch)
            run.pin(job.contents | target_contents(target) | job.teacher_contents())
            job.check()
        except InputError:
            run.discard()  # nothing was done yet: the corrected command may use the folder
            raise
        summary = run.finish(_stages(job, budgets, systems))
        progress.close()
        return Result.of_run(shared.folder, summary)


def _stages(job: Specialization, budgets: dict[str, Any], systems: tuple[str, ...]) -> dict[str, Any]:
    """Every stage in order; those that a killed run had finished come from its folder."""
    job.progress.plan("specialize", of_specialization(job, systems, SEARCHED))
    job.first_screen()
    baseline = job.baseline()
    job.priced(baseline, budgets)
    done: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for system in systems:
        try:
            done[system] = _one(job, system, baseline)
        except NetsmithError as error:
            if system == systems[0]:
                raise
            job.progress.note(f"  {system}: {error}")
    return _summary(job, baseline, done, tested(job, {system: found for system, (found, _) in done.items()}))


def _one(job: Specialization, system: str, baseline: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    def once(_: int, aim: float) -> tuple[dict[str, Any], dict[str, Any]]:
        found = job.found(system, baseline, aim)
        return found, trained(job, system, found) | built(job, system, found, baseline)

    return within_aims(job.limits, once, job.progress.note)


def _summary(
    job: Specialization, baseline: dict[str, Any], done: dict[str, tuple[dict[str, Any], dict[str, Any]]],
    accuracy: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    """The summary of a finished specialization, in the schema of ``netsmith.runs.summary``."""
    own = job.config["system"]
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
        "schema": 1, "warnings": trained_guess({"test": accuracy[own]}, job.data), "baseline": before, "result": after,
        "frozen": {}, "seed": job.config["seed"],
        "budgets": kept_budgets(job.limits, values),
        "design": job.space.decisions.describe(design) if design is not None else {}, "versions": versions(),
        "run": str(job.run.folder), "target": job.config["target"], "simulated": job.simulated,
        "model": f"{job.space.name} ({own})", "data": job.data.name, "data_note": job.data.note,
        "data_notes": list(job.data.sentences), "preprocessing": job.data.feeding.to_dict(), "strategy": own,
        "timing": result["timing"], "parity": result["parity"], "recovery": result["history"],
        "fidelity": found["tried"],
        "device": device(job.target, job.config["threads"]), "specialization": _specialization(job, done, accuracy),
        "files": {n: n for n in (*FORMATS.values(), "network.json")},
    }  # fmt: skip


def _specialization(
    job: Specialization, done: dict[str, tuple[dict[str, Any], dict[str, Any]]], accuracy: dict[str, float]
) -> dict[str, Any]:
    """How the search went and what each system came to."""
    rows = []
    for system, (found, result) in done.items():
        design = found["design"]
        searched = job.searched(system) if system.startswith(SEARCHED) else {"seconds": 0.0}
        figures = {k: result[k] for k in ("latency_measured_s", "latency_predicted_s", "macs", "params")}
        rows.append({
            "system": system, "label": system, "accuracy": accuracy[system], **figures,
            "energy_j": result["energy_j"], "train_seconds": result["seconds"], "search_seconds": searched["seconds"],
            "blocks": list(job.space.chosen(design)) if design is not None else None,
        })  # fmt: skip
    own = job.config["system"]
    design = done[own][0]["design"]
    chosen = job.space.chosen(design if design is not None else job.space.reference)
    if own.startswith(SEARCHED):
        job.course.history = job.searched(own)["history"]
    seconds = {k: rows[0][k] for k in ("search_seconds", "train_seconds")}
    return job.course.summary("done", chosen) | seconds | {"compared": rows}


def _systems(system: str, compare: Sequence[str]) -> tuple[str, ...]:
    for name in (system, *compare):
        _among("--system" if name == system else "--compare", name, SYSTEMS)
    return tuple(dict.fromkeys((system, *compare)))


def _among(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        hint = did_you_mean(value, list(known))
        raise InputError(f"{option}: unknown {value!r}{hint}; known: {', '.join(known)}")

"""The main job: a trained network is made to fit its budgets on a target, and the claim is measured."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from netsmith.accuracy.sensitivity import MEASURES
from netsmith.compression.calibrate import METHODS as CALIBRATIONS
from netsmith.compression.choices import WIDTHS
from netsmith.compression.importance import CRITERIA
from netsmith.data import describe
from netsmith.errors import InputError, did_you_mean
from netsmith.hardware.target import get_target, need_known
from netsmith.jobs.contents import contents_of, data_contents, target_contents
from netsmith.jobs.device_loop import within_aims
from netsmith.jobs.episodes import check_episodes
from netsmith.jobs.outcome import summarise
from netsmith.jobs.proposals import TRIMMING
from netsmith.jobs.result import Result
from netsmith.jobs.stages import Stages
from netsmith.jobs.subject import load_subject, named
from netsmith.jobs.trimming import check_trimming
from netsmith.progress import Progress, Silent
from netsmith.runs.folder import Run
from netsmith.runs.names import RECORDED
from netsmith.search.registry import strategy_names
from netsmith.training.schedule import check_training
from netsmith.units import Budget, read_budgets

METHODS = ("prune", "quantize", "share")


def compress(
    model: Any, data: Any, *, target: str = "cpu", latency: str | None = None, energy: str | None = None,
    size: str | None = None, macs: str | None = None, methods: str | Sequence[str] = "prune,quantize",
    strategy: str = "exact", weights: str | None = None, out: str | Path = "runs/compress", resume: bool = False,
    epochs: int | None = None, lr: float | None = None, seed: int = 0, importance: str = "l2", calibration: str = "mse",
    search_size: int | None = None, mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
    image_size: int | None = None, label_column: str | None = None, classes: str | Path | Sequence[str] | None = None,
    pixel_range: Sequence[float] | None = None, train_limit: int | None = None, threads: int = 1,
    least_bits: int | None = None, evaluations: int | None = None, sensitivity: str = "loss", huffman: bool = False,
    episode_images: int = 0, reconstruct: bool = True, widths: int = WIDTHS,
    progress: Progress | None = None, job: str = "compress",
) -> Result:  # fmt: skip
    """Make a trained network keep budgets on a target.

    Args:
        model: MODEL (``zoo:NAME``, ``file.py:callable``, ...) or a module.
        data: ``digits``, a Hugging Face name, a local folder, or data in memory; see ``netsmith.data.load_data``.
        target: hardware; its measured or modelled latency drives the search.
        latency, energy, size, macs: budgets, absolute (``3ms``) or relative (``0.5x``).
        methods: which of ``prune`` (channels and branches) and ``quantize`` (integers) may be used; or ``share``,
            weights as indices into codebooks, which saves bytes and no time.
        strategy: search strategy, ``exact`` by default.
        weights: trained weights.
        out: run folder.
        resume: go on with a run that was interrupted.
        classes: names in the order of the network's outputs, or a file of them; see ``netsmith.data.load_data``.
        pixel_range: values that become 0 and 255 in images of more than 8 bits; likewise.
        epochs: fine-tuning after pruning; None chooses by the size of the train split, 0 skips it.
        lr: peak learning rate of fine-tuning; None chooses by what is trained.
        importance: which channels go: ``l1``, ``l2``, ``taylor``, ``fpgm``, ``bn`` or ``reconstruction``.
        calibration: ``minmax``, ``percentile``, ``mse`` or ``entropy``.
        threads: threads that the deployed network runs on.
        least_bits: fewest bits of a layer, on targets with a choice (default 2) and of shared weights (default 1).
        evaluations: designs that the strategy runs on the search split; None chooses by the strategy, 0 goes by summed
            sensitivities alone.
        sensitivity: what a choice is taken to lose: ``loss``, ``output``, ``fisher`` or ``hessian``.
        episode_images: images of the train split on which each evaluated design is trained first, as in HAQ; with the
            strategies ``netadapt`` and ``compactnet`` from the weights of the winner before it.
        reconstruct: give layers that read pruned channels the weights that make up for them by least squares.
        widths: most channel counts of a group to choose from; more are finer, and take longer to measure.
        job: which command it is, for ``config.json``: runs of ``demo`` may be replaced by another demonstration.
        huffman: code the weights of ``model.nsw``; the search goes by the size without, which it never exceeds.

    Returns:
        The network and its figures; see :class:`netsmith.jobs.result.Result`.

    Raises:
        InputError: input that cannot be used.
        InfeasibleError: a budget that no design meets; ``reachable`` has the smallest values.
    """
    progress = progress or Silent()
    budgets = read_budgets(latency=latency, energy=energy, size=size, macs=macs)
    wanted = _methods(methods)
    _check_share(wanted, budgets)
    check_training(lr=lr, seed=seed)
    for option, value, known in (
        ("strategy", strategy, strategy_names()), ("importance", importance, CRITERIA),
        ("sensitivity", sensitivity, MEASURES), ("calibration", calibration, CALIBRATIONS),
    ):  # fmt: skip
        if value not in known:  # before there is a run folder, which the corrected command could not use
            hint = did_you_mean(value, list(known))
            raise InputError(f"--{option}: unknown {option} {value!r}{hint}; known: {', '.join(known)}")
    check_trimming(strategy, wanted, evaluations, episode_images, importance)
    least = (1 if "share" in wanted else 2) if least_bits is None else least_bits
    device = get_target(target, threads=threads) if target == "cpu" else get_target(target)
    if not device.capabilities.by_row:
        raise InputError(
            f"{target} has times of whole blocks, which a search cannot take apart: price finished networks with it "
            "(profile, compare --targets), and compress with times of single layers, whose files "
            "`netsmith targets measure MODEL --space --write FOLDER` writes"
        )
    config = {
        "job": job, "model": model if isinstance(model, str) else type(model).__name__, "data": describe(data),
        "target": target, "latency": latency, "energy": energy, "size": size, "macs": macs, "methods": list(wanted),
        "strategy": strategy, "weights": str(weights) if weights else None, "epochs": epochs, "lr": lr,
        "seed": seed, "importance": importance, "calibration": calibration, "search_size": search_size,
        "mean": list(mean) if mean else None, "std": list(std) if std else None, "image_size": image_size,
        "label_column": label_column, "classes": named(classes),
        "pixel_range": list(pixel_range) if pixel_range else None, "train_limit": train_limit, "threads": threads,
        "least_bits": least, "evaluations": evaluations, "sensitivity": sensitivity, "huffman": huffman,
        "episode_images": episode_images, "reconstruct": reconstruct, "widths": widths,
    }  # fmt: skip
    with Run.start(out, config, resume=resume) as run:
        progress = run.logged(progress)
        progress.stage("load")
        try:
            subject = load_subject(
                model, data, device, weights=weights, methods=wanted, seed=seed, search_size=search_size, mean=mean,
                std=std, image_size=image_size, label_column=label_column, classes=classes, pixel_range=pixel_range,
                train_limit=train_limit,
                least_bits=least, widths=widths, record=run.path(RECORDED), report=progress.update,
            )  # fmt: skip
            need_known(budgets, device, subject.graph.layers)
            if not len(subject.choices.space):
                reasons = "; ".join(f"{layer}: {reason}" for layer, reason in list(subject.frozen.items())[:3])
                reasons = reasons or f"no convolution or linear module of it has a choice on {target}"
                raise InputError(f"--methods {','.join(wanted)} can change nothing of this network ({reasons})")
            run.pin(
                contents_of(subject.loaded, model, weights, subject.graph.module.graph)
                | data_contents(subject.data) | target_contents(target)
            )  # fmt: skip
            if episode_images:
                subject.data.need_train()
                if strategy not in TRIMMING:
                    check_episodes(subject.choices)
        except InputError:
            run.discard()  # nothing was done yet: the corrected command may use the folder
            raise
        summary = run.finish(_stages(Stages(run, subject, device, config, progress), budgets))
        progress.close()
        return Result.of_run(run.folder, summary, subject.loaded.factory, subject.kept_images())


def _stages(job: Stages, budgets: dict[str, Budget]) -> dict[str, Any]:
    """Every stage in order; those that a killed run had finished come from its folder."""
    job.first_screen()
    baseline = job.baseline()
    job.say_doubt(baseline)
    job.prepare_target()
    limits = {name: job.limit(budget, baseline) for name, budget in budgets.items()}
    job.say_limits(limits, baseline)
    sensitivity = job.sensitivity()

    def once(attempt: int, aim: float) -> tuple[dict[str, Any], dict[str, Any]]:
        found = job.search(attempt, sensitivity, limits, baseline, aim)
        return found, job.build(attempt, found, baseline)

    found, result = within_aims(limits, once, job.progress.note)
    return summarise(job, baseline, sensitivity, found, result | job.test(), limits)


def _methods(methods: str | Sequence[str]) -> tuple[str, ...]:
    names = [m.strip() for m in methods.split(",")] if isinstance(methods, str) else list(methods)
    for name in names:
        if name not in METHODS:
            hint = did_you_mean(name, list(METHODS))
            raise InputError(f"--methods: unknown method {name!r}{hint}; known: {', '.join(METHODS)}")
    if not names:
        raise InputError(f"--methods is empty; give at least one of {', '.join(METHODS)}")
    return tuple(dict.fromkeys(names))


def _check_share(methods: Sequence[str], budgets: Collection[str]) -> None:
    """Sharing weights saves bytes on disk and nothing else."""
    if "share" not in methods:
        return
    if "quantize" in methods:
        raise InputError(
            "--methods share and quantize exclude each other: a weight is an index or an integer; drop one"
        )
    if "size" not in budgets:
        raise InputError("--methods share saves bytes and no time or energy: give a budget of them with --size")
    others = [name for name in budgets if name != "size"]
    if others and "prune" not in methods:
        raise InputError(f"--methods share does not change {others[0]}: drop --{others[0]}, or add prune to --methods")

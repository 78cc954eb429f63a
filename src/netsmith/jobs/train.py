"""A baseline: train a network from scratch or fine-tune it, and write its weights with how they were made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsmith import locks
from netsmith.errors import InputError
from netsmith.files import check_place, to_json, to_path, written_for
from netsmith.jobs.assembly import assemble, takes
from netsmith.jobs.config import TrainConfig, check_call
from netsmith.jobs.plans import of_training
from netsmith.jobs.result import Result
from netsmith.network.tensorfile import metadata_of, serialised
from netsmith.progress import Progress, progress_of, training_events

if TYPE_CHECKING:
    from torch import nn

    from netsmith.network.load import LoadedModel
    from netsmith.tasks.task import Task


ADAM = 1 / 30  #: of the rates of SGD, those of AdamW
RETRAIN = "train for more epochs, with another --lr, or check the data"


@takes(TrainConfig)
def train(
    model: str | nn.Module | Callable[[], nn.Module],
    data: Any,
    *,
    out: str | Path,
    resume: bool = True,
    progress: Progress | None = None,
    job: str = "train",
    **options: Any,
) -> Result:
    """Train or fine-tune a network and write ``out`` (safetensors, with metadata).

    A checkpoint lies beside ``out`` while training runs; a killed training goes on from it and ends with the same
    weights.

    Args:
        model: MODEL, a module (which is copied and left as it is) or a function that returns one.
        data: see ``netsmith.data.load_data``, data in memory among it; or loaded data.
        out: ``.safetensors`` file to write.
        resume: go on from the checkpoint beside ``out``, if there is one.
        progress: told its plan, stages and sentences.
        job: which command it is, for the file's metadata; only what the same one wrote is replaced.
        options: every other option of the command, by its name (``epochs=3``); see
            :class:`netsmith.jobs.config.TrainConfig` and ``docs/options.md``.

    Returns:
        The network; its ``summary`` has the score (``accuracy``) on search and test, ``before`` and ``after``, what
        was trained, on what, and where it is.

    Raises:
        InputError: see ``load_model``, ``load_data`` and ``fit``; or ``out`` cannot be written, would replace what is
            not of this job, or is being written by another process.
    """
    from netsmith.jobs.contents import contents_of, task_contents
    from netsmith.network.checkpoint import split_key
    from netsmith.training import Checkpoints, Training, evaluate, fit

    config, out = assemble(TrainConfig, {"model": model, "data": data} | options), to_path(out)
    check_call(resume, job)
    progress = progress_of(progress)
    if out.suffix != ".safetensors":
        raise InputError(f"--out {out} must end in .safetensors")
    files = {"--weights": config.weights, "--teacher-weights": config.teacher_weights}
    read = {option: split_key(file)[0] for option, file in files.items() if file is not None}
    with reserved(out, job, read) as (checkpoint, record):
        if not (resume and checkpoint.exists()):
            record.unlink(missing_ok=True)  # of another training, with other data perhaps
        say = progress.note
        progress.stage("load")
        loaded, task = _load(config, say, record)
        progress.plan("train", of_training(task, config.epochs, scored=config.weights is not None))
        network, metric = loaded.model, task.metric

        def score() -> dict[str, float]:
            return {
                name: evaluate(network, task, part).score
                for name, part in (("search", task.search), ("test", task.test))
            }

        def shown(scores: dict[str, float]) -> str:
            return ", ".join(f"{name} {metric.shown(value)}" for name, value in scores.items())

        before = None
        if config.weights is not None:
            progress.stage("score as loaded")
            before = score()
            say(f"as loaded: {shown(before)}")
            if found := task.doubt_of(before):
                say(f"warning: {task.doubted(found, 'search and test', weights=True)}")
        contents = contents_of(loaded, model, config.weights) | task_contents(task)
        taught, teacher = None, None
        if config.teacher is not None:
            known = _teacher(config, task, say)
            taught, teacher = known.model, known.spec
            contents |= contents_of(known, config.teacher, config.teacher_weights, who="teacher")
        optimizer = config.optimizer or task.optimizer
        peak, decay = _rates(config, optimizer)
        progress.stage("train")
        start = time.perf_counter()
        result = fit(
            network, task,
            Training(
                epochs=config.epochs, lr=peak, batch_size=config.batch_size, weight_decay=decay,
                schedule=config.schedule, alpha=config.alpha, temperature=config.temperature,
                label_smoothing=config.label_smoothing, augment="auto" if config.augment else None, seed=config.seed,
                bf16="auto" if config.bf16 == "auto" else config.bf16 == "on", patience=config.patience,
                optimizer=optimizer,
            ),
            teacher=taught, progress=training_events(progress),
            checkpoints=Checkpoints(
                checkpoint, resume=resume, contents=contents,
                tag=f"{loaded.spec} from {config.weights}, teacher {teacher} from {config.teacher_weights}",
            ),
        )  # fmt: skip
        progress.stage("score")
        after = score()
        say(f"trained: {shown(after)}")
        summary: dict[str, Any] = {
            "model": loaded.spec, "weights": config.weights, "data": task.name,
            "out": str(out), metric.key: {"before": before, "after": after}, "epochs": result.epochs_run,
            "best_epoch": result.best_epoch, "seconds": time.perf_counter() - start, "bf16": result.bf16,
            "data_notes": [task.note, *task.sentences],
            "warnings": task.ruined("after training the network", after, RETRAIN),
            "rows": {"train": len(task.need_train()), "search": len(task.search), "test": len(task.test)},
            "task": task.describe(),
            "recipe": {
                "optimizer": "AdamW" if optimizer == "adamw" else "SGD, momentum 0.9, Nesterov", "lr": peak,
                "weight_decay": decay,
                "schedule": config.schedule, "batch_size": config.batch_size, "epochs": config.epochs,
                "seed": config.seed, "augment": config.augment, "teacher": teacher,
            },
            "history": result.history, "messages": result.messages,
        }  # fmt: skip
        _write(network.state_dict(), _metadata(loaded.metadata, task, summary, job), out)
        for path in (checkpoint, record):
            path.unlink(missing_ok=True)  # only after the weights are safe
        progress.close()
        return Result(
            json.loads(to_json(summary)), out.parent.absolute(), {"safetensors": out.absolute()}, loaded.factory
        )


def _load(config: TrainConfig, say: Callable[[str], None], record: Path) -> tuple[LoadedModel, Task]:
    """The network and its task as it expects it, checked to fit each other."""
    from netsmith.jobs.subject import checked
    from netsmith.network.load import load_model
    from netsmith.network.weights import read_metadata
    from netsmith.tasks.registry import load_task

    headers = [read_metadata(file) if file else {} for file in (config.teacher_weights, config.weights)]
    header = headers[0] | headers[1]
    task = load_task(
        config.task, config.data, header, seed=config.seed, options=config.images.for_task(), record=record
    )
    say(
        f"data {task.name}: {len(task.need_train())} train, {len(task.search)} search, {len(task.test)} test "
        f"{task.each}"
    )
    built = task.built_with if config.weights else task.made_with
    loaded = load_model(config.model, weights=config.weights, **built)
    for note in loaded.notes:
        say(note)
    task = task.for_weights(loaded.metadata, given=config.images.mean is not None).for_network(loaded.model)
    for sentence in task.sentences:
        say(sentence)
    checked(loaded, task)
    return loaded, task


def _teacher(config: TrainConfig, task: Task, say: Callable[[str], None]) -> LoadedModel:
    """The network to distil from, which must return what the task reads as well."""
    from netsmith.jobs.subject import checked
    from netsmith.network.load import load_model

    known = load_model(config.teacher, weights=config.teacher_weights, **task.built_with)
    for note in known.notes:
        say(note)
    checked(known, task)
    return known


def _rates(config: TrainConfig, optimizer: str) -> tuple[float, float]:
    """Peak learning rate and weight decay: as asked for, or smaller ones where weights are there already."""
    lr, decay = (0.02, 1e-4) if config.weights is not None else (0.1, 5e-4)
    lr = lr * ADAM if optimizer == "adamw" else lr
    return (
        config.lr if config.lr is not None else lr, config.weight_decay if config.weight_decay is not None else decay
    )  # fmt: skip


@contextmanager
def reserved(out: Path, job: str, read: Mapping[str, Path]) -> Iterator[tuple[Path, Path]]:
    """The checkpoint and the recorded data beside ``out``, for this process alone; found out before anything is loaded.

    Raises:
        InputError: one of the two cannot be written, is not of such a training, is among the files that are ``read``
            (by option), or is being written by another process.
    """
    checkpoint = out.with_name(f"{out.stem}.checkpoint.safetensors")
    check_place(out, own=lambda path: is_trained(path, job), what=f"what netsmith {job} wrote", inputs=read)
    place = f"the checkpoint of --out {out},"
    check_place(checkpoint, place, own=_is_checkpoint, what="the checkpoint of a training", inputs=read)
    record = out.with_name(f"{out.stem}.recorded.safetensors")
    place = f"the recorded data of --out {out},"
    check_place(record, place, own=_is_record, what="what a training recorded", inputs=read)
    lock = out.with_name(f".{out.name}.lock")
    out.parent.mkdir(parents=True, exist_ok=True)
    handle = locks.acquire(lock, out)
    try:
        for path in out.parent.glob(".*.tmp"):  # of an earlier training that was killed while it wrote
            if written_for(path) in (out.name, checkpoint.name, record.name):
                path.unlink(missing_ok=True)
        yield checkpoint, record
    finally:
        locks.release(handle, remove=lock)


def _is_checkpoint(path: Path) -> bool:
    from netsmith.training.checkpoint import is_checkpoint

    return is_checkpoint(path)


def _is_record(path: Path) -> bool:
    from netsmith.data.recorded import is_record

    return is_record(path)


def is_trained(path: Path, job: str = "train") -> bool:
    """Whether a file has the weights that ``job`` trained."""
    metadata = metadata_of(path)
    return "made_by" in metadata and metadata.get("job", "train") == job


def _metadata(source: dict[str, str], task: Task, summary: dict[str, Any], job: str) -> dict[str, str]:
    """What a reader of the file needs: input, classes, accuracy and provenance; the source's licence stays.

    Nothing of it differs where the same is trained again.
    """
    key = task.metric.key
    left = (key, "history", "messages", "out", "seconds", "data_notes", "warnings", "task")
    made = {k: v for k, v in summary.items() if k not in left}
    kept = {k: source[k] for k in ("license", "source", "architecture") if k in source}
    return (
        kept
        | {"format": "pt"}
        | task.metadata
        | {key: json.dumps(summary[key]), "made_by": json.dumps(made), "job": job}
    )


def _write(state: dict[str, Any], metadata: dict[str, str], out: Path) -> None:
    from netsmith.files import write_atomic

    write_atomic(out, serialised({k: v.detach().clone().contiguous() for k, v in state.items()}, metadata))

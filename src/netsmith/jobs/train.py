"""A baseline: train a network from scratch or fine-tune it, and write its weights with how they were made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from netsmith import locks
from netsmith.errors import InputError
from netsmith.files import check_place, to_json, written_for
from netsmith.jobs.result import Result
from netsmith.network.tensorfile import metadata_of, serialised

if TYPE_CHECKING:
    from torch import nn

    from netsmith.data import Data
    from netsmith.training import Progress


def train(
    model_spec: str | nn.Module | Callable[[], nn.Module],
    data_spec: Any,
    *,
    out: str | Path,
    epochs: int = 10,
    weights: str | Path | None = None,
    lr: float | None = None,
    batch_size: int = 128,
    weight_decay: float | None = None,
    schedule: str = "one-cycle",
    teacher: str | nn.Module | Callable[[], nn.Module] | None = None,
    teacher_weights: str | Path | None = None,
    alpha: float = 0.5,
    temperature: float = 4.0,
    label_smoothing: float = 0.0,
    augment: bool = True,
    seed: int = 0,
    bf16: bool | Literal["auto"] = "auto",
    patience: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    image_size: int | None = None,
    label_column: str | None = None,
    classes: str | Path | Sequence[str] | None = None,
    pixel_range: Sequence[float] | None = None,
    search_size: int | None = None,
    train_limit: int | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
    job: str = "train",
) -> Result:
    """Train or fine-tune a network and write ``out`` (safetensors, with metadata).

    A checkpoint lies beside ``out`` while training runs; a killed training goes on from it and ends with the same
    weights.

    Args:
        model_spec: MODEL, a module (which is copied and left as it is) or a function that returns one.
        data_spec: see ``netsmith.data.load_data``, data in memory among it; or loaded data.
        out: ``.safetensors`` file to write.
        epochs: passes over the train split.
        weights: to start from; without, training starts from scratch.
        lr: peak learning rate; default 0.02 with ``weights``, 0.1 without.
        weight_decay: default 1e-4 with ``weights``, 5e-4 without.
        teacher: spec of a network to distil from (it must take the same input), with ``teacher_weights``.
        mean: per channel on x/255; default is what the weights' metadata says, else the train split's statistics.
        std: likewise.
        image_size: side in pixels; default is the size of the images as they are.
        classes: names in the order of the network's outputs, or a file of them; default is the order that the weights'
            metadata or that of the teacher's has, else that of the data.
        pixel_range: values that become 0 and 255 in images of more than 8 bits; default likewise, else their range.
        resume: go on from the checkpoint beside ``out``, if there is one.
        progress: called during training.
        report: called with one sentence a stage.
        job: which command it is, for the file's metadata; only what the same one wrote is replaced.

    Returns:
        The network; its ``summary`` has ``accuracy`` on search and test, ``before`` and ``after``, what was trained, on
        what, and where it is.

    Raises:
        InputError: see ``load_model``, ``load_data`` and ``fit``; or ``out`` cannot be written, would replace what is
            not of this job, or is being written by another process.
    """
    from netsmith.data import check_classes, data_for, normalisation_from_metadata
    from netsmith.jobs import doubt
    from netsmith.jobs.contents import contents_of, data_contents
    from netsmith.network.checkpoint import split_key
    from netsmith.network.load import load_model
    from netsmith.network.weights import read_metadata
    from netsmith.training import evaluate, fit
    from netsmith.training.schedule import check_training

    out = Path(out)
    if out.suffix != ".safetensors":
        raise InputError(f"--out {out} must end in .safetensors")
    check_training(lr=lr, epochs=epochs, patience=patience, seed=seed)
    if teacher_weights is not None and teacher is None:
        raise InputError("--teacher-weights are of no network; name it with --teacher")
    files = {"--weights": weights, "--teacher-weights": teacher_weights}
    read = {option: split_key(file)[0] for option, file in files.items() if file is not None}
    with reserved(out, job, read) as (checkpoint, record):
        if not (resume and checkpoint.exists()):
            record.unlink(missing_ok=True)  # of another training, with other data perhaps
        say = report or (lambda sentence: None)
        headers = [read_metadata(file) if file is not None else {} for file in (teacher_weights, weights)]
        data = data_for(
            data_spec, headers[0] | headers[1], seed=seed, search_size=search_size, label_column=label_column,
            image_size=image_size, mean=mean, std=std, train_limit=train_limit, classes=classes,
            pixel_range=pixel_range, record=record,
        )  # fmt: skip
        data.need_train()
        say(
            f"data {data.name}: {len(data.need_train())} train, {len(data.search)} search, {len(data.test)} test images"
        )
        loaded = load_model(
            model_spec, num_classes=data.known_classes if weights else len(data.classes), weights=weights,
            input_shape=data.input_shape,
        )  # fmt: skip
        for note in loaded.notes:
            say(note)
        if mean is None:
            data = data.with_normalisation(normalisation_from_metadata(loaded.metadata))
        for sentence in data.sentences:
            say(sentence)
        norm = data.normalisation
        model = loaded.model
        check_classes(data, _checked(model, data), loaded.metadata)

        def score() -> dict[str, float]:
            return {
                name: evaluate(model, part, normalisation=norm)[0]
                for name, part in (("search", data.search), ("test", data.test))
            }

        before = score() if weights is not None else None
        if before is not None:
            say(f"as loaded: search {before['search']:.2%}, test {before['test']:.2%}")
            if found := doubt.of_splits(before, data):
                say(f"warning: {doubt.sentence(found, data, 'search and test', weights=True)}")
        contents = contents_of(loaded, model_spec, weights) | data_contents(data)
        taught, teacher_spec = None, None
        if teacher is not None:
            known = load_model(
                teacher, num_classes=data.known_classes, weights=teacher_weights, input_shape=data.input_shape
            )
            taught, teacher_spec = known.model, known.spec
            for note in known.notes:
                say(note)
            check_classes(data, _checked(taught, data), known.metadata)
            contents |= contents_of(known, teacher, teacher_weights, who="teacher")
        peak = lr if lr is not None else (0.02 if weights is not None else 0.1)
        decay = weight_decay if weight_decay is not None else (1e-4 if weights is not None else 5e-4)
        start = time.perf_counter()
        result = fit(
            model, data, epochs=epochs, lr=peak, batch_size=batch_size, weight_decay=decay, schedule=schedule,
            teacher=taught, alpha=alpha, temperature=temperature, label_smoothing=label_smoothing,
            augment="auto" if augment else None, seed=seed, bf16=bf16, patience=patience,
            checkpoint=checkpoint, resume=resume, progress=progress,
            contents=contents, tag=f"{loaded.spec} from {weights}, teacher {teacher_spec} from {teacher_weights}",
        )  # fmt: skip
        after = score()
        say(f"trained: search {after['search']:.2%}, test {after['test']:.2%}")
        summary: dict[str, Any] = {
            "model": loaded.spec, "weights": str(weights) if weights is not None else None, "data": data.name,
            "out": str(out), "accuracy": {"before": before, "after": after}, "epochs": result.epochs_run,
            "best_epoch": result.best_epoch, "seconds": time.perf_counter() - start, "bf16": result.bf16,
            "data_notes": [data.note, *data.sentences], "warnings": doubt.trained_guess(after, data),
            "rows": {"train": len(data.need_train()), "search": len(data.search), "test": len(data.test)},
            "recipe": {
                "optimizer": "SGD, momentum 0.9, Nesterov", "lr": peak, "weight_decay": decay, "schedule": schedule,
                "batch_size": batch_size, "epochs": epochs, "seed": seed, "augment": augment, "teacher": teacher_spec,
            },
            "history": result.history, "messages": result.messages,
        }  # fmt: skip
        _write(model.state_dict(), _metadata(loaded.metadata, data, summary, job), out)
        for path in (checkpoint, record):
            path.unlink(missing_ok=True)  # only after the weights are safe
        return Result(json.loads(to_json(summary)), out.parent, {"safetensors": out}, loaded.factory)


def _checked(model: Any, data: Data) -> int:
    """Number of logits of a network whose outputs for the images can be promised."""
    from netsmith.network.behaviour import check_network

    images, _ = next(data.search.batches(4, normalise=data.normalisation, channels_last=False))
    return check_network(model, images, "give the size it expects with --image-size")


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


def _metadata(source: dict[str, str], data: Data, summary: dict[str, Any], job: str) -> dict[str, str]:
    """What a reader of the file needs: input, classes, accuracy and provenance; the source's licence stays.

    Nothing of it differs where the same is trained again.
    """
    left = ("accuracy", "history", "messages", "out", "seconds", "data_notes", "warnings")
    made = {k: v for k, v in summary.items() if k not in left}
    kept = {k: source[k] for k in ("license", "source", "architecture") if k in source}
    return (
        kept
        | {"format": "pt"}
        | data.metadata
        | {"accuracy": json.dumps(summary["accuracy"]), "made_by": json.dumps(made), "job": job}
    )


def _write(state: dict[str, Any], metadata: dict[str, str], out: Path) -> None:
    from netsmith.files import write_atomic

    write_atomic(out, serialised({k: v.detach().clone().contiguous() for k, v in state.items()}, metadata))

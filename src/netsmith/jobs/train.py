"""A baseline: train a network from scratch or fine-tune it, and write its weights with how they were made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from netsmith.errors import InputError

if TYPE_CHECKING:
    from netsmith.data import Data
    from netsmith.training import Progress


def train(
    model_spec: str,
    data_spec: str,
    *,
    out: str | Path,
    epochs: int = 10,
    weights: str | Path | None = None,
    lr: float | None = None,
    batch_size: int = 128,
    weight_decay: float | None = None,
    schedule: str = "one-cycle",
    teacher: str | None = None,
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
    search_size: int | None = None,
    train_limit: int | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train or fine-tune a network and write ``out`` (safetensors, with metadata).

    A checkpoint lies beside ``out`` while training runs; a killed training goes on from it and ends with the same
    weights.

    Args:
        model_spec: see ``netsmith.network.load.load_model``.
        data_spec: see ``netsmith.data.load_data``.
        out: ``.safetensors`` file to write.
        epochs: passes over the train split.
        weights: to start from; without, training starts from scratch.
        lr: peak learning rate; default 0.02 with ``weights``, 0.1 without.
        weight_decay: default 1e-4 with ``weights``, 5e-4 without.
        teacher: spec of a network to distil from (it must take the same input), with ``teacher_weights``.
        mean: per channel on x/255; default is what the weights' metadata says, else the train split's statistics.
        std: likewise.
        image_size: side in pixels; default is the size of the images as they are.
        resume: go on from the checkpoint beside ``out``, if there is one.
        progress: called during training.
        report: called with one sentence a stage.

    Returns:
        ``accuracy`` on search and test, ``before`` and ``after``; what was trained, on what, and where it is.

    Raises:
        InputError: see ``load_model``, ``load_data`` and ``fit``.
    """
    from netsmith.data import check_classes, load_data, normalisation_from_metadata
    from netsmith.data.augment import default_augment
    from netsmith.network.load import load_model
    from netsmith.training import evaluate, fit

    out = Path(out)
    if out.suffix != ".safetensors":
        raise InputError(f"--out {out} must end in .safetensors")
    say = report or (lambda sentence: None)
    data = load_data(
        data_spec, seed=seed, search_size=search_size, label_column=label_column, image_size=image_size, mean=mean,
        std=std, train_limit=train_limit,
    )  # fmt: skip
    data.need_train()
    say(f"data {data.name}: {len(data.need_train())} train, {len(data.search)} search, {len(data.test)} test images")
    loaded = load_model(
        model_spec, num_classes=data.known_classes if weights else len(data.classes), weights=weights,
        input_shape=data.input_shape,
    )  # fmt: skip
    for note in loaded.notes:
        say(note)
    if mean is None:
        data = data.with_normalisation(normalisation_from_metadata(loaded.metadata))
    norm = data.normalisation
    model = loaded.model
    check_classes(data, _outputs(model, data), loaded.metadata)

    def score() -> dict[str, float]:
        return {
            name: evaluate(model, part, normalisation=norm)[0]
            for name, part in (("search", data.search), ("test", data.test))
        }

    before = score() if weights is not None else None
    if before is not None:
        say(f"as loaded: search {before['search']:.2%}, test {before['test']:.2%}")
    taught = None
    if teacher is not None:
        taught = load_model(
            teacher, num_classes=data.known_classes, weights=teacher_weights, input_shape=data.input_shape
        ).model
        check_classes(data, _outputs(taught, data))
    peak = lr if lr is not None else (0.02 if weights is not None else 0.1)
    decay = weight_decay if weight_decay is not None else (1e-4 if weights is not None else 5e-4)
    checkpoint = out.with_name(f"{out.stem}.checkpoint.safetensors")
    start = time.perf_counter()
    result = fit(
        model, data, epochs=epochs, lr=peak, batch_size=batch_size, weight_decay=decay, schedule=schedule,
        teacher=taught, alpha=alpha, temperature=temperature, label_smoothing=label_smoothing,
        augment=default_augment(data.input_shape[-1]) if augment else None, seed=seed, bf16=bf16, patience=patience,
        checkpoint=checkpoint, resume=resume, progress=progress,
        tag=f"{model_spec} from {weights}, teacher {teacher} from {teacher_weights}",
    )  # fmt: skip
    after = score()
    say(f"trained: search {after['search']:.2%}, test {after['test']:.2%}")
    summary: dict[str, Any] = {
        "model": model_spec, "weights": str(weights) if weights is not None else None, "data": data_spec,
        "out": str(out), "accuracy": {"before": before, "after": after}, "epochs": result.epochs_run,
        "best_epoch": result.best_epoch, "seconds": time.perf_counter() - start, "bf16": result.bf16,
        "rows": {"train": len(data.need_train()), "search": len(data.search), "test": len(data.test)},
        "recipe": {
            "optimizer": "SGD, momentum 0.9, Nesterov", "lr": peak, "weight_decay": decay, "schedule": schedule,
            "batch_size": batch_size, "epochs": epochs, "seed": seed, "augment": augment, "teacher": teacher,
        },
        "history": result.history, "messages": result.messages,
    }  # fmt: skip
    _write(model.state_dict(), _metadata(loaded.metadata, data, summary), out)
    checkpoint.unlink(missing_ok=True)  # only after the weights are safe
    return summary


def _outputs(model: Any, data: Data) -> int:
    """Number of logits, found by running one image."""
    import torch

    images, _ = next(data.search.batches(1, normalise=data.normalisation))
    with torch.inference_mode():
        try:
            return int(model(images).shape[-1])
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"the network does not run on {data.name!r} images of shape {tuple(data.input_shape)} "
                f"({str(error).splitlines()[0][:120]}); give the size it expects with --image-size"
            ) from error


def _metadata(source: dict[str, str], data: Data, summary: dict[str, Any]) -> dict[str, str]:
    """What a reader of the file needs: input, classes, accuracy and provenance; the source's licence stays."""
    made = {k: v for k, v in summary.items() if k not in ("accuracy", "history", "messages", "out")}
    kept = {k: source[k] for k in ("license", "source", "architecture") if k in source}
    return (
        kept
        | {"format": "pt"}
        | data.metadata
        | {"accuracy": json.dumps(summary["accuracy"]), "made_by": json.dumps(made)}
    )


def _write(state: dict[str, Any], metadata: dict[str, str], out: Path) -> None:
    from safetensors.torch import save

    from netsmith.files import write_atomic

    write_atomic(out, save({k: v.detach().clone().contiguous() for k, v in state.items()}, metadata))

"""Commands that make a network: train, profile, compress."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netsmith.cli.shared import app, finish, finish_run, floats, pixels, progress_of, text
from netsmith.options import (
    AsJson,
    Calibration,
    Classes,
    Data,
    Energy,
    EpisodeImages,
    Epochs,
    Evaluations,
    Huffman,
    ImageSize,
    Importance,
    Input,
    LabelColumn,
    Latency,
    LearningRate,
    LeastBits,
    Macs,
    Methods,
    Model,
    Numbers,
    PixelRange,
    Reconstruct,
    Resume,
    SearchSize,
    Seed,
    Sensitivity,
    Size,
    StrategyName,
    TargetName,
    Threads,
    TrainLimit,
    Weights,
    Widths,
)


@app.command(epilog="Example:  netsmith train zoo:digits --data digits --epochs 10 --out digits.safetensors")
def train(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option(help="the .safetensors file to write")],
    epochs: Annotated[int, typer.Option(min=1, help="passes over the train split")] = 10,
    weights: Weights = None,
    lr: Annotated[float | None, typer.Option(help="peak learning rate; default 0.02 with --weights, else 0.1")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 128,
    teacher: Annotated[str | None, typer.Option(metavar="MODEL", help="network to distil from")] = None,
    teacher_weights: Annotated[Path | None, typer.Option(help="its weights")] = None,
    label_smoothing: Annotated[float, typer.Option(min=0.0, max=0.99)] = 0.0,
    augment: Annotated[bool, typer.Option(help="flip and shift the images")] = True,
    patience: Annotated[int | None, typer.Option(help="stop after this many epochs without progress")] = None,
    mean: Numbers = None,
    std: Numbers = None,
    image_size: ImageSize = None,
    label_column: LabelColumn = None,
    classes: Classes = None,
    pixel_range: PixelRange = None,
    search_size: SearchSize = None,
    train_limit: TrainLimit = None,
    seed: Seed = 0,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """A baseline: train a network from scratch, or fine-tune it."""
    with progress_of(as_json) as progress:
        from netsmith.jobs.train import train as job
        from netsmith.progress import training_events

        averages, deviations, scale = floats(mean, "--mean"), floats(std, "--std"), pixels(pixel_range)
        progress.stage("training")
        result = job(
            model, data, out=out, epochs=epochs, weights=weights, lr=lr, batch_size=batch_size, teacher=teacher,
            teacher_weights=teacher_weights, label_smoothing=label_smoothing, augment=augment, patience=patience,
            mean=averages, std=deviations, image_size=image_size, label_column=label_column, classes=text(classes),
            pixel_range=scale, search_size=search_size, train_limit=train_limit, seed=seed, resume=resume,
            progress=training_events(progress), report=progress.note,
        )  # fmt: skip
    from netsmith.report import show_training

    finish(result.summary, as_json, show_training)


@app.command(epilog="Example:  netsmith profile zoo:cifar_resnet20 --target cpu --input 3,32,32")
def profile(
    model: Model,
    target: TargetName = "cpu",
    input_shape: Input = None,
    weights: Weights = None,
    num_classes: Annotated[int | None, typer.Option(min=1)] = None,
    bits: Annotated[int, typer.Option(min=1, max=32, help="width to price weights and activations at")] = 32,
    batch: Annotated[int, typer.Option(min=1, max=1_000_000)] = 1,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Every layer's cost, its bound, and what is frozen and why."""
    with progress_of(as_json) as progress:
        from netsmith.units import parse_input_shape

        shape = parse_input_shape(input_shape) if input_shape is not None else None
        from netsmith.jobs.profile import profile as job

        result = job(
            model, target=target, input_shape=shape, weights=text(weights), num_classes=num_classes, bits=bits,
            batch=batch, threads=threads, progress=progress,
        )  # fmt: skip
    from netsmith.report import show_profile

    finish(result, as_json, show_profile)


@app.command(epilog="Example:  netsmith compress zoo:digits --weights digits.safetensors --data digits --latency 0.5x")
def compress(
    model: Model,
    data: Data,
    target: TargetName = "cpu",
    latency: Latency = None,
    energy: Energy = None,
    size: Size = None,
    macs: Macs = None,
    methods: Methods = "prune,quantize",
    strategy: StrategyName = "exact",
    evaluations: Evaluations = None,
    sensitivity: Sensitivity = "loss",
    episode_images: EpisodeImages = 0,
    widths: Widths = 8,
    importance: Importance = "l2",
    reconstruct: Reconstruct = True,
    least_bits: LeastBits = None,
    calibration: Calibration = "mse",
    huffman: Huffman = False,
    epochs: Epochs = None,
    lr: LearningRate = None,
    weights: Weights = None,
    out: Annotated[Path | None, typer.Option(help="run folder; default runs/NAME")] = None,
    mean: Numbers = None,
    std: Numbers = None,
    image_size: ImageSize = None,
    label_column: LabelColumn = None,
    classes: Classes = None,
    pixel_range: PixelRange = None,
    search_size: SearchSize = None,
    train_limit: TrainLimit = None,
    threads: Threads = 1,
    seed: Seed = 0,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Make a trained network keep its budgets on a target, at the least loss of accuracy.

    Exits with 0 only if every budget is met, with 3 if one is not.
    """
    with progress_of(as_json) as progress:
        from netsmith.units import read_budgets

        texts = {"latency": latency, "energy": energy, "size": size, "macs": macs}
        read_budgets(**texts)  # before anything slow is imported
        averages, deviations, scale = floats(mean, "--mean"), floats(std, "--std"), pixels(pixel_range)
        from netsmith.runs.folder import default_folder

        folder = out if out is not None else default_folder(model)
        progress.stage("starting")
        from netsmith.jobs.compress import compress as job

        result = job(
            model, data, target=target, **texts, methods=methods, strategy=strategy, weights=text(weights),
            out=folder, resume=resume, epochs=epochs, lr=lr, seed=seed, importance=importance, calibration=calibration,
            search_size=search_size, mean=averages, std=deviations, image_size=image_size, label_column=label_column,
            classes=text(classes), pixel_range=scale, train_limit=train_limit, threads=threads,
            least_bits=least_bits, evaluations=evaluations,
            sensitivity=sensitivity, huffman=huffman, episode_images=episode_images, reconstruct=reconstruct,
            widths=widths, progress=progress, job="compress",
        )  # fmt: skip
    finish_run(result.summary, as_json)

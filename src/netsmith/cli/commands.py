"""Commands that make a network or price one: train, profile, compress, specialize. Their options are generated."""

from __future__ import annotations

from typing import Any

from netsmith.cli.generate import command
from netsmith.cli.shared import app, finish, finish_run, progress_of
from netsmith.jobs.config import CompressConfig, ProfileConfig, SpecializeConfig, TrainConfig


def train(options: dict[str, Any], as_json: bool) -> None:
    """A baseline: train a network from scratch, or fine-tune it."""
    with progress_of(as_json) as progress:
        progress.stage("starting")
        from netsmith.jobs.train import train as job

        result = job(**options, progress=progress)
    from netsmith.report import show_training

    finish(result.summary, as_json, show_training)


def profile(options: dict[str, Any], as_json: bool) -> None:
    """Every layer's cost, its bound, and what is frozen and why."""
    with progress_of(as_json) as progress:
        from netsmith.jobs.profile import profile as job

        result = job(**options, progress=progress)
    from netsmith.report import show_profile

    finish(result, as_json, show_profile)


def compress(options: dict[str, Any], as_json: bool) -> None:
    """Make a trained network keep its budgets on a target, at the least loss of its score.

    Exits with 0 only if every budget is met and what was asked is certified, with 3 otherwise.
    """
    from netsmith.runs.place import default_folder

    with progress_of(as_json) as progress:
        progress.stage("starting")
        from netsmith.jobs.compress import compress as job

        folder = options.pop("out") or default_folder(options["model"])
        result = job(**options, out=folder, progress=progress)
    finish_run(result.summary, as_json)


def specialize(options: dict[str, Any], as_json: bool) -> None:
    """Find a network of a design space for your data and a target, train it, and measure it.

    Relative budgets refer to the space's reference network, every block of which is MobileNetV2's. Exits with 0 only
    if every budget is met, with 3 if one is not. `netsmith report RUN` shows how far a search is.
    """
    from netsmith.runs.place import default_folder

    with progress_of(as_json) as progress:
        progress.stage("starting")
        from netsmith.jobs.specialize import specialize as job
        from netsmith.report import write_report

        folder = options.pop("out") or default_folder(options["space"].removesuffix(".toml"))
        result = job(**options, out=folder, progress=progress, watch=write_report)
    from netsmith.training.workers import Workers

    if Workers.from_environment().is_first:  # of the processes that torchrun started
        finish_run(result.summary, as_json)


command(
    app, TrainConfig, train, place=("the .safetensors file to write", ...), resumable=True,
    example="netsmith train zoo:digits --data digits --epochs 10 --out digits.safetensors",
)  # fmt: skip
command(app, ProfileConfig, profile, example="netsmith profile zoo:cifar_resnet20 --target cpu --input 3,32,32")
command(
    app, CompressConfig, compress, place=("run folder; default runs/NAME", None), resumable=True,
    example="netsmith compress zoo:digits --weights digits.safetensors --data digits --latency 0.5x",
)  # fmt: skip
command(
    app, SpecializeConfig, specialize, place=("run folder; default runs/SPACE", None), resumable=True,
    example="netsmith specialize --space tiny --data digits --target cpu --latency 0.6x",
)  # fmt: skip

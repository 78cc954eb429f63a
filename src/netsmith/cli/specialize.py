"""The command that finds a network in a space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netsmith.cli.shared import app, finish_run, floats, pixels, progress_of, text
from netsmith.options import (
    AsJson,
    Classes,
    Data,
    Energy,
    ImageSize,
    LabelColumn,
    Latency,
    Macs,
    Numbers,
    PixelRange,
    Resume,
    SearchSize,
    Seed,
    Size,
    TargetName,
    Threads,
    TrainLimit,
)

_SEARCH, _TRAINING = "Search", "Training"
_SYSTEMS = "proxylessnas, proxylessnas-r (REINFORCE), oneshot, random or multiplier"


@app.command(epilog="Example:  netsmith specialize --space tiny --data digits --target cpu --latency 0.6x")
def specialize(
    data: Data,
    space: Annotated[str, typer.Option(metavar="S", help="mobile, mobile-small, tiny or FILE.toml")] = "mobile-small",
    target: TargetName = "cpu",
    latency: Latency = None,
    energy: Energy = None,
    size: Size = None,
    macs: Macs = None,
    system: Annotated[str, typer.Option(help=_SYSTEMS, rich_help_panel=_SEARCH)] = "proxylessnas",
    compare: Annotated[
        str, typer.Option(metavar="S,S,...", help="systems to run as well, trained alike", rich_help_panel=_SEARCH)
    ] = "",
    search_epochs: Annotated[
        int | None, typer.Option(min=1, help="of the search; default by the size of the data", rich_help_panel=_SEARCH)
    ] = None,
    warmup_epochs: Annotated[
        int | None, typer.Option(min=0, help="of weights alone, before it; default a quarter", rich_help_panel=_SEARCH)
    ] = None,
    warmup_from: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="use its warm-up, of the same space and data", rich_help_panel=_SEARCH),
    ] = None,
    loss: Annotated[
        str, typer.Option(help="constrained (by the budgets), additive or multiplicative", rich_help_panel=_SEARCH)
    ] = "constrained",
    weight: Annotated[float, typer.Option(min=0.0, help="of costs, in additive", rich_help_panel=_SEARCH)] = 0.1,
    mode: Annotated[
        str, typer.Option(help="gradients of gates: recompute, full or two", rich_help_panel=_SEARCH)
    ] = "recompute",
    every: Annotated[
        int, typer.Option(min=1, help="steps of weights for one of the probabilities", rich_help_panel=_SEARCH)
    ] = 5,
    evaluations: Annotated[
        int,
        typer.Option(min=0, help="networks to choose among at the end; 0: the most probable", rich_help_panel=_SEARCH),
    ] = 300,
    width: Annotated[float, typer.Option(min=0.05, max=8.0, help="multiplier of all channels of the space")] = 1.0,
    batch: Annotated[int, typer.Option(min=1, max=1_000_000, help="samples at a time, on modelled targets")] = 1,
    epochs: Annotated[
        int | None,
        typer.Option(min=0, help="of training what was found; default by the data", rich_help_panel=_TRAINING),
    ] = None,
    lr: Annotated[float | None, typer.Option(help="its peak learning rate", rich_help_panel=_TRAINING)] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="images of a training step", rich_help_panel=_TRAINING)] = 128,
    inherit: Annotated[
        bool, typer.Option("--inherit", help="start from the weights of the search", rich_help_panel=_TRAINING)
    ] = False,
    teacher: Annotated[
        str | None, typer.Option(metavar="MODEL", help="network to distil from", rich_help_panel=_TRAINING)
    ] = None,
    teacher_weights: Annotated[Path | None, typer.Option(help="its weights", rich_help_panel=_TRAINING)] = None,
    out: Annotated[Path | None, typer.Option(help="run folder; default runs/SPACE")] = None,
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
    """Find a network of a design space for your data and a target, train it, and measure it.

    Relative budgets refer to the space's reference network, every block of which is MobileNetV2's. Exits with 0 only
    if every budget is met, with 3 if one is not. `netsmith report RUN` shows how far a search is.
    """
    with progress_of(as_json) as progress:
        from netsmith.units import read_budgets

        texts = {"latency": latency, "energy": energy, "size": size, "macs": macs}
        read_budgets(**texts)  # before anything slow is imported
        averages, deviations, scale = floats(mean, "--mean"), floats(std, "--std"), pixels(pixel_range)
        from netsmith.runs.folder import default_folder

        folder = out if out is not None else default_folder(space.removesuffix(".toml"))
        progress.stage("starting")
        from netsmith.jobs.specialize import specialize as job
        from netsmith.report import write_report

        result = job(
            space, data, target=target, **texts, system=system, compare=[s.strip() for s in compare.split(",") if s],
            search_epochs=search_epochs, warmup_epochs=warmup_epochs,
            warmup_from=text(warmup_from), loss=loss, weight=weight, mode=mode, every=every,
            evaluations=evaluations, width=width, batch=batch, epochs=epochs, lr=lr, batch_size=batch_size,
            inherit=inherit, teacher=teacher, teacher_weights=text(teacher_weights), out=folder, mean=averages,
            std=deviations, image_size=image_size, label_column=label_column, classes=text(classes),
            pixel_range=scale, search_size=search_size, train_limit=train_limit, threads=threads,
            seed=seed, resume=resume, progress=progress, watch=write_report,
        )  # fmt: skip
    from netsmith.training.workers import Workers

    if Workers.from_environment().is_first:  # of the processes that torchrun started
        finish_run(result.summary, as_json)

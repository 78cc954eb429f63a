"""Commands about hardware: targets, measure, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netsmith.cli.shared import app, finish, progress_of, text
from netsmith.options import AsJson, Input, Threads, Weights

targets_app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})
app.add_typer(targets_app, name="targets", epilog="Example:  netsmith targets --json")


@targets_app.callback(invoke_without_command=True)
def targets(context: typer.Context, as_json: AsJson = False) -> None:
    """What hardware there is: bit-widths with kernels, channel granularity, peak, bandwidth, measured or modelled."""
    if context.invoked_subcommand is not None:
        return
    from netsmith.jobs.targets import list_targets
    from netsmith.report import show_targets

    finish(list_targets(), as_json, show_targets)


@targets_app.command(epilog="Example:  netsmith targets measure zoo:cifar_resnet20 --write layers-for-phone")
def measure(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="the network whose layers are wanted")] = None,
    input_shape: Input = None,
    space: Annotated[
        bool, typer.Option("--space", help="also every width and bit-width that compress may try, not just the network")
    ] = False,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="measure nothing; write the layers as ONNX files to time elsewhere"),
    ] = None,
    read: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="make a table of the times that such a folder came back with")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="table file; default for this machine is its cache")] = None,
    weights: Weights = None,
    num_classes: Annotated[int | None, typer.Option(min=1)] = None,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Build a latency table: of this machine, or of a device that cannot run Python.

    For another device: --write a folder of single layers, time them there with any runtime as its README says, --read
    the folder, and use the table with --target table:FILE.
    """
    with progress_of(as_json) as progress:
        from netsmith.jobs.measure import measure as job
        from netsmith.units import parse_input_shape

        shape = parse_input_shape(input_shape) if input_shape is not None else None
        result = job(
            model, input_shape=shape, space=space, write=write, read=read, out=out, weights=text(weights),
            num_classes=num_classes, threads=threads, progress=progress,
        )  # fmt: skip
    from netsmith.report import show_mapping

    finish(result, as_json, show_mapping)


@app.command(epilog="Example:  netsmith compare runs/exact runs/uniform --targets bitfusion bismo-edge")
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="run folders")],
    targets: Annotated[
        list[str] | None, typer.Option(metavar="T...", help="hardware to price the networks of the runs on")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Runs side by side, and what their networks cost on other hardware."""
    with progress_of(as_json) as progress:
        from netsmith.jobs.compare import compare as job

        result = job([str(run) for run in runs], targets=targets or [], progress=progress)
    from netsmith.report import show_comparison

    finish(result, as_json, show_comparison)

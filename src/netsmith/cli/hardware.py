"""Commands about hardware: targets, measure, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from netsmith.cli.generate import AsJson, command
from netsmith.cli.shared import app, finish, progress_of
from netsmith.jobs.config import ExploreConfig, MeasureConfig

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


def measure(options: dict[str, Any], as_json: bool) -> None:
    """Build a latency table: of this machine, or of a device that cannot run Python.

    For another device: --write a folder of single layers, time them there with any runtime as its README says, --read
    the folder, and use the table with --target table:FILE.
    """
    with progress_of(as_json) as progress:
        from netsmith.jobs.measure import measure as job

        result = job(**options, progress=progress)
    from netsmith.report import show_mapping

    finish(result, as_json, show_mapping)


command(
    targets_app, MeasureConfig, measure,
    example="netsmith targets measure zoo:cifar_resnet20 --write layers-for-phone",
)  # fmt: skip


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


def explore(options: dict[str, Any], as_json: bool) -> None:
    """Configurations of a hardware family side by side, each with the network that suits it best at equal loss.

    Simulated families alone: sensitivities are measured once, then each configuration is solved exactly.
    """
    from netsmith.runs.place import default_folder

    with progress_of(as_json) as progress:
        progress.stage("starting")
        from netsmith.jobs.explore import explore as job

        folder = options.pop("out") or default_folder(f"{options['model']}-{options['family']}")
        result = job(**options, out=folder, progress=progress)
    from netsmith.report import show_exploration

    result.report()
    finish(result.record, as_json, show_exploration)


command(
    app, ExploreConfig, explore, place=("run folder; default runs/NAME-FAMILY", None), resumable=True,
    example="netsmith explore zoo:digits --weights digits.safetensors --data digits --family bitfusion "
    "--vary rows=8..32,bandwidth=64..256",
)  # fmt: skip

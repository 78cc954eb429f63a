"""Commands about runs: report, verify, predict, export, demo."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from netsmith.cli.generate import AsJson
from netsmith.cli.shared import app, finish, finish_run, progress_of, text
from netsmith.errors import InfeasibleError
from netsmith.training.schedule import MOST_SEED


class Format(StrEnum):
    """What a run can be exported to."""

    onnx = "onnx"
    pt2 = "pt2"
    safetensors = "safetensors"
    nsw = "nsw"


@app.command(epilog="Example:  netsmith report runs/demo")
def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")], as_json: AsJson = False) -> None:
    """Write one HTML page about a finished run, or a specialization that goes on; it needs no network."""
    from netsmith.report import write_report

    path = write_report(run)
    finish({"run": str(run), "report": str(path)}, as_json, lambda result: print(result["report"]))


@app.command(epilog="Example:  netsmith verify runs/demo --data digits")
def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a finished run")],
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="what it was tested on; default is what the run names")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="of the measurement; default as many as the run had")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check every claim of a finished run again, from its files alone; it changes none of them.

    Exits with 0 if no claim fails, with 3 if one does. Claims about another device or other data are named, and are no
    failures.
    """
    with progress_of(as_json) as progress:
        from netsmith.jobs.verify import verify as job

        result = job(run, data, threads=threads, progress=progress)
    from netsmith.report import show_claims

    finish(result, as_json, show_claims)
    if not result["ok"]:
        raise typer.Exit(InfeasibleError.exit_code)


@app.command(epilog="Example:  netsmith predict runs/demo picture.png folder-of-pictures")
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder, or its model.onnx alone")],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT", help="images, texts, .npy or .npz files, whatever it reads, or folders of them"
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="classes to name for each input, the likeliest first")] = 1,
    out: Annotated[Path | None, typer.Option(help="new folder for all outputs, as arrays and pictures")] = None,
    as_json: AsJson = False,
) -> None:
    """What the network of a run says of its inputs: classes, pictures or numbers."""
    with progress_of(as_json) as progress:
        progress.stage("predict")
        from netsmith.jobs.predict import predict as job

        result = job(run, inputs, top=top, out=out, progress=progress)
    from netsmith.report import show_predictions

    finish(result, as_json, show_predictions)


@app.command(epilog="Example:  netsmith export runs/demo --format pt2 --out small.pt2")
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")],
    form: Annotated[Format, typer.Option("--format", help="what to write")] = Format.onnx,
    out: Annotated[Path | None, typer.Option(help="file to write; default is in the run folder")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the compressed network of a run as a file, and check it against the run."""
    with progress_of(as_json) as progress:
        progress.stage("export")
        from netsmith.jobs.export import export as job

        result = job(str(run), format=form.value, out=text(out))
    from netsmith.report import show_mapping

    finish(result, as_json, show_mapping)


@app.command(epilog="Example:  netsmith demo --out runs/demo")
def demo(
    out: Annotated[Path, typer.Option(help="run folder")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="equal seeds, equal results")] = 0,
    as_json: AsJson = False,
) -> None:
    """The whole of it on an embedded data set, in some minutes."""
    with progress_of(as_json) as progress:
        progress.stage("starting")
        from netsmith.jobs.demo import demo as job

        result = job(out, seed=seed, progress=progress)
    finish_run(result.summary, as_json)

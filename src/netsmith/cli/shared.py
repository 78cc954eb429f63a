"""What the commands share: the application, progress, and how results are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from netsmith.errors import InfeasibleError
from netsmith.progress import Progress, make_progress
from netsmith.usercode import user_code

app = typer.Typer(
    name="netsmith",
    help="Make neural networks efficient for a given piece of hardware, and measure that they are.",
    epilog="Start here:  netsmith demo --out runs/demo",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="print it")] = False) -> None:
    if version:
        from netsmith import __version__

        print(f"netsmith {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@contextmanager
def progress_of(as_json: bool) -> Iterator[Progress]:
    progress = make_progress(silent=as_json)
    try:
        with user_code():
            yield progress
    except BaseException:
        progress.close(failed=True)
        raise
    progress.close()


def finish(result: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    if as_json:
        from netsmith.files import to_json

        print(to_json(result))
    else:
        show(result)


def finish_run(summary: dict[str, Any], as_json: bool) -> None:
    """Write the report, show before and after, and say by the exit code whether the budgets are met."""
    from netsmith.report import show_specialization, show_summary, write_report
    from netsmith.runs.summary import all_met

    failed: Exception | None = None
    try:
        write_report(summary["run"])
    except Exception as error:  # the figures come first: they took longer
        failed = error
    finish(summary, as_json and failed is None, show_specialization if summary.get("specialization") else show_summary)
    if failed is not None:
        raise failed
    if not all_met(summary):
        raise typer.Exit(InfeasibleError.exit_code)


def text(path: Path | None) -> str | None:
    return None if path is None else str(path)

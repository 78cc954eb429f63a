"""The commands. No logic: options in, one call of a job, its result shown.

Jobs are imported inside the commands, so that ``--help`` does not wait for torch.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from netsmith.errors import InfeasibleError, InputError, NetsmithError
from netsmith.options import (
    AsJson,
    Calibration,
    Data,
    Energy,
    EpisodeImages,
    Epochs,
    Evaluations,
    Format,
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
    spread,
    usage_sentence,
)  # fmt: skip
from netsmith.progress import Progress, make_progress

INTERRUPTED = 130
#: typer carries a click of its own or uses the installed one; either way its errors derive from this
_UsageError: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

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


# --- commands ---------------------------------------------------------------------------------------------------------


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
    search_size: SearchSize = None,
    train_limit: TrainLimit = None,
    seed: Seed = 0,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """A baseline: train a network from scratch, or fine-tune it."""
    with _progress(as_json) as progress:
        from netsmith.jobs.train import train as job
        from netsmith.progress import training_events

        progress.stage("training")
        result = job(
            model, data, out=out, epochs=epochs, weights=weights, lr=lr, batch_size=batch_size, teacher=teacher,
            teacher_weights=teacher_weights, label_smoothing=label_smoothing, augment=augment, patience=patience,
            mean=_floats(mean, "--mean"), std=_floats(std, "--std"), image_size=image_size, label_column=label_column,
            search_size=search_size, train_limit=train_limit, seed=seed, resume=resume,
            progress=training_events(progress), report=progress.note,
        )  # fmt: skip
    from netsmith.report import show_training

    _finish(result, as_json, show_training)


@app.command(epilog="Example:  netsmith profile zoo:cifar_resnet20 --target cpu --input 3,32,32")
def profile(
    model: Model,
    target: TargetName = "cpu",
    input_shape: Input = None,
    weights: Weights = None,
    num_classes: Annotated[int | None, typer.Option(min=1)] = None,
    bits: Annotated[int, typer.Option(help="width to price weights and activations at")] = 32,
    batch: Annotated[int, typer.Option(min=1)] = 1,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Every layer's cost, its bound, and what is frozen and why."""
    with _progress(as_json) as progress:
        from netsmith.units import parse_input_shape

        shape = parse_input_shape(input_shape) if input_shape is not None else None
        from netsmith.jobs.profile import profile as job

        result = job(
            model, target=target, input_shape=shape, weights=_text(weights), num_classes=num_classes, bits=bits,
            batch=batch, threads=threads, progress=progress,
        )  # fmt: skip
    from netsmith.report import show_profile

    _finish(result, as_json, show_profile)


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
    with _progress(as_json) as progress:
        from netsmith.units import check_budgets, parse_budget

        texts = {"latency": latency, "energy": energy, "size": size, "macs": macs}
        check_budgets(parse_budget(v, k) for k, v in texts.items() if v is not None)  # type: ignore[arg-type]
        averages, deviations = _floats(mean, "--mean"), _floats(std, "--std")
        from netsmith.jobs.run import default_folder

        folder = out if out is not None else default_folder(model)
        progress.stage("starting")
        from netsmith.jobs.compress import compress as job

        result = job(
            model, data, target=target, **texts, methods=methods, strategy=strategy, weights=_text(weights),
            out=folder, resume=resume, epochs=epochs, lr=lr, seed=seed, importance=importance, calibration=calibration,
            search_size=search_size, mean=averages, std=deviations, image_size=image_size, label_column=label_column,
            train_limit=train_limit, threads=threads, least_bits=least_bits, evaluations=evaluations,
            sensitivity=sensitivity, huffman=huffman, episode_images=episode_images, reconstruct=reconstruct,
            widths=widths, progress=progress,
        )  # fmt: skip
    _finish_run(result, as_json)


targets_app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})
app.add_typer(targets_app, name="targets", epilog="Example:  netsmith targets --json")


@targets_app.callback(invoke_without_command=True)
def targets(context: typer.Context, as_json: AsJson = False) -> None:
    """What hardware there is: bit-widths with kernels, channel granularity, peak, bandwidth, measured or modelled."""
    if context.invoked_subcommand is not None:
        return
    from netsmith.jobs.targets import list_targets
    from netsmith.report import show_targets

    _finish(list_targets(), as_json, show_targets)


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
    with _progress(as_json) as progress:
        from netsmith.jobs.measure import measure as job
        from netsmith.units import parse_input_shape

        shape = parse_input_shape(input_shape) if input_shape is not None else None
        result = job(
            model, input_shape=shape, space=space, write=write, read=read, out=out, weights=_text(weights),
            num_classes=num_classes, threads=threads, progress=progress,
        )  # fmt: skip
    from netsmith.report import show_mapping

    _finish(result, as_json, show_mapping)


@app.command(epilog="Example:  netsmith compare runs/exact runs/uniform --targets bitfusion bismo-edge")
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="run folders")],
    targets: Annotated[
        list[str] | None, typer.Option(metavar="T...", help="hardware to price the networks of the runs on")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Runs side by side, and what their networks cost on other hardware."""
    with _progress(as_json) as progress:
        from netsmith.jobs.compare import compare as job

        result = job([str(run) for run in runs], targets=targets or [], progress=progress)
    from netsmith.report import show_comparison

    _finish(result, as_json, show_comparison)


@app.command(epilog="Example:  netsmith report runs/demo")
def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")], as_json: AsJson = False) -> None:
    """Write one HTML page about a finished run, or a specialization that goes on; it needs no network."""
    from netsmith.report import write_report

    path = write_report(run)
    _finish({"run": str(run), "report": str(path)}, as_json, lambda result: print(result["report"]))


@app.command(epilog="Example:  netsmith export runs/demo --format pt2 --out small.pt2")
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")],
    form: Annotated[Format, typer.Option("--format", help="what to write")] = Format.onnx,
    out: Annotated[Path | None, typer.Option(help="file to write; default is in the run folder")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the compressed network of a run as a file, and check it against the run."""
    with _progress(as_json) as progress:
        progress.stage("export")
        from netsmith.jobs.export import export as job

        result = job(str(run), format=form.value, out=_text(out))
    from netsmith.report import show_mapping

    _finish(result, as_json, show_mapping)


@app.command(epilog="Example:  netsmith demo --out runs/demo")
def demo(
    out: Annotated[Path, typer.Option(help="run folder")] = Path("runs/demo"),
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """The whole of it on an embedded data set, in a minute or two."""
    with _progress(as_json) as progress:
        progress.stage("starting")
        from netsmith.jobs.demo import demo as job

        result = job(out, seed=seed, progress=progress)
    _finish_run(result, as_json)


# --- what the commands share ------------------------------------------------------------------------------------------


@contextmanager
def _progress(as_json: bool) -> Iterator[Progress]:
    progress = make_progress(silent=as_json)
    try:
        yield progress
    finally:
        progress.close()


def _finish(result: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    if as_json:
        from netsmith.files import to_json

        print(to_json(result))
    else:
        show(result)


def _finish_run(summary: dict[str, Any], as_json: bool) -> None:
    """Write the report, show before and after, and say by the exit code whether the budgets are met."""
    from netsmith.jobs.summary import all_met
    from netsmith.report import show_summary, write_report

    write_report(summary["run"])
    _finish(summary, as_json, show_summary)
    if not all_met(summary):
        raise typer.Exit(InfeasibleError.exit_code)


def _floats(text: str | None, option: str) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} {text!r} cannot be read: write one number a channel, such as 0.5,0.5,0.5") from None


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 well, 2 bad input, 3 infeasible or unmet budget, 130 interrupted."""
    arguments = spread(sys.argv[1:] if arguments is None else arguments, "--targets")
    as_json = "--json" in arguments
    if not sys.warnoptions:  # what libraries tell their developers is not for users; python -W brings it back
        for category in (FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
    try:
        code = app(args=arguments, prog_name="netsmith", standalone_mode=False)
    except NetsmithError as error:
        reachable = error.reachable if isinstance(error, InfeasibleError) else {}
        _fail(str(error), error.exit_code, as_json, {"reachable": reachable} if reachable else {})
    except _UsageError as error:
        _fail(usage_sentence(error), InputError.exit_code, as_json)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has gone, as `head` does
        sys.stderr.close()
        sys.exit(1)
    if code == INTERRUPTED:  # typer turns Ctrl-C into this code
        _fail("interrupted; continue with --resume", INTERRUPTED, as_json, prefix="")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(
    message: str, code: int, as_json: bool, more: dict[str, Any] | None = None, prefix: str = "error: "
) -> NoReturn:
    if as_json:
        print(json.dumps({"error": message, "exit_code": code} | (more or {})))
    print(f"{prefix}{message}", file=sys.stderr)
    sys.exit(code)

"""The table of tasks: eight networks that are no image classifiers, each made twice as fast on this processor.

Of each row: data, real or made honestly; a network as given, trained here in plain PyTorch, with its score and that of
a constant; `netsmith.compress` by at most twelve lines of a user's code; the score of the file on the test split, which
nothing was chosen on, as a script finds it that has the file and ONNX Runtime alone; both latencies.

    python benchmarks/tasks.py                   # all rows
    python benchmarks/tasks.py --rows unet lstm  # two of them
    python benchmarks/tasks.py --latency 0.25x   # a budget that integers alone do not meet
    python benchmarks/tasks.py --train-only      # data and networks as given

Weights and runs lie below ``--out``, figures below ``--results``; what is there is not made again, so a call that was
killed goes on.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch
from common import Store, clocked, data_dir, digest, percent, table
from tasks_rows.row import SPLITS, Row, Splits, fit, outputs_of
from tasks_rows.stranger import input_names, seconds

ROWS = ("unet", "superres", "autoencoder", "text", "signal", "lstm", "tabular", "detector")
STRANGER = common.ROOT / "benchmarks/tasks_rows/stranger.py"
HEAD = (
    "task", "score", "constant", "as given", "compressed", "share of the gap kept", "MMACs", "ms before", "ms after",
    "ratio", "met", "ratio by another clock", "ONNX against torch", "lines", "seconds",
)  # fmt: skip


def row_of(name: str) -> Row:
    row: Row = importlib.import_module(f"tasks_rows.{name}").ROW
    return row


def splits_of(row: Row, seed: int) -> Splits:
    """The row's data; making it takes seconds, and it is the same each time."""
    return row.data(data_dir(), np.random.default_rng([seed, ROWS.index(row.name)]))


def given(row: Row, splits: Splits, folder: Path, seed: int) -> dict[str, Any]:
    """The network as given, trained; and what a constant scores. Its weights lie in ``network.pt``."""
    torch.manual_seed(seed)
    model = row.network()
    folder.mkdir(parents=True, exist_ok=True)
    made = fit(row, model, splits, folder, seed)
    torch.save(model.state_dict(), folder / "network.pt")
    test = splits["test"]
    return {
        "score": row.score(outputs_of(row, model, test), test),
        "constant": row.score(row.constant(splits["train"], test), test),
        "params": sum(p.numel() for p in model.parameters()), "training": made,
        "examples": {split: len(splits[split][0]) for split in SPLITS},
    }  # fmt: skip


def trained(row: Row, folder: Path) -> torch.nn.Module:
    model = row.network()
    model.load_state_dict(torch.load(folder / "network.pt", weights_only=True))
    return model.eval()


def compressed(row: Row, splits: Splits, folder: Path, latency: str, seed: int) -> dict[str, Any]:
    """The row's compression, and what its files do; a budget that cannot be met is a result, not an error."""
    from netsmith.errors import InfeasibleError
    from netsmith.progress import Lines

    run = folder / f"run-{latency}"
    model = trained(row, folder)
    with clocked(run) as took:
        try:
            result = row.compress(model, splits, latency=latency, out=run, resume=True, seed=seed, progress=Lines())
        except InfeasibleError as error:
            return {"infeasible": str(error), "reachable": error.reachable}
    return {"summary": result.summary, "seconds": took()} | by_file(row, splits["test"], result, folder)


def by_file(row: Row, test: Any, result: Any, folder: Path) -> dict[str, Any]:
    """What somebody finds who has the file alone: its score, how far it is from torch, and both files' latency."""
    from torch.utils._pytree import tree_flatten, tree_unflatten

    file, before = result.product["onnx"], result.folder / "baseline.onnx"
    feed = {
        name: column.numpy() for name, column in zip(input_names(str(file)), row.inputs(test), strict=True)
    }  # fmt: skip
    np.savez(folder / "feed.npz", **feed)
    said = subprocess.run(
        [sys.executable, "-I", str(STRANGER), str(file), str(folder / "feed.npz"), str(folder / "found.npz")],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    with np.load(folder / "found.npz") as loaded:
        found = [torch.from_numpy(loaded[name]) for name in loaded.files]
    wanted, spec = tree_flatten(outputs_of(row, result.model, test))
    score = row.score(tree_unflatten(found, spec), test)
    errors = [float((a - b).square().mean().sqrt() / b.std()) for a, b in zip(found, wanted, strict=True)]
    times = seconds([str(before), str(file)], feed)
    return {"score": score, "onnx_error": max(errors), "said": said, "seconds_by_file": list(times)}


def line(row: Row, figures: dict[str, Any], outcome: dict[str, Any]) -> list[Any]:
    """A row of the table."""

    def shown(score: float) -> str:
        return percent(score) if row.unit == "%" else f"{score:.3f} {row.unit}".rstrip()

    head = [row.what, row.metric, shown(figures["constant"]), shown(figures["score"])]
    if "summary" not in outcome:
        return [*head, outcome["infeasible"]] + [None] * (len(HEAD) - len(head) - 3) + [row.lines(), None]
    summary = outcome["summary"]
    (budget,) = summary["budgets"]
    share = (outcome["score"] - figures["constant"]) / (figures["score"] - figures["constant"])
    times = [summary[side]["latency_measured_s"] * 1e3 for side in ("baseline", "result")]
    again = outcome["seconds_by_file"]
    return [
        *head, shown(outcome["score"]), f"{100 * share:.1f} %", f"{summary['baseline']['macs'] / 1e6:.1f}",
        *(f"{ms:.3f}" for ms in times), f"{times[1] / times[0]:.3f}", "yes" if budget["met"] else "no",
        f"{again[1] / again[0]:.3f}", f"{outcome['onnx_error']:.1e}", row.lines(), f"{outcome['seconds']:.0f}",
    ]  # fmt: skip


def cells(store: Store, args: Any, name: str) -> tuple[Row, dict[str, Any], dict[str, Any]] | None:
    """Both cells of a row: the network as given, and the compressed one."""
    row, folder = row_of(name), args.out / name
    splits = splits_of(row, args.seed)
    figures = store.cell(f"{name} as given", row.settings(args.seed), lambda: given(row, splits, folder, args.seed))
    print(f"{name}: constant {figures['constant']:.4f}, as given {figures['score']:.4f}", flush=True)
    if args.train_only:
        return None
    settings = {"seed": args.seed, "network": digest(folder / "network.pt"), "code": row.code()}
    outcome = store.cell(
        f"{name} at {args.latency}", settings, lambda: compressed(row, splits, folder, args.latency, args.seed)
    )
    return row, figures, outcome


def main() -> int:
    parser = common.parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=common.ROOT / "build/tasks", help="folder of weights and runs")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, help="which rows")
    parser.add_argument("--latency", default="0.5x", help="the budget of every row")
    parser.add_argument("--train-only", action="store_true", help="stop when the networks as given are trained")
    args = parser.parse_args()
    torch.set_num_threads(1)
    store = Store(args.results, f"tasks-{args.latency}")
    lines = [line(*made) for made in map(partial(cells, store, args), args.rows) if made]
    if lines:
        store.fragment(f"The table of tasks: {args.latency} of the latency", table(HEAD, lines), args.threads, NOTES)
    return 0


NOTES = (
    "Constant: the best outputs that do not look at the input: the most frequent class, the mean picture or value, the "
    "likeliest cell of a digit. Share of the gap kept: (compressed - constant) / (as given - constant).",
    "Scores of the test split, which nothing was chosen on. Compressed: of `model.onnx`, run by a script that has the "
    "file and ONNX Runtime alone. Lines: of a user's code, data and network aside.",
    "ONNX against torch: root mean square of the difference of `model.onnx` and `Result.model` over the standard "
    "deviation of the outputs, of the worst output, over the test split.",
    "ms: one example, one thread, as measured by the run; by another clock: by the script, afterwards, on real inputs.",
)


if __name__ == "__main__":
    sys.exit(main())

"""Accuracy against measured latency on CIFAR-10 (JPEG copy). About 3 minutes an epoch and budget on two cores.

Runs ``compress`` once a budget, resumable, then times all finished networks interleaved. ``--retime`` only does the
latter, for a time when the machine is quiet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
from common import NETWORKS, Store, percent, run_compress, table


def folder_of(runs: Path, model: str, budget: str, epochs: int, seed: int) -> Path:
    return runs / f"{model}-{budget}-e{epochs}-s{seed}"


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--model", default="cifar_resnet56", choices=["cifar_resnet56", "cifar_resnet20", "digits"])
    options.add_argument("--weights", help="fine-tuned baseline; default is the pretrained network as it is")
    options.add_argument("--budgets", nargs="+", default=["0.6x", "0.45x", "0.35x", "0.25x", "0.15x"])
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--lr", type=float, default=0.03)
    options.add_argument("--runs", type=Path, default=common.ROOT / "runs")
    options.add_argument("--retime", action="store_true", help="only time the runs that are finished")
    args = options.parse_args()
    store = Store(args.results, f"cifar_curve-{args.model}")
    weights = common.weights_of(args.model, args.weights, args.results, args.seed)
    done: dict[str, dict[str, Any]] = {}
    for budget in args.budgets:
        folder = folder_of(args.runs, args.model, budget, args.epochs, args.seed)
        if args.retime and not (folder / "outcome.json").is_file():
            continue
        done[budget] = run_compress(
            folder, model=NETWORKS[args.model].spec, data=NETWORKS[args.model].data, latency=budget, weights=weights,
            epochs=args.epochs, lr=args.lr, seed=args.seed, threads=args.threads,
        ) | {"folder": folder}  # fmt: skip
    files: dict[str, Path] = {}
    for budget, outcome in done.items():
        if "summary" in outcome:
            files.setdefault("baseline", outcome["folder"] / "baseline.onnx")
            files[budget] = outcome["folder"] / "model.onnx"
    if not files:
        raise SystemExit("no run is finished; drop --retime")
    measure = lambda: common.time_interleaved(files, args.threads, args.seconds)  # noqa: E731
    settings = {"files": {k: common.digest(v) for k, v in files.items()}, "threads": args.threads}
    if args.retime:
        store.put("timing", settings, measure())
    timed = store.cell("timing", settings, measure)
    write(store, args, done, timed, weights)


def write(store: Store, args: Any, done: dict[str, Any], timed: dict[str, Any], weights: str | None) -> None:
    finished = {b: o["summary"] for b, o in done.items() if "summary" in o}
    base = next(iter(finished.values()))["baseline"]
    head = ["budget", "test accuracy", "drop, points", "time, ms", "time / baseline", "in the run", "predicted, error",
            "blocks", "channels", "int8 layers", "MACs, M", "kB", "minutes"]  # fmt: skip
    rows: list[list[Any]] = [[
        "as given", percent(base["accuracy"]), "", common.ms_text(timed["baseline"]), "1", "", "", "", "", "",
        f"{base['macs'] / 1e6:.1f}", f"{timed['baseline']['bytes'] / 1e3:.0f}", "",
    ]]  # fmt: skip
    curve = [("as given", 1.0, base["accuracy"])]
    for budget, outcome in done.items():
        if budget not in finished:
            reach = outcome["reachable"].get("latency")
            least = f"least {reach * 1e3:.3f}" if reach else ""
            rows.append([budget, "cannot be met", "", least, *[""] * 8, minutes(outcome)])
            continue
        s, t = finished[budget], timed[budget]
        r = s["result"]
        curve.append((budget, t["ratio"], r["accuracy"]))
        rows.append([
            budget, percent(r["accuracy"]), f"{100 * (s['baseline']['accuracy'] - r['accuracy']):.2f}",
            common.ms_text(t), common.ratio_text(t), in_run(s), prediction(s), *kept(s), f"{r['macs'] / 1e6:.1f}",
            f"{t['bytes'] / 1e3:.0f}", minutes(outcome),
        ])  # fmt: skip
    error = (base["accuracy"] * (1 - base["accuracy"]) / test_rows(args.model)) ** 0.5
    notes = [
        f"Baseline: {NETWORKS[args.model].spec}, {common.digest(weights)}. Fine-tuning: {args.epochs} epochs, "
        f"learning rate {args.lr}, distilled from the baseline, if anything was pruned; seed {args.seed}.",
        f"Accuracy: the ONNX file run on the test split; a standard error of the baseline is {100 * error:.2f} points.",
        "In the run: the measured ratio by which the run itself judged its budget, and whether it was met.",
        "Predicted, error: latency predicted for the chosen design, corrected by the designs measured before it, "
        "against the one measured; in brackets the same for the first design of the search.",
        common.timing_note(timed),
    ]
    images = "digits" if args.model == "digits" else "CIFAR-10 (JPEG copy)"
    title = f"Accuracy against measured latency: {args.model} on {images}"
    store.put("rows", {}, {"rows": rows, "curve": curve})
    store.fragment(title, [*table(head, rows), "", "```", *plot(curve), "```"], args.threads, notes)


def test_rows(model: str) -> int:
    from netsmith.data import load_data

    return len(load_data(NETWORKS[model].data).test)


def minutes(outcome: dict[str, Any]) -> str:
    return f"{outcome['seconds'] / 60:.1f}"


def in_run(s: dict[str, Any]) -> str:
    met = all(b["met"] for b in s["budgets"])
    return f"{common.ratio_text(s['timing'])}, {'met' if met else 'not met'}"


def prediction(s: dict[str, Any]) -> str:
    r, first = s["result"], s["fidelity"][0]
    final = r["latency_predicted_s"] / r["latency_measured_s"] - 1
    return f"{100 * final:+.1f} % ({100 * (first['predicted_s'] / first['measured_s'] - 1):+.1f} %)"


def kept(s: dict[str, Any]) -> list[str]:
    """Residual blocks, output channels of the layers that could be narrower, and integer layers that are left."""
    branches = [v for k, v in s["design"].items() if k.endswith(".branch")]
    here = [row["choice"] for row in s["layers"] if row["choice"]["width"]]
    return [
        f"{branches.count('keep')} of {len(branches)}",
        f"{sum(c['width'] for c in here)} of {sum(row['choice']['of'] for row in s['layers'])}",
        f"{sum(c['bits'] == 8 for c in here)} of {len(here)}",
    ]


def plot(points: list[tuple[str, float, float]], width: int = 60, height: int = 14) -> list[str]:
    """The curve as text: accuracy over the share of the baseline's latency."""
    low, high = min(p[2] for p in points), max(p[2] for p in points)
    span = max(high - low, 5e-3)
    grid = [[" "] * (width + 1) for _ in range(height + 1)]
    for _, x, y in points:
        grid[round((high - y) / span * height)][round(min(x, 1.0) * width)] = "●"
    lines = [f"{100 * (high - span * i / height):6.2f} % │{''.join(row)}" for i, row in enumerate(grid)]
    axis = "".join(f"{i / 5:<12.1f}" for i in range(5)) + "1.0"
    return [*lines, " " * 9 + "└" + "─" * (width + 1), " " * 10 + axis, " " * 10 + "measured latency / baseline"]


if __name__ == "__main__":
    main()

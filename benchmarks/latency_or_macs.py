"""Pruning by measured latency against pruning by MACs, target ``cpu``. Some minutes a run, on a quiet machine.

One network is pruned to a budget of latency; the same network is pruned to budgets of MACs, among them the MACs of the
first result. All are timed in one session, which tells what latency equal MACs have, and which budget of MACs has the
latency of the first: those two are compared in accuracy. Nothing is quantized.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
from common import NETWORKS, Store, percent, run_compress, table


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--model", default="cifar_resnet20")
    options.add_argument("--weights", help="trained baseline; default is the pretrained network as it is")
    options.add_argument("--latency", default="0.5x")
    options.add_argument("--macs", nargs="+", default=["0.6x", "0.5x", "0.4x", "0.3x"])
    options.add_argument("--epochs", type=int, default=0)
    options.add_argument("--train-limit", type=int)
    options.add_argument("--runs", type=Path, default=common.ROOT / "runs")
    args = options.parse_args()
    store = Store(args.results, f"latency_or_macs-{args.model}")
    net = NETWORKS[args.model]
    weights = common.weights_of(args.model, args.weights, args.results, args.seed)
    shared = {
        "model": net.spec, "data": net.data, "weights": weights, "methods": "prune", "epochs": args.epochs,
        "seed": args.seed, "threads": args.threads, "train_limit": args.train_limit,
    }  # fmt: skip

    def run(name: str, **budget: str) -> dict[str, Any]:
        return run_compress(args.runs / f"{args.model}-{name}-e{args.epochs}-s{args.seed}", **shared, **budget)

    done = {f"latency {args.latency}": run(f"latency-{args.latency}", latency=args.latency)}
    summary = done[f"latency {args.latency}"].get("summary")
    if summary is None:
        raise SystemExit(f"latency {args.latency} cannot be met by pruning alone; choose a larger --latency")
    equal = f"{summary['result']['macs'] / summary['baseline']['macs']:.4f}x"
    for share in [equal, *args.macs]:
        done[f"MACs {share}"] = run(f"macs-{share}", macs=share)
    done = {name: outcome for name, outcome in done.items() if "summary" in outcome}
    folders = {n: args.runs / f"{args.model}-{n.lower().replace(' ', '-')}-e{args.epochs}-s{args.seed}" for n in done}
    first = next(iter(folders.values()))
    files = {"as given": first / "baseline.onnx"} | {n: f / "model.onnx" for n, f in folders.items()}
    settings = {k: common.digest(v) for k, v in files.items()}
    timed = store.cell("timing", settings, lambda: common.time_interleaved(files, args.threads, args.seconds))
    write(store, args, done, timed)


def write(store: Store, args: Any, done: dict[str, Any], timed: dict[str, Any]) -> None:
    base = next(iter(done.values()))["summary"]["baseline"]
    head = ["budget", "MACs, M", "time, ms", "time / baseline", "search accuracy", "test accuracy", "blocks"]
    rows = [["as given", f"{base['macs'] / 1e6:.1f}", common.ms_text(timed["as given"]), "1", "",
             percent(base["accuracy"]), ""]]  # fmt: skip
    for name, outcome in done.items():
        result, design = outcome["summary"]["result"], outcome["summary"]["design"]
        branches = [v for k, v in design.items() if k.endswith(".branch")]
        rows.append([
            name, f"{result['macs'] / 1e6:.1f}", common.ms_text(timed[name]), common.ratio_text(timed[name]),
            percent(result.get("search_accuracy")), percent(result["accuracy"]),
            f"{branches.count('keep')} of {len(branches)}",
        ])  # fmt: skip
    notes = [
        f"Channels and residual blocks, floating point, {args.epochs} epochs of fine-tuning"
        + (f" on {args.train_limit} images" if args.train_limit else "") + f"; seed {args.seed}. The first budget of "
        "MACs is that of the network pruned by latency.",
        common.timing_note(timed),
    ]  # fmt: skip
    title = f"Pruning by latency or by MACs: {args.model}"
    store.fragment(title, table(head, rows), args.threads, notes)


if __name__ == "__main__":
    main()

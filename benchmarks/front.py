"""A front against runs of a single budget each, on this machine: what its networks reach and what it takes. An hour.

Both sides have the same code, network, data, seed and epochs. Each run is a process of its own, whose processor time
counts, as that of waiting does not; the target's table is measured before, so that neither side pays for it. At the
end all networks of both sides are timed in one session, round by round. A single run is *reached* where the front, as a
line through its networks, has at its latency no lower a score, give or take what the test split resolves.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import NETWORKS, Store, percent, table

BUDGETS = {
    "cifar_resnet20": ["0.4x", "0.3x"], "cifar_resnet56": ["0.4x", "0.3x"],
    "mobilenet_v2_tf": ["0.6x"], "squeezenet1_1": ["0.6x"], "timm_resnet18": ["0.5x", "0.3x"],
}  # fmt: skip


def run(folder: Path, words: list[str]) -> dict[str, Any]:
    """A netsmith command in a process of its own: its processor seconds, and its summary or what it said."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    script = "import sys; sys.path.insert(0, sys.argv.pop(1)); import common; "
    script += "common.allow_torchvision() if sys.argv[2].startswith('timm:') else None; "
    script += "from netsmith.cli import main; main()"
    line = [sys.executable, "-c", script, str(common.ROOT / "benchmarks"), *words, "--out", str(folder), "--resume"]
    done = subprocess.run(line, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    found: dict[str, Any] = {"cpu_s": spent, "code": done.returncode}
    if not (folder / "summary.json").is_file():
        return found | {"said": (done.stderr or done.stdout).strip().splitlines()[-1:]}
    return found


def options_of(name: str, args: Any) -> list[str]:
    network = NETWORKS[name]
    weights = common.named(args.weights).get(name, network.weights_file)
    words = ["compress", network.spec, "--data", network.data, "--target", "cpu", "--seed", str(args.seed)]
    words += ["--weights", weights] if weights else []
    return [*words, "--epochs", str(args.epochs)] if network.dataset.startswith("cifar") else words


def bench(name: str, store: Store, args: Any) -> list[list[Any]]:
    runs, words = args.runs / f"front-{name}-e{args.epochs}-s{args.seed}", options_of(name, args)
    settings = {"words": words[1:], "network": name}
    made: dict[str, dict[str, Any]] = {}
    # the first run fills the table of this machine, and is repeated for its time
    filling = [*words[:-1], "0"] if "--epochs" in words else words
    store.cell(f"{name} table", settings, lambda: run(runs / "table", [*filling, "--latency", BUDGETS[name][0]]))
    for budget in BUDGETS[name]:
        line = [*words, "--latency", budget]
        made[budget] = store.cell(f"{name} {budget}", settings, lambda b=budget, w=line: run(runs / b, w))
    line = [*words, "--front", str(args.points)]
    made["front"] = store.cell(f"{name} front", settings | {"points": args.points}, lambda: run(runs / "front", line))
    points = json.loads((runs / "front" / "front.json").read_text())
    files = {"baseline": runs / "front" / "baseline.onnx"}
    files |= {f"front, {p['folder']}": runs / "front" / p["folder"] / "model.onnx" for p in points}
    files |= {b: runs / b / "model.onnx" for b in BUDGETS[name] if (runs / b / "model.onnx").is_file()}
    digests = {k: common.digest(v) for k, v in files.items()}
    timed = store.cell(f"{name} timing", digests, lambda: common.time_interleaved(files, args.threads, args.seconds))
    scores = {f"front, {p['folder']}": p["score"] for p in points}
    singles = {b: json.loads((runs / b / "summary.json").read_text()) for b in BUDGETS[name] if b in files}
    scores |= {b: s["result"]["accuracy"] for b, s in singles.items()}
    base = json.loads((runs / "front" / "summary.json").read_text())["baseline"]["accuracy"]
    return rows_of(name, made, timed, scores | {"baseline": base}, {p["folder"]: p for p in points})


def rows_of(
    name: str, made: dict[str, Any], timed: dict[str, Any], scores: dict[str, float], points: dict[str, Any]
) -> list[list[Any]]:
    ours = sorted((timed[k]["ratio"], scores[k]) for k in timed if k.startswith("front") or k == "baseline")
    x, best = np.array([t for t, _ in ours]), np.maximum.accumulate([s for _, s in ours])
    mean = float(np.mean([m["cpu_s"] for k, m in made.items() if k != "front"]))
    rows = []
    for label, t in timed.items():
        bound, verdict, seconds = "", "", ""
        if label.startswith("front"):
            point = points[label.removeprefix("front, ")]
            bound = f"{100 * point['loss_bound']:.2f}"
        elif label != "baseline":
            there = float(np.interp(t["ratio"], x, best)) if t["ratio"] >= x[0] else float("nan")
            verdict = f"front has {percent(there)} there"
            seconds = f"{made[label]['cpu_s']:.0f}"
        rows.append([name, label, common.ratio_text(t), percent(scores[label]), bound, verdict, seconds])
    spent = made["front"]["cpu_s"]
    rows.append([name, "front, all of it", "", "", "", f"{spent / mean:.2f} times a single run", f"{spent:.0f}"])
    return rows


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--models", nargs="+", default=list(BUDGETS), choices=list(BUDGETS))
    options.add_argument("--weights", nargs="*", default=[], metavar="NETWORK=FILE")
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--points", type=int, default=6)
    options.add_argument("--runs", type=Path, default=common.ROOT / "runs")
    args = options.parse_args()
    if any(NETWORKS[name].spec.startswith("timm:") for name in args.models):
        common.allow_torchvision()
    store, rows = Store(args.results, "front"), []
    for name in args.models:
        rows += bench(name, store, args)
    head = ["network", "", "time / as given", "test score", "bound on the loss, points", "", "processor s"]
    notes = [
        "Score: share of right test images; the bound is exact, paired, at 95 % confidence.",
        f"Fine-tuning: {args.epochs} epochs of the train split at CIFAR-10 (JPEG copy), none at the ImageNet sample.",
        "Processor seconds of one process, the target's table measured before.",
    ]
    store.fragment("A front against single budgets", table(head, rows), args.threads, notes)


if __name__ == "__main__":
    main()

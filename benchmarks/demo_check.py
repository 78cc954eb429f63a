"""``make demo`` in a clone: how long it takes, and whether a stranger's clock agrees with its claim. Some minutes.

The second call shows what the demonstration takes once everything is installed. The files it leaves are timed by
``time_onnx.py``, which knows nothing of netsmith.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import common
from common import Store, table


def make_demo(clone: Path, label: str) -> dict[str, Any]:
    start = time.perf_counter()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(["make", "demo"], cwd=clone, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    print(f"{label}: make demo, exit code {done.returncode}, {seconds:.1f} s")
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-2000:], sep="\n")
    return {"seconds": seconds, "rc": done.returncode}


def stranger(run: Path, args: Any) -> list[dict[str, Any]]:
    script = [sys.executable, str(common.ROOT / "benchmarks/time_onnx.py"), "--json", "--threads", str(args.threads)]
    files = [str(run / "baseline.onnx"), str(run / "model.onnx")]
    rows = json.loads(subprocess.run([*script, *files], capture_output=True, text=True, check=True).stdout)
    return list(rows)


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("clone", type=Path, help="a clone of the repository")
    options.add_argument("--once", action="store_true", help="do not call make demo a second time")
    args = options.parse_args()
    store, run = Store(args.results, "demo_check"), args.clone / "runs/demo"
    fresh = not (args.clone / ".venv").exists()
    calls = {}
    for label in ["first call" + (", installs everything" if fresh else "")] + ([] if args.once else ["again"]):
        calls[label] = make_demo(args.clone, label)
    store.put("calls", {}, calls)
    if any(c["rc"] for c in calls.values()):
        raise SystemExit("make demo failed")
    summary = json.loads((run / "summary.json").read_text())
    timed = stranger(run, args)
    store.put("stranger", {}, timed)
    base, result, claim = summary["baseline"], summary["result"], summary["timing"]
    budget = next(b for b in summary["budgets"] if b["cost"] == "latency")
    rows = [
        ["netsmith, in the run", f"{claim['baseline_median_s'] * 1e3:.4f}", f"{claim['model_median_s'] * 1e3:.4f}",
         f"{claim['ratio']:.3f}", f"{claim['ratio_ci'][0]:.3f} to {claim['ratio_ci'][1]:.3f} (95 %)"],
        ["time_onnx.py, afterwards", f"{timed[0]['median_ms']:.4f}", f"{timed[1]['median_ms']:.4f}",
         f"{timed[1]['ratio']:.3f}", "{:.3f} to {:.3f} (quartiles)".format(*timed[1]["ratio_quartiles"])],
    ]  # fmt: skip
    lines = table(["clock", "before, ms", "after, ms", "ratio", "spread"], rows)
    limit = budget["limit"] / base["latency_measured_s"]
    notes = [
        *(f"make demo, {label}: {c['seconds']:.0f} s." for label, c in calls.items()),
        f"Budget {limit:.2f} of the baseline's latency, {'met' if budget['met'] else 'not met'}; accuracy "
        f"{common.percent(base['accuracy'])} before, {common.percent(result['accuracy'])} after.",
    ]
    store.fragment("The demonstration, by another clock", lines, args.threads, notes)


if __name__ == "__main__":
    main()

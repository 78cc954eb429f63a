"""Does netsmith keep its word? Networks times budgets: met or refused, and how far predictions were off. An hour.

Nothing is fine-tuned: only latency is at stake here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
import numpy as np
from common import NETWORKS, Store, run_compress, table


def cell(name: str, budget: str, args: Any) -> dict[str, Any]:
    from netsmith.jobs import stages as module

    # the sensitivities steer accuracy, which does not count here; the rest is what a user runs
    module.SENSITIVITY_EXAMPLES = args.images
    network = NETWORKS[name]
    outcome = run_compress(
        args.runs / f"promise-{name}-{budget}", model=network.spec, data=network.data, latency=budget, epochs=0,
        weights=common.weights_of(name, None, args.results, args.seed), seed=args.seed, threads=args.threads,
    )  # fmt: skip
    if "infeasible" in outcome:
        return {"outcome": "refused", "reachable_s": outcome["reachable"].get("latency"), "seconds": outcome["seconds"]}
    s = outcome["summary"]
    r, base, first = s["result"], s["baseline"]["latency_measured_s"], s["fidelity"][0]
    return {
        "outcome": "met" if all(b["met"] for b in s["budgets"]) else "missed", "seconds": outcome["seconds"],
        "ratio": s["timing"]["ratio"], "ci": s["timing"]["ratio_ci"], "baseline_ms": base * 1e3,
        "error": abs(r["latency_predicted_s"] - r["latency_measured_s"]) / r["latency_measured_s"],
        "first_error": abs(first["predicted_s"] - first["measured_s"]) / first["measured_s"],
        "attempts": len(s["fidelity"]),
    }  # fmt: skip


def main() -> None:
    options = common.parser(__doc__ or "")
    known = ["cifar_resnet56", "cifar_resnet20", "mobilenet_v2_tf", "squeezenet1_1", "digits"]
    options.add_argument("--models", nargs="+", default=known, choices=list(NETWORKS))
    options.add_argument("--budgets", nargs="+", default=["0.6x", "0.4x", "0.25x"])
    options.add_argument("--images", type=int, default=128, help="images of the sensitivity sweep (netsmith: 512)")
    options.add_argument("--runs", type=Path, default=common.ROOT / "runs")
    args = options.parse_args()
    store, rows, met = Store(args.results, "promise"), [], []
    for name in args.models:
        for budget in args.budgets:
            settings = {"images": args.images, "threads": args.threads, "seed": args.seed}
            c = store.cell(f"{name} {budget}", settings, lambda n=name, b=budget: cell(n, b, args))
            if c["outcome"] == "refused":
                reach = f", least {c['reachable_s'] * 1e3:.3f} ms" if c["reachable_s"] else ""
                rows.append([name, budget, f"exit 3{reach}", "", "", "", "", "", f"{c['seconds'] / 60:.1f}"])
                continue
            met.append(c)
            rows.append([
                name, budget, c["outcome"], f"{c['baseline_ms']:.3f}",
                f"{c['ratio']:.3f} ({c['ci'][0]:.3f} to {c['ci'][1]:.3f})",
                f"{c['ratio'] / float(budget.rstrip('x')):.3f}", f"{100 * c['error']:.1f} %",
                f"{100 * c['first_error']:.1f} %", f"{c['seconds'] / 60:.1f}",
            ])  # fmt: skip
    lines = table(
        ["network", "budget", "outcome", "baseline, ms", "measured / baseline", "measured / budget", "prediction error",
         "of the first design", "minutes"],
        rows,
    )  # fmt: skip
    kept = sum(c["outcome"] == "met" for c in met)
    lines += ["", f"Met {kept}, missed {len(met) - kept}, refused {len(rows) - len(met)} of {len(rows)}."]
    if met:
        a, b = (np.median([c[k] for c in met]) for k in ("error", "first_error"))
        lines[-1] += f" Median prediction error {100 * a:.1f} %, of the first design of a search {100 * b:.1f} %."
    notes = [
        "Outcome and ratio: as the run itself measured and judged. exit 3: refused, with the smallest latency reached.",
        "Prediction error: predicted against measured latency of the delivered network; its prediction was corrected "
        "by the designs measured before it. First design: the prediction before any design of the search was measured.",
        f"Methods prune and quantize, no fine-tuning, sensitivities on {args.images} images.",
    ]
    store.fragment("Budgets: met or refused", lines, args.threads, notes)


if __name__ == "__main__":
    main()

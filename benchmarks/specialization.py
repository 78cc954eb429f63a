"""Bits tuned for one accelerator, priced on others: MobileNetV2, ImageNet sample, without training. Some ten minutes.

For every target the design of least latency whose summed loss stays within one bound, found exactly; all designs then
lose about the same, and what they cost on the other targets shows whether one policy would do for all. As in HAQ (Wang
et al., CVPR 2019, table 6).
"""

from __future__ import annotations

import argparse
from typing import Any

import common
import numpy as np
from common import NETWORKS, Store, percent, table
from contest import Case

from netsmith.network.layers import KIND


def tuned(case: Case, targets: list[str], loss: Any, bound: float) -> dict[str, list[int]]:
    """For each target the design of least latency with at most ``bound`` summed loss."""
    from netsmith.decisions.pricing import Pricing
    from netsmith.hardware.target import get_target
    from netsmith.search.solver.exact import minimise_cost
    from netsmith.search.strategy import Problem
    from netsmith.space import CostTable

    space = case.subject.space
    found = {}
    for name in targets:
        latency = Pricing(space, get_target(name)).table("latency", space.reference)
        problem = Problem(
            loss, {"latency": latency, "loss": CostTable(0.0, loss)}, {"loss": bound}, space.decisions.tied
        )
        found[name] = minimise_cost(problem, "latency", within=("loss",))[1].tolist()
    return found


def kinds_of(case: Case) -> dict[str, Any]:
    """Which rows are depthwise and pointwise convolutions, ``(L,)`` each."""
    rows = case.subject.graph.layers
    pointwise = (rows.kind == KIND["conv"]) & (rows.kernel_h == 1) & (rows.groups == 1)
    return {"depthwise": rows.is_depthwise, "pointwise": pointwise}


def scored(case: Case, targets: list[str], design: Any) -> dict[str, Any]:
    """Accuracy of a design on the test split, its latency on every target over that at 8 bits, its mean bits."""
    from netsmith.decisions.pricing import Pricing
    from netsmith.hardware.target import get_target

    space, x = case.subject.space, np.array(design)
    rows = space.rows(x)
    latency = {}
    for name in targets:
        pricing = Pricing(space, get_target(name))
        latency[name] = float(pricing.predict(x)[0] / pricing.predict(space.reference)[0])
    return {
        "latency": latency,
        "bits": {
            k: [float(rows.w_bits[0, m].mean()), float(rows.a_bits[0, m].mean())] for k, m in kinds_of(case).items()
        },
        "divergence": case.evaluator.outcomes(x)[0].loss,
        "test_accuracy": case.test_accuracy(case.built(x)),
    }


def intensity(case: Case, targets: list[str]) -> dict[str, Any]:
    """Share of layers bound by memory at 8 bits, depthwise and pointwise."""
    from netsmith.hardware.target import as_run, get_target

    table_ = case.subject.graph.layers
    found = {}
    for name in targets:
        target = get_target(name)
        bound = target.cost(as_run(table_, target.capabilities)).bound
        if bound is not None:
            memory = np.asarray(bound) == "memory"
            found[name] = [float(memory[m].mean()) for m in kinds_of(case).values()]
    return found


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--network", default="mobilenet_v2_tf", choices=list(NETWORKS))
    options.add_argument("--targets", nargs="+", default=["bitfusion", "bismo-edge", "bismo-cloud"])
    options.add_argument("--images", type=int, default=64, help="of the search split, for sensitivities")
    options.add_argument("--uniform", type=int, default=5, help="bits whose summed loss is the bound of all designs")
    args = options.parse_args()
    store = Store(args.results, "specialization")
    shared = argparse.Namespace(weights=[], images=args.images, test_images=0)
    case = Case(shared, args.network, args.seed, measure="fisher")
    settings = {"images": args.images, "targets": args.targets, "uniform": args.uniform}
    loss = case.sensitivity(store).loss
    space = case.subject.space
    sizes = space.decisions.sizes
    even = np.minimum(args.uniform - 2, sizes - 1)
    bound = float(loss[np.arange(len(even)), even].sum())
    found = store.cell("designs", settings, lambda: tuned(case, args.targets, loss, bound))
    found |= {f"uniform {args.uniform} bits": even.tolist(), "8 bits": space.reference.tolist()}
    scores = {n: store.cell(f"score {n}", settings | {"design": d}, lambda d=d: scored(case, args.targets, d))
              for n, d in found.items()}  # fmt: skip
    given = store.cell("given", settings, lambda: case.test_accuracy(case.subject.graph.module))
    memory = store.cell("bound", settings, lambda: intensity(case, args.targets))
    head = ["tuned for", *(f"latency on {t}" for t in args.targets), "test accuracy", "divergence",
            "depthwise, w / a bits", "pointwise, w / a bits"]  # fmt: skip
    rows = []
    for name, s in scores.items():
        cells = []
        for t in args.targets:
            least = min(scores[other]["latency"][t] for other in args.targets)
            value = f"{s['latency'][t]:.3f}x"
            cells.append(f"**{value}**" if s["latency"][t] <= least * (1 + 1e-9) else value)
        bits = [f"{s['bits'][k][0]:.2f} / {s['bits'][k][1]:.2f}" for k in ("depthwise", "pointwise")]
        rows.append([name, *cells, percent(s["test_accuracy"]), f"{s['divergence']:.3f}", *bits])
    notes = [
        f"All tuned designs have at most the summed loss of {args.uniform} bits everywhere ({bound:.3f} nats, first "
        "and last layer at 8 bits); each has the least latency on its target, proven. Latency as a share of that with "
        "every layer at 8 bits; the least of a column is bold. Simulated targets.",
        f"As given, in floats: {percent(given)}. No training; {args.images} images of the search split; Fisher "
        "information for weights, measured divergence for inputs.",
        "Layers bound by memory at 8 bits, depthwise and pointwise: "
        + ", ".join(f"{t} {100 * a:.0f} % and {100 * b:.0f} %" for t, (a, b) in memory.items()) + ".",
    ]  # fmt: skip
    store.fragment("A policy for each accelerator", table(head, rows), args.threads, notes)


if __name__ == "__main__":
    main()

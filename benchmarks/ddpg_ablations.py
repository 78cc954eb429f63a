"""What each part of HAQ's agent buys: one problem, one change at a time. A minute a cell.

ResNet-20 on CIFAR-10 (JPEG copy), latency on a bit-serial accelerator, as in ``mixed_precision.py``: designs are run on
images of the search split without training, and what counts is the least divergence that was found.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import common
import numpy as np
from common import Store, table
from contest import Case
from mixed_precision import problem_of

VARIANTS: dict[str, dict[str, Any]] = {
    "as by default": {},
    "reward on the last step only": {"reward_on": "last"},
    "discount 0": {"discount": 0.0},
    "no moving-average baseline": {"baseline": False},
    "a gradient step for every transition": {"updates": 1.0},
    "projection by loss and cost (reads sensitivities)": {"rule": "cheapest"},
}


def run(case: Case, problem: Any, options: dict[str, Any], episodes: int) -> dict[str, Any]:
    """The best divergence after 80, 160, ... episodes, and the mean of the last tenth."""
    from dataclasses import replace

    from netsmith.search.agents.ddpg import DdpgConfig
    from netsmith.search.registry import get_strategy
    from netsmith.study.facts import Facts
    from netsmith.study.study import minimize
    from netsmith.systems.haq import REWARD_A_NAT, features

    space = case.subject.space
    given = dict(options)
    config = DdpgConfig()
    if "updates" in given:
        config = replace(config, updates=given.pop("updates"))
    layers, kinds = Facts(space).layers, [d.kind for d in space.decisions.decisions]
    seen = {"features": features(layers.table, layers.rows, kinds), "reward_scale": REWARD_A_NAT}
    strategy = get_strategy(
        "ddpg", problem, space.decisions, case.seed, config=config, **(seen | given),
    )  # fmt: skip
    start = time.perf_counter()
    history = minimize(
        problem, strategy, lambda x: np.array([o.loss for o in case.evaluator.outcomes(x)]), episodes, batch=1
    )
    best = np.minimum.accumulate(history.loss)
    return {
        "after": [float(best[min(n, episodes) - 1]) for n in (80, 160, 320)],
        "late": float(history.loss[-episodes // 10 :].mean()), "seconds": time.perf_counter() - start,
    }  # fmt: skip


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--weights", nargs="*", default=[], metavar="NETWORK=FILE", help="fine-tuned baseline")
    options.add_argument("--target", default="bismo-edge")
    options.add_argument("--budget", type=float, default=0.35)
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--images", type=int, default=128)
    options.add_argument("--episodes", type=int, default=320)
    args = options.parse_args()
    store = Store(args.results, "ddpg_ablations")
    shared = argparse.Namespace(weights=args.weights, images=args.images, test_images=0)
    settings = {k: getattr(args, k) for k in ("target", "budget", "images", "episodes")}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    for seed in args.seeds:
        case = Case(shared, "cifar_resnet20", seed, measure="fisher")
        problem = problem_of(case, args.target, "latency", args.budget, case.sensitivity(store).loss)
        for name, change in VARIANTS.items():
            compute = partial(run, case, problem, change, args.episodes)
            found[name].append(store.cell(f"{name} s{seed}", settings, compute))
    head = ["agent", "best after 80", "160", "320", "mean of the last tenth", "seconds"]
    rows = []
    for name, cells in found.items():
        figures = [[c["after"][i] for c in cells] for i in range(3)] + [[c["late"] for c in cells]]
        rows.append([
            name, *(f"{np.median(f):.3f} ({min(f):.3f} to {max(f):.3f})" for f in figures),
            f"{np.median([c['seconds'] for c in cells]):.0f}",
        ])  # fmt: skip
    notes = [
        f"Divergence in nats, median of {len(args.seeds)} seeds, least and greatest in brackets; {args.images} images "
        f"of the search split; latency at most {args.budget:g} of that at 8 bits on {args.target} (simulated).",
    ]
    store.fragment("HAQ's agent, a part at a time", table(head, rows), args.threads, notes)


if __name__ == "__main__":
    main()

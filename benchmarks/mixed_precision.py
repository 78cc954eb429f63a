"""Bits of every layer by five strategies on simulated accelerators, CIFAR-10 (JPEG copy). About a minute a cell.

One problem for all: the weights and the input of every layer at 2 to 8 bits, first and last layer at 8; budgets are
shares of the network's cost at 8 bits. A strategy proposes designs, each is run on images of the search split without
training, the one with the least divergence from the given network is kept and scored on the test split once. ``--tune``
trains the kept designs. Seeds draw other images of the search split and other random numbers.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import contest
import numpy as np
from common import Store, percent, table
from contest import HEAD, Case, compete, summary_of, verdict

#: designs that each strategy may evaluate
EVALUATIONS = {"uniform": 8, "random": 80, "evolution": 120, "ddpg": 320, "exact": 16}
#: who is compared with whom below the tables
PAIRS = (("exact", "ddpg"), ("exact", "evolution"), ("exact", "uniform"), ("ddpg", "uniform"), ("ddpg", "random"))


def problem_of(case: Case, target: str, cost: str, budget: float, loss: Any) -> Any:
    from netsmith.decisions.pricing import Pricing
    from netsmith.hardware.target import get_target
    from netsmith.search.strategy import Problem

    space = case.subject.space
    pricing = Pricing(space, get_target(target))
    prices = pricing.table(cost, space.reference)
    limit = budget * float(prices.price(space.reference)[0])
    return Problem(loss, {cost: prices}, {cost: limit}, space.decisions.tied)


def tune(case: Case, design: Any, folder: Path) -> dict[str, Any]:
    """Quantization-aware training of a kept design; test accuracy at its end."""
    from netsmith.compression.mixed import quantize_mixed
    from netsmith.jobs.config import FineTune
    from netsmith.jobs.recover import train_quantized
    from netsmith.progress import Lines

    subject, bits = case.subject, case.subject.space.bits(design)
    start = time.perf_counter()
    how = FineTune(epochs=case.args.tune, lr=case.args.lr)
    graph, quantizer, _, _ = train_quantized(
        subject.model, subject.graph, bits, case.quantizer, teacher=subject.model, task=case.training_task(),
        tune=how, seed=case.seed, checkpoint=folder / "checkpoint.safetensors", progress=Lines(),
    )  # fmt: skip
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    accuracy = case.test_accuracy(quantize_mixed(graph, bits, quantizer).graph.module)
    return {"test_accuracy": accuracy, "seconds": time.perf_counter() - start}


def main() -> None:
    options = contest.parser(__doc__ or "", ["cifar_resnet20"], EVALUATIONS, images=256, lr=0.01)
    options.add_argument("--targets", nargs="+", default=["bitfusion", "bismo-edge", "bismo-cloud"])
    options.add_argument("--costs", nargs="+", default=["latency", "energy"])
    options.add_argument("--budgets", nargs="+", type=float, default=[0.7, 0.5, 0.35, 0.25])
    args = options.parse_args()
    store = Store(args.results, "mixed_precision")
    if not args.only_table:
        for network in args.networks:
            for seed in args.seeds:
                fill(store, args, Case(args, network, seed))
    write(store, args)


def fill(store: Store, args: Any, case: Case) -> None:
    """Every cell of one network and seed."""
    loss = case.sensitivity(store).loss
    given = f"given {case.network}"
    store.cell(given, {}, lambda: case.test_accuracy(case.subject.graph.module))
    for target in args.targets:
        for cost in args.costs:
            for budget in args.budgets:
                problem = problem_of(case, target, cost, budget, loss)
                for strategy in args.strategies:
                    key = f"{case.network} {target} {cost} {budget:g} {strategy} s{case.seed}"
                    settings = {"images": args.images, "evaluations": EVALUATIONS[strategy], "test": args.test_images}
                    found = store.cell(key, settings, lambda s=strategy, p=problem: compete(case, p, s, EVALUATIONS[s]))
                    if not args.tune or "design" not in found:
                        continue
                    training = {
                        "epochs": args.tune,
                        "images": args.tune_images,
                        "lr": args.lr,
                        "design": found["design"],
                    }
                    design = np.array(found["design"])
                    store.cell(f"tuned {key}", training, lambda d=design: tune(case, d, args.results))


def write(store: Store, args: Any) -> None:
    lines: list[str] = []
    for network in args.networks:
        for cost in args.costs:
            for target in args.targets:
                rows = [
                    r for budget in args.budgets for r in rows_of(store, args, f"{network} {target} {cost} {budget:g}")
                ]
                if rows:
                    lines += ["", f"### {network}, {target}, {cost}", "", *table(["budget", "strategy", *HEAD], rows)]
    given = {n: store.cells[f"given {n}"]["value"] for n in args.networks if f"given {n}" in store.cells}
    notes = [
        f"Test accuracy: {args.test_images or 'all'} images of the test split; of the networks as given, in floats: "
        + ", ".join(f"{n} {percent(v)}" for n, v in given.items()) + ".",
        "Median over seeds, least to greatest in brackets. Divergence: mean KL divergence of the outputs from those of "
        f"the network as given, {args.images} images of the search split, nats. Evaluations are designs that were run "
        "on these images; what sensitivities cost (once a network, shared by all targets and budgets) is not in the "
        "seconds: " + ", ".join(sensitivity_cost(store, args)) + ". exact, evolution and uniform start from them, ddpg "
        "and random do not read them.",
        "Budgets are shares of the cost with every layer at 8 bits. Simulated targets: costs are modelled, no time was "
        "measured. Bit Fusion as published moves 32-bit sums to and from main memory whatever the widths, and on these "
        "networks that is most of its time and energy: even 2 bits everywhere reach only about 0.75x.",
    ]  # fmt: skip
    notes += verdict(store, args.networks, PAIRS)
    store.fragment("Mixed precision: strategies at equal budgets", lines, args.threads, notes)


def sensitivity_cost(store: Store, args: Any) -> list[str]:
    cells = [store.cells.get(f"sensitivity {n} s{args.seeds[0]}", {}).get("value") for n in args.networks]
    return [f"{n} {c['candidates']} choices in {c['seconds']:.0f} s" for n, c in zip(args.networks, cells) if c]


def rows_of(store: Store, args: Any, prefix: str) -> list[list[Any]]:
    """One row a strategy, medians over the seeds that are there."""
    rows: list[list[Any]] = []
    lacking: list[str] = []
    budget = f"{prefix.rsplit(' ', 1)[1]}x"
    for strategy in args.strategies:
        cells = summary_of(store, f"{prefix} {strategy}", args.seeds)
        if cells:
            rows.append([budget, strategy, *cells])
        elif cells is None:
            lacking.append(strategy)
    if lacking:
        who = "all strategies" if len(lacking) == len(args.strategies) else ", ".join(lacking)
        rows.append([budget, f"{who}: cannot be met", *[""] * len(HEAD)])
    return rows


if __name__ == "__main__":
    main()

"""Bits of every layer by five strategies on simulated accelerators, CIFAR-10 (JPEG copy). About a minute a cell.

One problem for all: the weights and the input of every layer at 2 to 8 bits, first and last layer at 8; budgets are
shares of the network's cost at 8 bits. A strategy proposes designs, each is run on images of the search split without
training, the one with the least divergence from the given network is kept and scored on the test split once. ``--tune``
trains the kept designs. Seeds draw other images of the search split and other random numbers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import NETWORKS, Store, percent, table

#: designs that each strategy may evaluate
EVALUATIONS = {"uniform": 8, "random": 80, "evolution": 120, "ddpg": 320, "exact": 16}
CALIBRATION = 256


@dataclass
class Case:
    """One network with images drawn by a seed; what does not depend on the target is computed once."""

    args: Any
    network: str
    seed: int
    measure: str = "loss"  #: of sensitivities

    @cached_property
    def subject(self) -> Any:
        from netsmith.hardware.target import get_target
        from netsmith.jobs.subject import load_subject

        net = NETWORKS[self.network]
        weights = dict(pair.split("=", 1) for pair in self.args.weights).get(self.network, net.weights_file)
        return load_subject(net.spec, net.data, get_target("bismo-edge"), weights=weights, methods=("quantize",))

    @cached_property
    def images(self) -> tuple[Any, Any]:
        import torch

        split = self.subject.data.search
        chosen = np.sort(np.random.default_rng(self.seed).permutation(len(split))[: self.args.images])
        batches = list(split.take(chosen).batches(256, normalise=self.subject.data.normalisation))
        return torch.cat([b[0] for b in batches]), torch.cat([b[1] for b in batches])

    @cached_property
    def quantizer(self) -> Any:
        from netsmith.compression.build import quantizer_for

        graph, bits = self.subject.graph, dict.fromkeys(self.subject.choices.layers, (8, 8))
        return quantizer_for(graph, bits, self.subject.search_images(CALIBRATION)[0], "mse")

    @cached_property
    def candidates(self) -> Any:
        from netsmith.accuracy.candidates import Candidates
        from netsmith.compression.quantize import Calibration

        return Candidates(self.subject.choices, Calibration({}), self.quantizer, {})

    @cached_property
    def evaluator(self) -> Any:
        from netsmith.accuracy.designs import DesignEvaluator
        from netsmith.accuracy.incremental import IncrementalEvaluator

        return DesignEvaluator(self.candidates, IncrementalEvaluator(self.subject.graph, *self.images))

    def sensitivity(self, store: Store) -> Any:
        from netsmith.accuracy.sensitivity import Sensitivity, measure_sensitivity

        def compute() -> Any:
            return measure_sensitivity(self.candidates, self.evaluator.evaluator, measure=self.measure).to_dict()

        key = f"sensitivity {self.network} s{self.seed}"
        return Sensitivity.from_dict(store.cell(key, {"images": self.args.images}, compute))

    def quantized(self, design: Any) -> Any:
        from netsmith.compression.mixed import quantize_mixed

        return quantize_mixed(self.subject.graph, self.subject.choices.bits(design), self.quantizer)

    def test_accuracy(self, module: Any) -> float:
        from netsmith.training.score import evaluate

        data = self.subject.data
        split = data.test.take(slice(0, self.args.test_images)) if self.args.test_images else data.test
        return evaluate(module, split, normalisation=data.normalisation)[0]


def problem_of(case: Case, target: str, cost: str, budget: float, loss: Any) -> Any:
    from netsmith.compression.pricing import Pricing
    from netsmith.hardware.target import get_target
    from netsmith.search.strategy import Problem

    choices = case.subject.choices
    pricing = Pricing(choices, get_target(target))
    prices = pricing.table(cost, choices.original)
    limit = budget * float(prices.price(choices.original)[0])
    return Problem(loss, {cost: prices}, {cost: limit}, choices.space.tied)


def run(case: Case, problem: Any, strategy: str) -> dict[str, Any]:
    """One strategy's search: the design that it keeps, and how the best loss fell."""
    from netsmith.errors import InfeasibleError
    from netsmith.jobs.proposals import agent_options
    from netsmith.search.loop import minimize
    from netsmith.search.registry import get_strategy

    choices = case.subject.choices
    options = agent_options(strategy, choices)
    start, fresh = time.perf_counter(), case.evaluator.evaluated

    def evaluate(designs: Any) -> Any:
        return np.array([e.divergence for e in case.evaluator.evaluate(designs)])

    try:
        chosen = get_strategy(strategy, problem, choices.space, case.seed, **options)
        history = minimize(problem, chosen, evaluate, EVALUATIONS[strategy], batch=1 if strategy == "ddpg" else 8)
    except InfeasibleError as error:
        return {"infeasible": {k: float(v) for k, v in error.reachable.items()}}
    seconds = time.perf_counter() - start
    best = case.evaluator.evaluate(history.best)[0]
    cost, limit = next(iter(problem.budgets.items()))
    return {
        "design": history.best.tolist(), "divergence": best.divergence, "search_accuracy": best.accuracy,
        "cost": float(problem.price(history.best)[cost][0]) / limit, "seconds": seconds,
        "evaluations": len(history.loss), "fresh": case.evaluator.evaluated - fresh,
        "best_after": np.minimum.accumulate(history.loss).tolist(),
        "bound": float(chosen.solutions[0].bound) if getattr(chosen, "solutions", None) else None,
        "test_accuracy": case.test_accuracy(case.quantized(history.best).graph.module),
    }  # fmt: skip


def tune(case: Case, design: Any, folder: Path) -> dict[str, Any]:
    """Quantization-aware training of a kept design; test accuracy at its end."""
    from netsmith.compression.mixed import quantize_mixed
    from netsmith.jobs.recover import train_quantized
    from netsmith.progress import Lines

    subject, bits = case.subject, case.subject.choices.bits(design)
    start = time.perf_counter()
    data = subject.data
    if case.args.tune_images:
        import dataclasses

        data = dataclasses.replace(data, train=data.need_train().take(slice(0, case.args.tune_images)))
    config = {"epochs": case.args.tune, "lr": case.args.lr, "seed": case.seed}
    graph, quantizer, _, _ = train_quantized(
        subject.model, subject.graph, bits, case.quantizer, teacher=subject.model, data=data, config=config,
        checkpoint=folder / "checkpoint.safetensors", progress=Lines(),
    )  # fmt: skip
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    accuracy = case.test_accuracy(quantize_mixed(graph, bits, quantizer).graph.module)
    return {"test_accuracy": accuracy, "seconds": time.perf_counter() - start}


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--networks", nargs="+", default=["cifar_resnet20"])
    options.add_argument("--weights", nargs="*", default=[], metavar="NETWORK=FILE", help="fine-tuned baselines")
    options.add_argument("--targets", nargs="+", default=["bitfusion", "bismo-edge", "bismo-cloud"])
    options.add_argument("--costs", nargs="+", default=["latency", "energy"])
    options.add_argument("--budgets", nargs="+", type=float, default=[0.7, 0.5, 0.35, 0.25])
    options.add_argument("--strategies", nargs="+", default=list(EVALUATIONS))
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--images", type=int, default=256, help="of the search split, for every evaluation")
    options.add_argument("--test-images", type=int, default=0, help="the first so many of the test split; 0 for all")
    options.add_argument("--tune", type=int, default=0, metavar="EPOCHS", help="train the kept designs")
    options.add_argument("--tune-images", type=int, default=0, help="of the train split; 0 for all")
    options.add_argument("--lr", type=float, default=0.01)
    options.add_argument("--only-table", action="store_true", help="write the tables of the cells that there are")
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
                    found = store.cell(key, settings, lambda s=strategy, p=problem: run(case, p, s))
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
                    head = ["budget", "strategy", "seeds", "evaluations", "seconds", "divergence", "test accuracy",
                            "best tuned", "share of budget used"]  # fmt: skip
                    lines += ["", f"### {network}, {target}, {cost}", "", *table(head, rows)]
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
    store.fragment("Mixed precision: strategies at equal budgets", lines, args.threads, notes + verdict(store, args))


def sensitivity_cost(store: Store, args: Any) -> list[str]:
    cells = [store.cells.get(f"sensitivity {n} s{args.seeds[0]}", {}).get("value") for n in args.networks]
    return [f"{n} {c['candidates']} choices in {c['seconds']:.0f} s" for n, c in zip(args.networks, cells) if c]


def rows_of(store: Store, args: Any, prefix: str) -> list[list[Any]]:
    """One row a strategy, medians over the seeds that are there."""
    rows: list[list[Any]] = []
    lacking: list[str] = []
    budget = f"{prefix.rsplit(' ', 1)[1]}x"
    for strategy in args.strategies:
        keys = [f"{prefix} {strategy} s{seed}" for seed in args.seeds]
        found = [store.cells[k]["value"] for k in keys if k in store.cells]
        if not found:
            continue
        done = [f for f in found if "design" in f]
        if not done:
            lacking.append(strategy)
            continue
        tuned = [store.cells[f"tuned {k}"]["value"]["test_accuracy"] for k in keys if f"tuned {k}" in store.cells]
        rows.append([
            budget, strategy, len(done), f"{np.median([f['evaluations'] for f in done]):.0f}",
            f"{np.median([f['seconds'] for f in done]):.0f}", spread([f["divergence"] for f in done], "{:.3f}"),
            spread([100 * f["test_accuracy"] for f in done], "{:.2f} %"),
            spread([100 * t for t in tuned], "{:.2f} %") if tuned else "",
            spread([f["cost"] for f in done], "{:.3f}"),
        ])  # fmt: skip
    if lacking:
        who = "all strategies" if len(lacking) == len(args.strategies) else ", ".join(lacking)
        rows.append([budget, f"{who}: cannot be met", *[""] * 7])
    return rows


def spread(values: list[float], form: str) -> str:
    middle = form.format(np.median(values))
    return middle if len(values) == 1 else f"{middle} ({min(values):.4g} to {max(values):.4g})"


def verdict(store: Store, args: Any) -> list[str]:
    """How often each strategy's kept design diverges less than another's, over all cells that both have."""
    values: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for key, cell in store.cells.items():
        *prefix, strategy, seed = key.split()
        if strategy in EVALUATIONS and len(prefix) == 4 and "design" in cell["value"] and prefix[0] in args.networks:
            values.setdefault((" ".join(prefix), seed), {})[strategy] = cell["value"]
    notes = []
    for a, b in (
        ("exact", "ddpg"),
        ("exact", "evolution"),
        ("exact", "uniform"),
        ("ddpg", "uniform"),
        ("ddpg", "random"),
    ):
        both = [v for v in values.values() if a in v and b in v]
        if both:
            wins = sum(v[a]["divergence"] <= v[b]["divergence"] for v in both)
            points = np.median([100 * (v[a]["test_accuracy"] - v[b]["test_accuracy"]) for v in both])
            notes.append(
                f"{a} against {b}: no greater divergence in {wins} of {len(both)} cells; median difference of test "
                f"accuracy {points:+.2f} points."
            )
    return notes


if __name__ == "__main__":
    main()

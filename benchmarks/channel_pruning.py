"""Channels of every layer by the published strategies at equal cost, CIFAR-10 (JPEG copy). Minutes a cell.

One problem for all: the width of each channel group, in eighths; nothing is quantized, no block is dropped. A strategy
proposes designs, each is run on images of the search split without training (channels chosen by one criterion, weights
repaired by least squares), the one with the least divergence from the given network is kept and scored on the test
split once. ``--tune`` trains the kept designs alike. Torch-Pruning ranks the channels of the same groups by itself.
Seeds draw other images of the search split, other random numbers and another order of training.

As in the papers, batch norms keep their statistics until training. ``--settle`` estimates them again for every design,
in the search and before the test split, as the main job does; its table is another.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import contest
import numpy as np
from common import Store, percent, table
from contest import HEAD, Case, compete, spread, summary_of, verdict

from netsmith.jobs.tools import groups_of

#: designs that each strategy may evaluate; the ramps and uniform widths have few that fill the budget, netadapt
#: ends by itself
EVALUATIONS = {"uniform": 8, "shallow": 8, "deep": 8, "netadapt": 5000, "random": 320, "evolution": 320, "amc": 320,
               "exact": 16}  # fmt: skip
PAIRS = (
    ("exact", "amc"),
    ("exact", "evolution"),
    ("exact", "uniform"),
    ("amc", "uniform"),
    ("amc", "random"),
    ("amc", "netadapt"),
)
MULTIPLIER, SCRATCH_LR = "width multiplier, from scratch", 0.1
PEERS = {"Torch-Pruning, global": {"isomorphic": False}, "Torch-Pruning, isomorphic": {"isomorphic": True}}


class Widths(Case):
    """A network whose channel groups are decisions, and nothing else."""

    methods: ClassVar[tuple[str, ...]] = ("prune",)

    @cached_property
    def subject(self) -> Any:
        from netsmith.decisions.channels import Channels
        from netsmith.decisions.given import GivenSpace

        whole = super().subject
        space = GivenSpace(whole.graph, (Channels(whole.graph, self.prunable(groups_of(whole))),))
        return dataclasses.replace(whole, space=space)

    def prunable(self, report: Any) -> Any:
        """What of the network's channel groups is to choose."""
        return report

    def built(self, design: Any) -> Any:
        from netsmith.training.batchnorm import settle_batch_norm

        model = self.pruning.slim(np.asarray(design)).model
        if self.settle:
            settle_batch_norm(model, self.subject.task)
        return model


def problem_of(case: Case, cost: str, budget: float, loss: Any) -> Any:
    from netsmith.decisions.pricing import Pricing
    from netsmith.hardware.target import get_target
    from netsmith.search.strategy import Problem

    space = case.subject.space
    prices = Pricing(space, get_target("bismo-edge")).table(cost, space.reference)
    limit = budget * float(prices.price(space.reference)[0])
    return Problem(loss, {cost: prices}, {cost: limit}, space.decisions.tied)


def train(case: Case, model: Any, lr: float | None = None) -> dict[str, Any]:
    """Fine-tuning as the main job does it, taught by the given network; test accuracy at its end."""
    from tempfile import TemporaryDirectory

    from netsmith.jobs.config import FineTune
    from netsmith.jobs.recover import fine_tune
    from netsmith.progress import Lines

    start, args = time.perf_counter(), case.args
    tune = FineTune(epochs=args.tune, lr=lr or args.lr)
    with TemporaryDirectory() as folder:
        fine_tune(
            model, teacher=case.subject.model, task=case.training_task(), tune=tune, seed=case.seed,
            checkpoint=Path(folder) / "checkpoint.safetensors", progress=Lines(),
        )  # fmt: skip
    return {"test_accuracy": case.test_accuracy(model), "seconds": time.perf_counter() - start}


def ranked(case: Widths, budget: float, tuned: bool, isomorphic: bool) -> dict[str, Any]:
    """What Torch-Pruning's ranking over all layers leaves of the same groups, with at most that share of the MACs."""
    from peer_tools import prune_to_macs

    subject = case.subject
    free = {m.layer for g in groups_of(subject).groups for m in g.outputs}
    model, macs = prune_to_macs(subject.model, subject.graph.input_shape, budget, isomorphic, free)
    found = {"macs": macs, "test_accuracy": case.test_accuracy(model)}
    return found | ({"tuned": train(case, model)} if tuned else {})


def from_scratch(case: Widths, found: dict[str, Any], budget: float) -> dict[str, Any]:
    """A network of uniform widths without the given weights: what a width multiplier is."""
    import torch

    model = case.built(found["design"])
    torch.manual_seed(case.seed)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    before = case.test_accuracy(model)
    return {"macs": found["cost"] * budget, "test_accuracy": before, "tuned": train(case, model, SCRATCH_LR)}


def main() -> None:
    options = contest.parser(__doc__ or "", ["cifar_resnet56", "plain20"], EVALUATIONS, images=512, lr=0.03)
    options.add_argument("--cost", default="macs")
    options.add_argument("--budgets", nargs="+", type=float, default=[0.5])
    options.add_argument(
        "--peers", action=argparse.BooleanOptionalAction, default=True, help="other tools, and training from scratch"
    )
    options.add_argument("--importance", default="l2")
    options.add_argument("--settle", action="store_true", help="batch norms estimated again for every design")
    args = options.parse_args()
    store = Store(args.results, f"channel_pruning{'_settled' if args.settle else ''}")
    if not args.only_table:
        for network in args.networks:
            for seed in args.seeds:
                fill(store, args, Widths(args, network, seed))
    write(store, args)


def fill(store: Store, args: Any, case: Widths) -> None:
    """Every cell of one network and seed."""
    loss = case.sensitivity(store, importance=args.importance).loss
    store.cell(f"given {case.network}", {}, lambda: case.test_accuracy(case.subject.graph.module))
    common_settings = {"images": args.images, "importance": args.importance, "test": args.test_images}
    training = {"epochs": args.tune, "images": args.tune_images, "lr": args.lr}
    for budget in args.budgets:
        problem = problem_of(case, args.cost, budget, loss)
        prefix = f"{case.network} {args.cost} {budget:g}"
        for strategy in args.strategies:
            key, n = f"{prefix} {strategy} s{case.seed}", EVALUATIONS[strategy]
            search = partial(compete, case, problem, strategy, n)
            found = store.cell(key, {**common_settings, "evaluations": n}, search)
            if args.tune and "design" in found:
                tune = partial(train, case, case.built(found["design"]))
                store.cell(f"tuned {key}", {**training, "design": found["design"]}, tune)
        uniform = store.cells.get(f"{prefix} uniform s{case.seed}", {}).get("value", {})
        if args.tune and args.peers and "design" in uniform:
            scratch = partial(from_scratch, case, uniform, budget)
            settings = {**training, "lr": SCRATCH_LR, "design": uniform["design"], "test": args.test_images}
            store.cell(f"{prefix} {MULTIPLIER} s{case.seed}", settings, scratch)
        for name, how in PEERS.items() if args.peers and args.cost == "macs" else ():
            key = f"{prefix} {name} s{case.seed}"
            peer = partial(ranked, case, budget, args.tune, **how)
            store.cell(key, {"test": args.test_images, **training}, peer)


def write(store: Store, args: Any) -> None:
    lines: list[str] = []
    for network in args.networks:
        for budget in args.budgets:
            prefix = f"{network} {args.cost} {budget:g}"
            rows: list[list[Any]] = []
            for strategy in args.strategies:
                cells = summary_of(store, f"{prefix} {strategy}", args.seeds)
                if cells is None:
                    rows.append([f"{strategy}: cannot be met", *[""] * len(HEAD)])
                elif cells:
                    rows.append([strategy, *cells])
            rows += [row for name in (MULTIPLIER, *PEERS) if (row := peer_row(store, args, f"{prefix} {name}", budget))]
            if rows:
                lines += ["", f"### {network}, {budget:g}x {args.cost}", "", *table(["strategy", *HEAD], rows)]
    given = {n: store.cells[f"given {n}"]["value"] for n in args.networks if f"given {n}" in store.cells}
    spent = [store.cells.get(f"sensitivity {n} s{args.seeds[0]}", {}).get("value") for n in args.networks]
    notes = [
        "Search accuracy: on the images that designs are evaluated on, before training. Test accuracy: "
        f"{args.test_images or 'all'} images of the test split, before training; of the networks as "
        "given: " + ", ".join(f"{n} {percent(v)}" for n, v in given.items())
        + f". Fine-tuned: {args.tune} epochs on {args.tune_images or 'all'} images of the train split, learning rate "
        f"{args.lr:g}, taught by the given network, the same for every row.",
        "Median over seeds, least to greatest in brackets. Divergence: mean KL divergence of the outputs from those of "
        f"the network as given, {args.images} images of the search split, nats. Channels by {args.importance}, weights "
        "repaired by least squares, for every strategy of netsmith; Torch-Pruning by the same norm, without repair, as "
        "it comes; a width multiplier is the uniform network with fresh weights, at a learning rate of "
        f"{SCRATCH_LR:g}. exact, evolution, uniform and the ramps know the loss of each choice alone ("
        + ", ".join(f"{n} {c['candidates']} choices in {c['seconds']:.0f} s" for n, c in zip(args.networks, spent) if c)
        + "); amc (its actions bounded from below too, so that budgets are used up), netadapt and random do not. "
        "Designs that were evaluated twice are run once.",
    ]  # fmt: skip
    if args.settle:
        notes.append("Batch norms are estimated again for every design, in the search and before the test.")
    notes += verdict(store, args.networks, PAIRS)
    title = f"Channel pruning: strategies at equal cost{', norms estimated again' if args.settle else ''}"
    store.fragment(title, lines, args.threads, notes)


def peer_row(store: Store, args: Any, prefix: str, budget: float) -> list[Any] | None:
    found = [store.cells[k]["value"] for seed in args.seeds if (k := f"{prefix} s{seed}") in store.cells]
    if not found:
        return None
    tuned = [100 * f["tuned"]["test_accuracy"] for f in found if "tuned" in f]
    before = spread([100 * f["test_accuracy"] for f in found], "{:.2f} %")
    after = spread(tuned, "{:.2f} %") if tuned else ""
    used = spread([f["macs"] / budget for f in found], "{:.3f}")
    return [prefix.split(" ", 3)[3], len(found), "", "", "", "", before, after, used]


if __name__ == "__main__":
    main()

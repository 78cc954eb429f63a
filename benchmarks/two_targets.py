"""One network trimmed for two platforms, each result priced on both: CIFAR-10 (JPEG copy). Some minutes a network.

CompactNet (arXiv 1905.11669) trims filters group by group for one platform's table, to one speed-up; here for this
machine's measured table and for an accelerator whose time is flat in the number of channels over long stretches.
Candidates are masked and repaired designs on the search split, without training; results are trained before they are
tested.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import common
import numpy as np
from common import NETWORKS, Store, percent, table

from netsmith.jobs.tools import groups_of
from netsmith.progress import Lines, Silent


class Case:
    """The network, decisions about its filters alone, and evaluation on images of the search split."""

    def __init__(self, args: Any) -> None:
        from netsmith.accuracy.candidates import Candidates
        from netsmith.accuracy.incremental import IncrementalEvaluator
        from netsmith.decisions.channels import Channels
        from netsmith.decisions.given import GivenSpace
        from netsmith.decisions.pricing import Pricing
        from netsmith.decisions.tools import AtHand
        from netsmith.hardware.target import get_target
        from netsmith.jobs.config import Budgets, CompressConfig, Prune
        from netsmith.jobs.subject import load_subject
        from netsmith.jobs.tools import JobTools, groups_of
        from netsmith.study.evaluator import Logged
        from netsmith.study.measured import Measured

        net = NETWORKS[args.network]
        self.args, self.targets = args, {n: get_target(n) for n in args.targets}
        weights = args.weights or net.weights_file
        whole = load_subject(net.spec, net.data, self.targets[args.targets[0]], weights=weights, methods=(Prune(),))
        # one space for all: both platforms choose from the same widths
        self.space = GivenSpace(whole.graph, (Channels(whole.graph, groups_of(whole), args.multiple),))
        self.subject = s = replace(whole, space=self.space)
        config = CompressConfig(net.spec, net.data, budgets=Budgets(macs="0.5x"), methods=(Prune(),), seed=args.seed)
        self.pruning = JobTools(s, config, Silent())
        self.pricing = {n: Pricing(self.space, t) for n, t in self.targets.items()}
        scores, repair = self.pruning.importance, self.pruning.repair
        candidates = Candidates(self.space, AtHand(scores, repair))
        runner = IncrementalEvaluator(s.graph, s.task, s.searched(args.images))
        self.evaluator = Logged(Measured(candidates, runner), s.space.canonical)

    def prepare(self) -> None:
        """Measure what a target's table lacks."""
        from netsmith.decisions.demand import rows_asked
        from netsmith.hardware.target import prepare_target

        for name, target in self.targets.items():
            prepare_target(target, lambda name=name: rows_asked(self.pricing[name]), Lines())

    def trim(self, target: str, speed_up: float) -> dict[str, Any]:
        """CompactNet for one target; says so if it cannot be reached."""
        from netsmith.errors import InfeasibleError
        from netsmith.search.strategy import Problem
        from netsmith.systems.compactnet import compactnet, iterations_for

        space, pricing = self.space, self.pricing[target]
        width = np.arange(int(space.decisions.sizes.max()))
        loss = np.where(width < space.decisions.sizes[:, None], 0.0, np.inf)
        prices = pricing.table("latency", space.reference)
        limit = float(prices.price(space.reference[None])[0]) / speed_up
        problem = Problem(loss, {"latency": prices}, {"latency": limit}, space.decisions.tied)

        def masked(_: None, designs: Any) -> Any:
            return [(None, o.loss) for o in self.evaluator.outcomes(designs)]

        start, before = time.perf_counter(), self.evaluator.evaluated
        try:
            family = compactnet(
                problem, space.decisions, None, masked, iterations=iterations_for(speed_up), progress=Silent(),
                renew=lambda design: {"latency": pricing.table("latency", design)},
            )  # fmt: skip
        except InfeasibleError as error:
            return {"infeasible": str(error), "reachable": error.reachable}
        return {
            "design": family.design.tolist(), "speed_ups": family.speed_ups("latency"),
            "losses": [m.loss for m in family.members], "designs": [list(m.design) for m in family.members],
            "seconds": time.perf_counter() - start, "evaluations": self.evaluator.evaluated - before,
        }  # fmt: skip

    def priced(self, designs: Any) -> dict[str, list[float]]:
        """Speed-ups of the networks of a family on every target."""
        x, given = np.array(designs), self.space.reference
        return {n: (p.predict(given)[0] / p.predict(x)).tolist() for n, p in self.pricing.items()}

    def tested(self, design: Any) -> dict[str, Any]:
        """A design built and trained; accuracy on the search split, and on the test split once."""
        from netsmith.training import Training, evaluate, fit

        s, task = self.subject, self.subject.task
        model = self.pruning.slim(np.array(design)).model
        if self.args.epochs:
            train = task.need_train()
            some = task.with_splits(train=train.take(slice(0, self.args.train_images or len(train))))
            fit(model, some, Training(epochs=self.args.epochs, lr=0.03, seed=self.args.seed), teacher=s.model)
        return {
            "search_accuracy": evaluate(model, task, task.search).score,
            "test_accuracy": evaluate(model, task, task.test).score,
        }

    def shares(self, design: Any) -> str:
        """Share of the filters that stay, by the stage or block that their group is named after."""
        kept, of = {}, {}
        for d, group in enumerate(groups_of(self.subject).groups):
            stage = group.name.split(".")[0]
            kept[stage] = kept.get(stage, 0) + int(self.space.values[d, design[d]])
            of[stage] = of.get(stage, 0) + group.channels
        return ", ".join(f"{n} {100 * kept[n] / of[n]:.0f} %" for n in of)


def loss_at(losses: Any, speed_ups: Any, target: float) -> float:
    """The least loss of a family's networks that are so fast; infinite if none is."""
    fast = np.array(speed_ups) >= target * (1 - 1e-9)
    return float(np.where(fast, losses, np.inf).min())


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--network", default="cifar_resnet20", choices=list(NETWORKS))
    options.add_argument("--weights", help="instead of the network's own")
    options.add_argument("--targets", nargs=2, default=["cpu", "bitfusion-cloud"])
    options.add_argument("--speed-ups", nargs="+", type=float, default=[1.2, 1.4])
    options.add_argument("--multiple", type=int, default=2, help="of filters; a group has at most eight widths")
    options.add_argument("--images", type=int, default=512, help="of the search split, for losses")
    options.add_argument("--epochs", type=int, default=2, help="of training before the test")
    options.add_argument("--train-images", type=int, default=0, help="of the train split; 0 for all")
    args = options.parse_args()
    store = Store(args.results, "two_targets")
    case = Case(args)
    case.prepare()
    weights = common.digest(args.weights or NETWORKS[args.network].weights_file)
    settings = {"targets": args.targets, "multiple": args.multiple, "images": args.images, "weights": weights}
    rows, missed = [], []
    for speed_up in args.speed_ups:
        found = {}
        for target in args.targets:
            key = f"{args.network} {target} {speed_up:g}x"
            cell = store.cell(key, settings, lambda t=target, s=speed_up: case.trim(t, s))
            if "infeasible" in cell:
                missed.append(f"{speed_up:g}x on {target}: {cell['infeasible']}.")
                continue
            design = {
                "design": cell["design"],
                "epochs": args.epochs,
                "train_images": args.train_images,
                "seed": args.seed,
            }
            price = store.cell(f"{key} speed-ups", settings | design, lambda d=cell["designs"]: case.priced(d))
            test = store.cell(f"{key} tested", settings | design, lambda d=cell["design"]: case.tested(d))
            found[target] = cell, price, test
        for target, (cell, price, test) in found.items():
            cells = [f"{price[on][-1]:.3f}x" for on in args.targets]
            for on in args.targets:
                least = {t: loss_at(c["losses"], p[on], speed_up) for t, (c, p, _) in found.items()}
                text = f"{least[target]:.3f}" if np.isfinite(least[target]) else "not reached"
                cells.append(f"**{text}**" if least[target] <= min(least.values()) < np.inf else text)
            rows.append(
                [f"{speed_up:g}x", target, *cells, percent(test["search_accuracy"]),
                 percent(test["test_accuracy"]), case.shares(cell["design"]), len(cell["losses"]) - 1,
                 cell["evaluations"], f"{cell['seconds']:.0f}"]
            )  # fmt: skip
    head = [
        "target speed-up", "trimmed for", *(f"speed-up on {t}" for t in args.targets),
        *(f"divergence when the target is met on {t}" for t in args.targets), "search accuracy", "test accuracy",
        "filters kept", "iterations", "evaluations", "seconds",
    ]  # fmt: skip
    notes = [
        "Speed-ups are of predicted latency, whole network: cpu from the measured table of this machine (floats, batch "
        "1), the accelerator simulated at 8 bits. Trimming ends at or beyond the target, and flat stretches make steps "
        "long, so that the speed-ups of two rows stand for different losses: compare the divergence, before training, "
        "of the first network of each family that meets the target on a platform (the less is bold).",
        f"Filters inside residual blocks, in eighths of a group ({args.multiple} filters at least); largest norms "
        "stay; gains scaled to reach the target. Losses on "
        f"{args.images} images of the search split; {args.epochs} epochs on "
        f"{args.train_images or 'all'} images of the train split, with distillation, before the accuracies.",
        *missed,
    ]
    store.fragment("One network trimmed for two platforms", table(head, rows), args.threads, notes)


if __name__ == "__main__":
    main()

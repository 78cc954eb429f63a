"""Widths and bits chosen together, against pruning first and quantizing then, at equal energy. Minutes a cell.

Both sides have the same decisions, the same losses of single choices, the same exact search and the same number of
whole designs evaluated on images of the search split; the sequential side as many for each of several shares of the
cost to prune to. At the share 1 it only quantizes. What each side keeps is built, quantized and scored on the
test split once. ``--measured`` runs the compress job on this machine instead, at equal measured latency.
"""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import NETWORKS, Store, named, percent, table
from contest import CALIBRATION, Case


class Joint(Case):
    """One network on one target: channels, branches and bits are its decisions."""

    def __init__(self, args: Any, network: str, target: str) -> None:
        super().__init__(args, network, args.seed)
        self.target = target

    @property
    def label(self) -> str:
        return f"{self.network} {self.target}"

    @property
    def settle(self) -> bool:
        return True  # as what is made of a design

    @cached_property
    def subject(self) -> Any:
        from netsmith.hardware.target import get_target
        from netsmith.jobs.config import Prune, Quantize
        from netsmith.jobs.subject import load_subject

        net = NETWORKS[self.network]
        weights = weights_file(self.args, self.network)
        methods = (Prune(widths=self.args.widths), Quantize())
        return load_subject(net.spec, net.data, get_target(self.target), weights=weights, methods=methods)

    def problem(self, loss: Any, budget: float) -> Any:
        from netsmith.decisions.pricing import Pricing
        from netsmith.hardware.target import get_target
        from netsmith.search.strategy import Problem

        space = self.subject.space
        prices = Pricing(space, get_target(self.target)).table(self.args.cost, space.reference)
        limit = budget * float(prices.price(space.reference)[0])
        return Problem(loss, {self.args.cost: prices}, {self.args.cost: limit}, space.decisions.tied)

    @property
    def is_bits(self) -> Any:
        """Which decisions are about bits, ``(D,)``."""
        return self.subject.space.of_stage("numbers")

    def best(self, problem: Any, evaluations: int, **options: Any) -> tuple[Any, float]:
        """The design of least divergence that the exact search meets, and its divergence.

        Raises:
            InfeasibleError: nothing keeps the budget.
        """
        from netsmith.search.registry import get_strategy
        from netsmith.study.study import minimize

        def evaluate(designs: Any) -> Any:
            return np.array([o.loss for o in self.evaluator.outcomes(designs)])

        space = self.subject.space
        options = {"canonical": space.canonical} | options
        strategy = get_strategy("exact", problem, space.decisions, self.args.seed, **options)
        history = minimize(problem, strategy, evaluate, evaluations, batch=min(8, max(evaluations // 2, 1)))
        return history.best, float(history.loss.min())

    def made(self, design: Any) -> tuple[Any, Any, Any, Any]:
        """The smaller module, its graph, its bits and its quantizer."""
        from netsmith.compression.build import quantizer_for
        from netsmith.training import settle_batch_norm

        subject = self.subject
        slimmed = self.pruning.slim(design)
        if slimmed.is_smaller:
            settle_batch_norm(slimmed.model, subject.task)
        graph = subject.graph.again(slimmed.model)
        quantizer = quantizer_for(graph, slimmed.bits, subject.searched(CALIBRATION), "mse")
        return slimmed.model, graph, slimmed.bits, quantizer

    def outcome(self, problem: Any, design: Any, divergence: float) -> dict[str, Any]:
        from netsmith.compression.mixed import quantize_mixed

        _, graph, bits, quantizer = self.made(design)
        cost, limit = next(iter(problem.budgets.items()))
        widths = [int(c_out) for c_out, own in zip(graph.layers.c_out, graph.layers.is_compute, strict=True) if own]
        return {
            "design": design.tolist(), "divergence": divergence, "widths": widths, "bits": list(bits.values()),
            "cost": float(problem.price(design)[cost][0]) / limit,
            "dropped": int((design[self.subject.space.of_stage("topology")] < 1).sum()),
            "macs": int(graph.layers.macs.sum()),
            "test_accuracy": self.test_accuracy(quantize_mixed(graph, bits, quantizer).graph.module),
        }  # fmt: skip


def joint(case: Joint, loss: Any, budget: float, evaluations: int) -> dict[str, Any]:
    from netsmith.study.facts import Facts

    problem = case.problem(loss, budget)
    return case.outcome(problem, *case.best(problem, evaluations, **Facts(case.subject.space).options(("parts",))))


def sequential(case: Joint, loss: Any, budget: float, evaluations: int) -> dict[str, Any]:
    """Prune to shares of the given cost, quantize what is left to the budget; the best of all shares."""
    from netsmith.errors import InfeasibleError

    shares = [1.0, *(s for s in case.args.splits if budget <= s < 1.0)]
    original, problem, found, by_share = case.subject.space.reference, case.problem(loss, budget), [], {}
    for share in shares:
        try:
            start, own = original, evaluations
            if share < 1.0:
                start, _ = case.best(case.problem(loss, share).held(case.is_bits, original), evaluations // 2)
                own = evaluations - evaluations // 2
            design, divergence = case.best(problem.held(~case.is_bits, start), own)
        except InfeasibleError:
            continue
        found.append((divergence, tuple(design)))
        by_share[f"{share:g}"] = divergence
    if not found:
        return {"infeasible": True}
    divergence, design = min(found)
    return case.outcome(problem, np.array(design), divergence) | {"by_share": by_share}


def only(case: Joint, loss: Any, budget: float, evaluations: int, quantize: bool) -> dict[str, Any]:
    """Bits alone, or channels and branches alone."""
    from netsmith.errors import InfeasibleError

    which = ~case.is_bits if quantize else case.is_bits
    try:
        problem = case.problem(loss, budget).held(which, case.subject.space.reference)
        return case.outcome(problem, *case.best(problem, evaluations))
    except InfeasibleError:
        return {"infeasible": True}


SIDES = {
    "joint": joint,
    "sequential": sequential,
    "quantize only": lambda *a: only(*a, quantize=True),
    "prune only": lambda *a: only(*a, quantize=False),
}


def tune(case: Joint, design: Any, folder: Path) -> dict[str, Any]:
    """Quantization-aware training of a kept design, with the given network as its teacher."""
    from netsmith.compression.mixed import quantize_mixed
    from netsmith.jobs.config import FineTune
    from netsmith.jobs.recover import train_quantized
    from netsmith.progress import Lines

    start = time.perf_counter()
    model, graph, bits, quantizer = case.made(np.array(design))
    after, trained, _, _ = train_quantized(
        model, graph, bits, quantizer, teacher=case.subject.model, task=case.subject.task,
        tune=FineTune(epochs=case.args.tune), seed=case.args.seed,
        checkpoint=folder / "checkpoint.safetensors", progress=Lines(),
    )  # fmt: skip
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    accuracy = case.test_accuracy(quantize_mixed(after, bits, trained).graph.module)
    return {"test_accuracy": accuracy, "seconds": time.perf_counter() - start}


def measured(args: Any, network: str, budget: float, split: float | None, folder: Path) -> dict[str, Any]:
    """The compress job on this machine to a measured latency: at once, or pruned to a share first."""
    from netsmith.jobs.compress import compress

    net, name = NETWORKS[network], f"{network} {budget:g}x {'joint' if split is None else f'by {split:g}'}"
    weights = weights_file(args, network)
    common_options: dict[str, Any] = {
        "target": "cpu", "epochs": args.tune, "seed": args.seed, "threads": args.threads, "widths": args.widths,
        "resume": True,  # what a stopped benchmark had done so far
    }  # fmt: skip
    where = folder / name.replace(" ", "-")
    if split is None:
        result = compress(net.spec, net.data, weights=weights, latency=f"{budget}x", out=where, **common_options)
        return _measured(result.summary, result.summary)
    first = compress(
        net.spec, net.data, weights=weights, latency=f"{split}x", methods="prune", out=f"{where}-first",
        **common_options,
    )  # fmt: skip
    from netsmith.compression.recipe import Recipe, apply_recipe
    from netsmith.network.load import load_model
    from netsmith.network.weights import load_weights

    pruned = load_model(net.spec).model
    pruned = apply_recipe(pruned, Recipe.from_json(Path(f"{where}-first/recipe.json").read_text()))
    load_weights(pruned, Path(f"{where}-first/model.safetensors"))
    limit = budget * first.summary["baseline"]["latency_measured_s"]
    result = compress(
        pruned, net.data, latency=f"{limit * 1e3}ms", methods="quantize", out=f"{where}-then", **common_options
    )
    return _measured(first.summary, result.summary)


def _measured(first: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    """What the network was before the first job, and what it is after the last."""
    before, after = first["baseline"], last["result"]
    return {
        "test_accuracy": after["accuracy"], "baseline_accuracy": before["accuracy"],
        "latency_s": after["latency_measured_s"], "baseline_s": before["latency_measured_s"], "macs": after["macs"],
    }  # fmt: skip


def measured_cells(store: Store, args: Any) -> None:
    """Both sides at equal measured latency, and their table."""
    from netsmith.errors import InfeasibleError

    settings = {"tune": args.tune, "seed": args.seed, "widths": args.widths, "threads": args.threads}
    rows, given = [], dict[str, float]()
    for network in args.networks:
        digest = common.digest(weights_file(args, network))
        for budget in args.budgets:
            for split in [None, *(s for s in args.splits if budget < s < 1.0)]:
                side = "joint" if split is None else f"prune to {split:g}x, then quantize"

                def run(n: str = network, b: float = budget, s: float | None = split) -> dict[str, Any]:
                    try:
                        return measured(args, n, b, s, args.results / "joint-measured")
                    except InfeasibleError:
                        return {}

                key = f"measured {network} {budget:g} {side}"
                if args.only_table and key not in store.cells:
                    continue
                got = store.cell(key, settings | {"weights": digest}, run)
                if not got:
                    rows.append([network, f"{budget:g}x", side, "cannot be met", "", "", ""])
                    continue
                given[network] = got["baseline_accuracy"]
                rows.append([
                    network, f"{budget:g}x", side, f"{got['latency_s'] * 1e3:.3f} ms",
                    f"{got['latency_s'] / got['baseline_s']:.3f}", f"{got['macs'] / 1e6:.1f} M",
                    percent(got["test_accuracy"]),
                ])  # fmt: skip
    head = ["network", "latency", "side", "measured", "of the network as given", "MACs", "test accuracy"]
    notes = [
        "Each side by `compress`, exact, until its budget holds as measured; sequential: one run prunes to a share of "
        "the latency in floats, another quantizes what is left to the budget. Networks as given: "
        + ", ".join(f"{n} {percent(v)}" for n, v in given.items())
        + f". Epochs of training after each job: {args.tune}.",
        "Weights: " + ", ".join(f"{n} {common.digest(weights_file(args, n))}" for n in args.networks) + ".",
    ]
    store.fragment("Widths and bits together, at equal measured latency", table(head, rows), args.threads, notes)


def main() -> None:
    options = common.parser(__doc__ or "")
    options.add_argument("--networks", nargs="+", default=["cifar_resnet20"])
    options.add_argument("--weights", nargs="*", default=[], metavar="NETWORK=FILE", help="trained baselines")
    options.add_argument("--targets", nargs="+", default=["bitfusion", "bismo-edge"])
    options.add_argument("--cost", default="energy", choices=["energy", "latency", "macs", "size"])
    options.add_argument("--budgets", nargs="+", type=float, default=[0.5, 0.35])
    options.add_argument("--splits", nargs="+", type=float, default=[0.9, 0.8, 0.7, 0.6, 0.5])
    options.add_argument("--evaluations", type=int, default=48, help="of whole designs, for each side")
    options.add_argument("--images", type=int, default=256, help="of the search split, for every evaluation")
    options.add_argument("--test-images", type=int, default=0, help="the first so many of the test split; 0 for all")
    options.add_argument("--widths", type=int, default=8, help="most channel counts of a group")
    options.add_argument("--tune", type=int, default=0, metavar="EPOCHS", help="train the kept designs")
    options.add_argument("--measured", action="store_true", help="on this machine, by the compress job")
    options.add_argument("--only-table", action="store_true", help="measured: the table of the cells that there are")
    args = options.parse_args()
    store = Store(args.results, "joint_measured" if args.measured else "joint")
    if args.measured:
        measured_cells(store, args)
        return
    rows = []
    for network in args.networks:
        for target in args.targets:
            case = Joint(args, network, target)
            loss = case.sensitivity(store, widths=args.widths).loss
            for budget in args.budgets:
                rows += cells(store, case, loss, budget)
    head = ["network", "target", args.cost, "side", "divergence", "test accuracy", "tuned", "MACs", "cost / budget"]
    notes = [
        f"{args.evaluations} whole designs a side (sequential: a share) on {args.images} images of the search split; "
        "the best by divergence is built and scored on the test split once. Budgets are shares of the network at 8 "
        "bits.",
        f"Sequential: the best of pruning to {', '.join(f'{s:g}x' for s in args.splits)} or not at all, and quantizing "
        "what is left to the budget.",
        "Weights: " + ", ".join(f"{n} {common.digest(weights_file(args, n))}" for n in args.networks) + ".",
    ]
    store.fragment("Widths and bits together or one after the other", table(head, rows), args.threads, notes)


def weights_file(args: Any, network: str) -> str | None:
    return named(args.weights).get(network, NETWORKS[network].weights_file)


def cells(store: Store, case: Joint, loss: Any, budget: float) -> list[list[Any]]:
    """All sides at one budget."""
    args, rows = case.args, []
    settings = {
        k: getattr(args, k) for k in ("cost", "evaluations", "images", "test_images", "widths", "seed", "splits")
    } | {"weights": common.digest(weights_file(args, case.network))}  # fmt: skip
    for name, side in SIDES.items():
        key = f"{case.network} {case.target} {args.cost} {budget:g} {name}"
        got = store.cell(key, settings, lambda s=side: s(case, loss, budget, args.evaluations))
        if "design" not in got:
            rows.append([case.network, case.target, f"{budget:g}x", name, "cannot be met", "", "", "", ""])
            continue
        tuned = ""
        if args.tune and "only" not in name:
            again = store.cell(
                f"tuned {key}", settings | {"epochs": args.tune}, lambda g=got: tune(case, g["design"], args.results)
            )
            tuned = percent(again["test_accuracy"])
        rows.append([
            case.network, case.target, f"{budget:g}x", name, f"{got['divergence']:.4f}", percent(got["test_accuracy"]),
            tuned, f"{got['macs'] / 1e6:.1f} M", f"{got['cost']:.3f}",
        ])  # fmt: skip
    return rows


if __name__ == "__main__":
    main()

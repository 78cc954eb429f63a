"""Strategies at equal budgets on one network and the same images: what the searches of several benchmarks share."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import common
import numpy as np
from common import NETWORKS, Store, named

CALIBRATION = 256


def parser(doc: str, networks: Sequence[str], strategies: Iterable[str], images: int, lr: float) -> ArgumentParser:
    """Options of a contest, with these defaults."""
    made = common.parser(doc)
    made.add_argument("--networks", nargs="+", default=networks)
    made.add_argument("--weights", nargs="*", default=[], metavar="NETWORK=FILE", help="trained baselines")
    made.add_argument("--strategies", nargs="+", default=list(strategies))
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    made.add_argument("--images", type=int, default=images, help="of the search split, for every evaluation")
    made.add_argument("--test-images", type=int, default=0, help="the first so many of the test split; 0 for all")
    made.add_argument("--tune", type=int, default=0, metavar="EPOCHS", help="train the kept designs")
    made.add_argument("--tune-images", type=int, default=0, help="of the train split; 0 for all")
    made.add_argument("--lr", type=float, default=lr)
    made.add_argument("--only-table", action="store_true", help="write the tables of the cells that there are")
    return made


@dataclass
class Case:
    """One network with images drawn by a seed; what does not depend on the target is computed once.

    Attributes:
        args: with ``weights`` (NETWORK=FILE), ``images`` of the search split and ``test_images`` (0 for all).
        measure: of sensitivities.
    """

    args: Any
    network: str
    seed: int
    measure: str = "loss"
    methods: ClassVar[tuple[str, ...]] = ("quantize",)

    @cached_property
    def subject(self) -> Any:
        from netsmith.hardware.target import get_target
        from netsmith.jobs.config import METHODS
        from netsmith.jobs.subject import load_subject

        net = NETWORKS[self.network]
        weights = named(self.args.weights).get(self.network, net.weights_file)
        return load_subject(
            net.spec,
            net.data,
            get_target("bismo-edge"),
            weights=weights,
            methods=tuple(METHODS[m]() for m in self.methods),
        )

    @cached_property
    def images(self) -> Any:
        """Examples of the search split that designs are run on."""
        search = self.subject.task.search
        chosen = np.sort(np.random.default_rng(self.seed).permutation(len(search))[: self.args.images])
        return search.take(chosen)

    @cached_property
    def quantizer(self) -> Any:
        from netsmith.compression.build import quantizer_for

        graph, bits = self.subject.graph, dict.fromkeys(self.subject.space.quantized, (8, 8))
        return quantizer_for(graph, bits, self.subject.searched(CALIBRATION), "mse")

    @cached_property
    def pruning(self) -> Any:
        """Importance and repair as the main job has them."""
        from netsmith.jobs.config import Budgets, CompressConfig, Prune
        from netsmith.jobs.tools import JobTools
        from netsmith.progress import Silent

        net, prune = NETWORKS[self.network], Prune(importance=getattr(self.args, "importance", "l2"))
        config = CompressConfig(net.spec, net.data, budgets=Budgets(macs="0.5x"), methods=(prune,), seed=self.seed)
        return JobTools(self.subject, config, Silent())

    @cached_property
    def candidates(self) -> Any:
        from netsmith.accuracy.candidates import Candidates
        from netsmith.decisions.tools import AtHand

        repair, scores = self.pruning.repair, self.pruning.importance
        return Candidates(self.subject.space, AtHand(scores, repair, self.settle, quantizer=self.quantizer))

    @cached_property
    def evaluator(self) -> Any:

        from netsmith.accuracy.incremental import IncrementalEvaluator
        from netsmith.study.evaluator import Logged
        from netsmith.study.measured import Measured

        runner = IncrementalEvaluator(self.subject.graph, self.subject.task, self.images)
        return Logged(Measured(self.candidates, runner), self.subject.space.canonical)

    @property
    def settle(self) -> bool:
        """Whether designs are judged with their batch norms estimated again."""
        return bool(getattr(self.args, "settle", False))

    @property
    def label(self) -> str:
        """What tells this case's cells from others'."""
        return self.network

    def sensitivity(self, store: Store, **settings: Any) -> Any:
        """Losses of single choices; ``settings`` are what they depend on beside the images."""
        from netsmith.accuracy.sensitivity import Sensitivity, measure_sensitivity

        def compute() -> Any:
            runner = self.evaluator.evaluator.evaluator  # of what is measured, behind the log
            return measure_sensitivity(self.candidates, runner, measure=self.measure).to_dict()

        key = f"sensitivity {self.label} s{self.seed}"
        return Sensitivity.from_dict(store.cell(key, {"images": self.args.images, **settings}, compute))

    def built(self, design: Any) -> Any:
        """A design as a module, before training."""
        from netsmith.compression.mixed import quantize_mixed

        return quantize_mixed(self.subject.graph, self.subject.space.bits(design), self.quantizer).graph.module

    def test_accuracy(self, module: Any) -> float:
        from netsmith.training.score import evaluate

        task, n = self.subject.task, self.args.test_images
        return evaluate(module, task, task.test.take(slice(0, n)) if n else task.test).score

    def training_task(self) -> Any:
        """The task with the first ``args.tune_images`` of the train split; 0 for all."""
        task, n = self.subject.task, self.args.tune_images
        return task.with_splits(train=task.need_train().take(slice(0, n))) if n else task


def compete(case: Case, problem: Any, strategy: str, evaluations: int) -> dict[str, Any]:
    """One strategy's search: the design that it keeps, how the best loss fell, and its accuracy before training."""

    from netsmith.errors import InfeasibleError
    from netsmith.search.registry import get_strategy, strategy_spec
    from netsmith.study.facts import Facts
    from netsmith.study.study import minimize

    space, traits = case.subject.space, strategy_spec(strategy).traits
    start, fresh = time.perf_counter(), case.evaluator.evaluated

    def evaluate(designs: Any) -> Any:
        return np.array([o.loss for o in case.evaluator.outcomes(designs)])

    try:
        chosen = get_strategy(strategy, problem, space.decisions, case.seed, **Facts(space).options(traits.needs))
        history = minimize(problem, chosen, evaluate, evaluations, batch=traits.batch)
    except InfeasibleError as error:
        return {"infeasible": {k: float(v) for k, v in error.reachable.items()}}
    seconds = time.perf_counter() - start
    best = case.evaluator.outcomes(history.best)[0]
    cost, limit = next(iter(problem.budgets.items()))
    return {
        "design": history.best.tolist(), "divergence": best.loss, "search_accuracy": best.figures["accuracy"],
        "cost": float(problem.price(history.best)[cost][0]) / limit, "seconds": seconds,
        "evaluations": len(history.loss), "fresh": case.evaluator.evaluated - fresh,
        "best_after": np.minimum.accumulate(np.where(history.feasible, history.loss, np.inf)).tolist(),
        "bound": float(chosen.solutions[0].bound) if getattr(chosen, "solutions", None) else None,
        "test_accuracy": case.test_accuracy(case.built(history.best)),
    }  # fmt: skip


HEAD = ("seeds", "evaluations", "seconds", "divergence", "search accuracy", "test accuracy", "fine-tuned",
        "share of budget used")  # fmt: skip


def summary_of(store: Store, key: str, seeds: Sequence[int]) -> list[Any] | None:
    """Medians over the seeds that are there, as cells of a table with the head ``HEAD``.

    None where no seed has a design, an empty list without cells.
    """
    keys = [f"{key} s{seed}" for seed in seeds]
    found = [store.cells[k]["value"] for k in keys if k in store.cells]
    done = [f for f in found if "design" in f]
    if not done:
        return None if found else []
    tuned = [store.cells[f"tuned {k}"]["value"]["test_accuracy"] for k in keys if f"tuned {k}" in store.cells]
    return [
        len(done), f"{np.median([f['evaluations'] for f in done]):.0f}",
        f"{np.median([f['seconds'] for f in done]):.0f}", spread([f["divergence"] for f in done], "{:.3f}"),
        spread([100 * f["search_accuracy"] for f in done], "{:.1f} %"),
        spread([100 * f["test_accuracy"] for f in done], "{:.2f} %"),
        spread([100 * t for t in tuned], "{:.2f} %") if tuned else "",
        spread([f["cost"] for f in done], "{:.3f}"),
    ]  # fmt: skip


def spread(values: Sequence[float], form: str) -> str:
    """The median, with the least and the greatest where there are several."""
    middle = form.format(np.median(values))
    return middle if len(values) == 1 else f"{middle} ({min(values):.4g} to {max(values):.4g})"


def verdict(store: Store, networks: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """How often each strategy's kept design diverges less than another's, over all cells that both have."""
    values: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    names = {name for pair in pairs for name in pair}
    for key, cell in store.cells.items():
        *prefix, strategy, seed = key.split()
        if strategy in names and prefix[0] in networks and "design" in cell["value"]:
            values.setdefault((" ".join(prefix), seed), {})[strategy] = cell["value"]
    notes = []
    for a, b in pairs:
        both = [v for v in values.values() if a in v and b in v]
        if both:
            wins = sum(v[a]["divergence"] <= v[b]["divergence"] for v in both)
            points = np.median([100 * (v[a]["test_accuracy"] - v[b]["test_accuracy"]) for v in both])
            notes.append(
                f"{a} against {b}: no greater divergence in {wins} of {len(both)} cells; median difference of test "
                f"accuracy {points:+.2f} points."
            )
    return notes

"""The stages of a specialization up to the networks that it finds, each remembered in the run folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netsmith.decisions.demand import rows_asked
from netsmith.decisions.family import SearchedFamily
from netsmith.decisions.pricing import SUMS, Pricing
from netsmith.errors import InputError
from netsmith.export.onnx import to_onnx
from netsmith.export.product import write_onnx
from netsmith.files import write_atomic
from netsmith.hardware.target import Target, has_energy, prepare_target
from netsmith.jobs.config import SpecializeConfig
from netsmith.jobs.contents import contents_of, task_contents, thing_contents
from netsmith.jobs.course import Course
from netsmith.jobs.plans import epochs_of_specialization
from netsmith.jobs.timing import near_timed, quiet_latency
from netsmith.jobs.together import RunTogether
from netsmith.metrics import ACCURACY
from netsmith.network.behaviour import check_network
from netsmith.network.graph import Graph, count_parameters, trace
from netsmith.network.layers import LayerTable
from netsmith.network.load import LoadedModel, load_model
from netsmith.network.weights import read_weights, save_weights
from netsmith.network.zoo.blueprint import Blueprint
from netsmith.progress import Progress, training_events
from netsmith.search.registry import get_strategy, strategy_spec
from netsmith.search.strategy import Designs, Problem, Strategy
from netsmith.space import CostTable
from netsmith.study.choosing import Chooser, Chosen
from netsmith.study.device_loop import DeviceLoop, Tried
from netsmith.study.evaluator import Logged, SharedWeights
from netsmith.study.study import Found, Study
from netsmith.supernets.objective import Objective
from netsmith.supernets.supernet import SuperNet
from netsmith.systems.oneshot import POPULATION, UNIFORM_LR, path_losses, train_uniform
from netsmith.systems.oneshot import strategy as oneshot
from netsmith.systems.proxylessnas import WARMUP, ProxylessConfig, likely, most_probable_within, proxylessnas
from netsmith.systems.registry import SYSTEMS
from netsmith.tasks.classification import Classification
from netsmith.training import Training
from netsmith.training.device import choose_device
from netsmith.training.score import evaluate
from netsmith.units import Budget, allowed_of, format_count, format_seconds, reached_of

ASKED = 256  #: images that a teacher is tried on


class Specialization:
    """What a specialization does, step by step. Results are JSON values, so that a resumed run continues alike."""

    metric = ACCURACY  #: the score that ranks networks

    def __init__(
        self, shared: RunTogether, family: SearchedFamily, task: Classification, target: Target,
        config: SpecializeConfig, progress: Progress, watch: Callable[[Path], Any] | None = None,
    ) -> None:  # fmt: skip
        self.shared, self.run, self.family, self.task, self.target = shared, shared.run, family, task, target
        self.data = task.data
        self.home = shared  #: the run in which networks of all paths are searched
        self.part = ""  #: which of several networks this is about, for people
        self.config, self.progress, self.watch = config, progress, watch
        self.simulated = not target.capabilities.runs_here
        self.pricing = Pricing(family, target, config.batch)
        self.epochs: dict[str, int] = epochs_of_specialization(config, task)
        self.contents = thing_contents(f"the space {family.name}", family.space) | task_contents(task)

    def check(self) -> None:
        """Find what cannot be used before anything takes long.

        Raises:
            InputError: a teacher that cannot be loaded or knows nothing, or no such warm-up.
        """
        source = self.config.search.warmup_from
        for system in self.config.search.systems if source else ():
            if SYSTEMS[system].learns and not (given := self._warmup(system)).is_file():
                raise InputError(f"{source} has no warm-up of {system} ({given} is missing); drop --warmup-from")
        if self.epochs["train"] and self.teacher is not None:
            self._check_teacher()

    def _check_teacher(self) -> None:
        """Say what the teacher knows; without weights it most likely knows nothing."""
        split, task = self.data.search.take(slice(0, ASKED)), self.task
        few = task.example(4).map(torch.Tensor.contiguous, inputs_only=True)
        check_network(self.teacher, few, "choose a teacher for images of this size", task.read, task.each)
        accuracy = evaluate(self.teacher, task, task.search.take(slice(0, ASKED))).score
        said = f"the teacher {self.config.training.teacher} is right about {accuracy:.1%} of {len(split)} search images"
        guess = float(np.bincount(split.labels).max() / len(split))  # always the most frequent class
        if (
            self.config.training.teacher_weights is None
            and accuracy <= guess + 3 * (guess * (1 - guess) / len(split)) ** 0.5
        ):
            raise InputError(f"{said}, no more than a guess; give trained weights with --teacher-weights")
        self.progress.note(said)

    def announce(self, stage: str, system: str) -> None:
        """Say that a stage begins, and for which system if it is not the run's own."""
        self.progress.stage(self.named(stage, system))

    def named(self, stage: str, system: str) -> str:
        """A stage's name, which says the network of several, and the system if it is not the run's own."""
        other = [] if system == self.config.search.system else [system]
        said = ", ".join([self.part] * bool(self.part) + other)
        return f"{stage} ({said})" if said else stage

    def within(self, shared: RunTogether, part: str) -> Specialization:
        """The same job in another run folder, where one of several networks is trained, built and tested.

        Searches and prices stay where they are.
        """
        other = copy(self)
        other.shared, other.run, other.part, other.course = shared, shared.run, part, self.course
        return other

    # --- what there is -----------------------------------------------------------------------------------------------

    def first_screen(self) -> None:
        space, reference = self.family.decisions, self.reference
        self.progress.note(
            f"{self.family.name}: {len(space)} blocks to choose, {space.count:.2g} networks for "
            f"{self.data.input_shape[1]}x{self.data.input_shape[2]} images of {len(self.data.classes)} classes; "
            f"{self.data.note}"
        )
        for sentence in self.data.sentences:
            self.progress.note(sentence)
        parameters = count_parameters(self._described.build())
        self.progress.note(
            f"reference ({self.family.reference_words}): {format_count(float(reference.macs.sum()))} MACs, "
            f"{format_count(float(parameters))} parameters; {self.epochs['warmup']} + "
            f"{self.epochs['search']} epochs of search, {self.epochs['train']} of training"
        )

    @cached_property
    def reference(self) -> LayerTable:
        """The layers of the reference network of the space."""
        return self.family.layers(self.family.reference)

    @property
    def _described(self) -> Blueprint:
        return self.family.blueprint(self.family.reference)

    def _traced(self, blueprint: Blueprint) -> Graph:
        network = load_model(blueprint.build, seed=self.config.seed).model
        return trace(network, blueprint.input_shape)

    def baseline(self) -> dict[str, Any]:
        """The reference network, with fresh weights: exported and measured, what relative budgets refer to."""
        return dict(self.shared.stage("baseline", self._baseline))

    def _baseline(self) -> dict[str, Any]:
        self.progress.stage("baseline")
        path = write_onnx(self.run, "baseline.onnx", to_onnx(self._traced(self._described)), self.data.feeding)
        measured = None if self.simulated else quiet_latency(path, self.config.threads)
        return {
            "latency_measured_s": measured, "macs": int(self.reference.macs.sum()),
            "params": count_parameters(self._described.build()),
            "size_bytes": int(self.pricing.total(self.reference, "size")),
        }  # fmt: skip

    def priced(self, baseline: dict[str, Any], budgets: Mapping[str, Budget], along: str | None = None) -> None:
        """Prices of every choice, limits in SI units, and by how much measured networks differ from predictions.

        Args:
            along: a cost that is priced though it may have no budget.
        """
        known = self.shared.stage("prices", lambda: self._price((*budgets, *([along] if along else []))))
        self.costs = tuple(known["given"])
        self.given = {name: float(value) for name, value in known["given"].items()}
        self.tables = {
            n: CostTable(t["fixed"], np.array(t["unary"], dtype=np.float64)) for n, t in known["tables"].items()
        }
        self.limits, given = {}, dict[str, float]()
        for name, budget in budgets.items():
            timed_here = name == "latency" and not self.simulated
            as_given = baseline["latency_measured_s"] if timed_here else self.given[name]
            self.limits[name] = float(budget.limit(as_given))
            given[name] = as_given
        if self.limits:
            self.progress.note(f"allowed: {allowed_of(self.limits, given)}")
        self.correction = 1.0
        if "latency" in (*self.limits, along) and not self.simulated:
            self.correction = float(self.shared.stage("calibration", lambda: self._calibrate(baseline)))

    def as_predicted(self, limits: Mapping[str, float]) -> dict[str, float]:
        """Limits on what is predicted, where those on latency are of measured ones."""
        return {n: limit / self.correction if n == "latency" else limit for n, limit in limits.items()}

    def _price(self, budgets: tuple[str, ...]) -> dict[str, Any]:
        """Every cost that there is a model or a budget of: of the reference, and of every choice."""
        prepare_target(self.target, lambda: rows_asked(self.pricing), self.progress)
        energy = ["energy"] if has_energy(self.target) else []
        costs = tuple(dict.fromkeys(("latency", "macs", *budgets, *energy)))
        tables = {n: {"fixed": t.fixed, "unary": t.unary.tolist()} for n, t in self.pricing.tables(costs).items()}
        return {"given": {n: self.pricing.total(self.reference, n) for n in costs}, "tables": tables}

    def _calibrate(self, baseline: dict[str, Any]) -> float:
        """Median of measured over predicted latency of the reference and of random networks of the space."""
        self.progress.stage("calibration")
        rng = np.random.default_rng(self.config.seed)
        ratios = [baseline["latency_measured_s"] / self.given["latency"]]
        for design in self.family.decisions.sample(rng, 4):
            ratios.append(self.measured(self.family.blueprint(design), baseline) / self._predict(design)["latency"])
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        self.progress.note(f"  measured latency over predicted, of {len(ratios)} networks: {spread}")
        return float(np.median(ratios))

    def measured(self, blueprint: Blueprint, baseline: dict[str, Any]) -> float:
        """Latency in seconds of a network with fresh weights, timed against the reference."""
        share = self.limits.get("latency", baseline["latency_measured_s"]) / baseline["latency_measured_s"]

        def time_it() -> float:
            model = to_onnx(self._traced(blueprint)).SerializeToString()
            return near_timed(self.run.path("baseline.onnx"), model, self.config.threads, share)

        ratio = self.shared.stage(f"measure-{blueprint.key}", time_it)
        return float(ratio * baseline["latency_measured_s"])

    # --- searches ----------------------------------------------------------------------------------------------------

    def chooser(self, system: str) -> Chooser:
        """What chooses networks by a system; searches are run first, or come from the run folder."""
        seed, count = self.config.seed, self.config.search.evaluations
        if system == "multiplier":
            family = self.family.multiplied()
            tables = Pricing(family, self.pricing.target, self.pricing.batch).tables(self.costs)
            widths = np.array([[float(width) for width in family.decisions.decisions[0].choices]])

            def totals(design: Designs) -> dict[str, float]:
                layers = family.layers(design)
                return {name: self.pricing.total(layers, name) for name in self.costs}

            return Chooser(family, tables, _asked_once("exact", seed), totals, -widths, inside=False)
        if system == "random":
            return Chooser(self.family, self.tables, _asked_once("random", seed), self._predict)
        found = self.searched(system)
        probabilities = np.array(found["probabilities"]) if SYSTEMS[system].learns else None
        if probabilities is not None and not count:  # the most probable network as it is, as published

            def most_probable(problem: Problem) -> Found:
                return Found(*most_probable_within(probabilities, problem.costs, problem.budgets))

            return Chooser(self.family, self.tables, most_probable, self._predict)

        def evolution(problem: Problem) -> Strategy:
            start = None if probabilities is None else likely(probabilities, problem, seed, POPULATION)
            return oneshot(problem, seed, start=start)

        log = Logged(SharedWeights(lambda: path_losses(self.network(system).to(choose_device()), self.task)))
        study = Study(evolution, strategy_spec("evolution").traits, log, count, "evolution")
        return Chooser(self.family, self.tables, study, self._predict)

    def _predict(self, design: Designs) -> dict[str, float]:
        return {name: float(table.price(design)[0]) for name, table in self.tables.items()}

    def searched(self, system: str) -> dict[str, Any]:
        """A network of all paths, trained: how its probabilities came out and how long it took."""
        return dict(self.home.stage(f"search-{system}", lambda: self._search(system), together=True))

    def _search(self, system: str) -> dict[str, Any]:
        self._take_warmup(system)
        start, network, search = time.perf_counter(), self._fresh(), self.config.search
        common: dict[str, Any] = {
            "folder": self.checkpoints(system), "progress": training_events(self.progress),
            "workers": self.shared.workers, "contents": self.contents,  # a warm-up may be another run's
        }  # fmt: skip
        if not SYSTEMS[system].learns:
            self.announce("search", system)
            training = Training(
                epochs=self.epochs["warmup"] + self.epochs["search"], lr=UNIFORM_LR,
                batch_size=self.config.training.batch_size, label_smoothing=0.1, seed=self.config.seed,
            )  # fmt: skip
            train_uniform(network, self.task, training, **common)
        else:
            own = system == self.config.search.system and self.shared.workers.is_first
            proxylessnas(
                network, self.task,
                Objective(self.tables, self.as_predicted(self.limits), search.loss, weight=search.weight),
                ProxylessConfig(
                    warmup=self.epochs["warmup"], epochs=self.epochs["search"], mode=search.mode,
                    update=SYSTEMS[system].update, seed=self.config.seed,
                    batch=self.config.training.batch_size, every=search.every,
                ),
                record=self.course.record if own else None,
                phase=lambda name: self.announce(name, system), **common,
            )  # fmt: skip
            if own:
                self.course.write()
        save_weights(self.run.place(f"supernet-{system}.safetensors"), network.state_dict())
        seconds = time.perf_counter() - start
        if system == self.config.search.system and self.course.history:  # of all processes, if it was interrupted
            seconds = max(seconds, self.course.history[-1]["seconds"])
        own = system == self.config.search.system
        history = self.course.history if own and SYSTEMS[system].learns else []
        return {"probabilities": network.shares().tolist(), "seconds": seconds, "history": history}

    def _fresh(self) -> SuperNet:
        return self.family.network(self.config.seed, len(SUMS))

    def checkpoints(self, system: str, alone: bool = False) -> Path:
        """Where trainings of a system keep their state; one folder for all processes, which all ask for it."""
        if self.shared.workers.is_first:
            self.run.path(f"checkpoints/{system}/x")
        if not alone:
            self.shared.workers.barrier()
        return self.shared.folder / "checkpoints" / system

    def _take_warmup(self, system: str) -> None:
        """Copy the warm-up of another run; ``fit`` refuses one that was made with other settings."""
        if self.config.search.warmup_from is None or not SYSTEMS[system].learns or not self.shared.workers.is_first:
            return
        own = self.run.path(f"checkpoints/{system}/{WARMUP}")
        if not own.exists():
            write_atomic(own, self._warmup(system).read_bytes())

    def _warmup(self, system: str) -> Path:
        """The warm-up of another run."""
        return Path(self.config.search.warmup_from or ".") / "checkpoints" / system / WARMUP

    def network(self, system: str) -> SuperNet:
        """The trained network of all paths."""
        network = self._fresh()
        network.load_state_dict(read_weights(self.home.folder / f"supernet-{system}.safetensors")[0])
        return network

    @cached_property
    def course(self) -> Course:
        """How the search of the run's own system goes; there are prices before."""
        head = {
            "space": self.family.name, "reference": self.family.reference_words,
            "system": self.config.search.system, "target": self.config.target,
            "simulated": self.simulated, "limits": self.limits,
            "epochs": self.epochs["warmup"] + self.epochs["search"],
        }  # fmt: skip
        latency = self.tables["latency"].unary * self.correction
        return Course(self.run, self.family, head, latency, self.correction, self.watch)

    # --- what it comes to -------------------------------------------------------------------------------------------

    def found(self, system: str, baseline: dict[str, Any], aim: float) -> dict[str, Any]:
        """The network of a system that keeps the budgets, latency as measured."""
        chooser = self.chooser(system)
        return dict(self.shared.stage(f"found-{system}-{aim:g}", lambda: self._close(chooser, system, baseline, aim)))

    def _close(self, chooser: Chooser, system: str, baseline: dict[str, Any], aim: float) -> dict[str, Any]:
        """Find, measure, correct the prediction, find again."""
        self.announce("choose", system)
        if "latency" not in self.limits or self.simulated:
            found = chooser.choose(self.limits)
            self.progress.note(f"  {reached_of(found.predicted, self.limits)}")
            return found.to_dict() | {"measured_s": None, "tried": []}
        limit = self.limits["latency"]

        def least(tried: Sequence[Tried[Chosen]]) -> Chosen | None:  # before anything is known of what is chosen
            return None if tried else chooser.choose(self.limits | {"latency": limit / min(self.correction, 1.0)})

        def note(tried: Tried[Chosen]) -> None:
            reached = reached_of(tried.found.predicted | {"latency": tried.measured_s}, self.limits)
            over = "" if tried.measured_s <= limit else " (over the budget)"
            self.progress.note(f"  {reached} (predicted {format_seconds(tried.predicted_s)}){over}")

        best, tried = DeviceLoop(
            self.limits, self.correction,
            find=lambda factor, _: chooser.choose(self.limits | {"latency": limit / factor}), least=least,
            measure=lambda found: self.measured(found.blueprint, baseline), note=note, aim=aim,
            target=self.target.name, remedy="raise --latency or use a smaller --width",
        ).run()  # fmt: skip
        pairs = [
            {"predicted_s": t.found.predicted["latency"] * self.correction, "measured_s": t.measured_s} for t in tried
        ]
        return best.found.to_dict() | {"measured_s": best.measured_s, "tried": pairs}

    @property
    def teacher(self) -> Any:
        return self._taught.model if self._taught is not None else None

    def teacher_contents(self) -> dict[str, str]:
        """Digests of the teacher, if there is one."""
        if self._taught is None:
            return {}
        return contents_of(
            self._taught, self.config.training.teacher, self.config.training.teacher_weights, who="teacher"
        )

    @cached_property
    def _taught(self) -> LoadedModel | None:
        spec = self.config.training.teacher
        if spec is None:
            return None
        weights = self.config.training.teacher_weights
        shape = self.data.input_shape
        return load_model(spec, weights=weights, num_classes=self.data.known_classes, input_shape=shape)


def _asked_once(name: str, seed: int) -> Study:
    """A strategy that is asked for one design, by losses that are known before or none."""
    traits = strategy_spec(name).traits
    return Study(lambda problem: get_strategy(name, problem, seed=seed), traits, None, 0, name)

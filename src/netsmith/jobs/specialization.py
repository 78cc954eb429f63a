"""The stages of a specialization, each remembered in the run folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from netsmith.accuracy.onnx_accuracy import onnx_accuracy
from netsmith.compression.quantize import packed_tensors
from netsmith.data import Data
from netsmith.errors import InfeasibleError, InputError
from netsmith.export.onnx import to_onnx
from netsmith.export.packed import write_packed
from netsmith.export.parity import check_parity, need_parity
from netsmith.export.pt2 import save_pt2
from netsmith.files import write_atomic
from netsmith.hardware.target import CostTable, Target, prepare_target
from netsmith.jobs.closing import GOOD_ENOUGH
from netsmith.jobs.course import Course
from netsmith.jobs.finders import Evolved, Finder, Found, InSpace, Multiplied, RandomFilled
from netsmith.jobs.timing import near_timed, quiet_latency, timed
from netsmith.jobs.together import RunTogether
from netsmith.network.graph import Graph, trace
from netsmith.network.layers import LayerTable
from netsmith.network.load import load_model
from netsmith.network.weights import load_weights, read_weights, save_weights
from netsmith.network.zoo.blocks import Description, block_network
from netsmith.progress import Progress, training_events
from netsmith.supernets.objective import Objective
from netsmith.supernets.pricing import BYTES, COSTS, SpacePrices
from netsmith.supernets.space import BlockSpace
from netsmith.supernets.supernet import SuperNet
from netsmith.systems.oneshot import Evaluate, mixed, path_losses, train_uniform
from netsmith.systems.proxylessnas import WARMUP, ProxylessConfig, proxylessnas
from netsmith.training import fit, reestimate_batch_norm
from netsmith.training.device import choose_device
from netsmith.units import Budget

SYSTEMS = ("proxylessnas", "proxylessnas-r", "oneshot", "random", "multiplier")
SEARCHED = ("proxylessnas", "oneshot")  #: begin the names of those that train a network of all paths
ROUNDS = 6  #: of finding a network and measuring it
FILLED = 0.98  #: of a packed file are weights, at least
TRAIN_LR, TRAIN_DECAY = 0.1, 5e-4  #: of a network from scratch, as `netsmith train` has them
INHERIT_LR = 0.03


class Specialization:
    """What a specialization does, step by step. Results are JSON values, so that a resumed run continues alike."""

    def __init__(
        self, shared: RunTogether, space: BlockSpace, data: Data, target: Target, config: dict[str, Any],
        progress: Progress, watch: Callable[[Path], Any] | None = None,
    ) -> None:  # fmt: skip
        self.shared, self.run, self.space, self.data, self.target = shared, shared.run, space, data, target
        self.config, self.progress, self.watch = config, progress, watch
        self.simulated = not target.capabilities.runs_here
        self.prices = SpacePrices(space, target, len(data.classes), data.input_shape[0], config["batch"])
        self.epochs: dict[str, int] = epochs_of(config, data)

    def check(self) -> None:
        """Find what cannot be used before anything takes long.

        Raises:
            InputError: a teacher that cannot be loaded, or a learning rate that is not above 0.
        """
        if self.config["teacher_weights"] and not self.config["teacher"]:
            raise InputError("--teacher-weights are of no network; name it with --teacher")
        if self.config["lr"] is not None and not self.config["lr"] > 0:
            raise InputError(f"--lr is {self.config['lr']:g}; it must be above 0")
        if self.epochs["train"]:
            _ = self._teacher

    # --- what there is -----------------------------------------------------------------------------------------------

    def first_screen(self) -> None:
        count, reference = self.space.decisions.count, self.reference
        self.progress.note(
            f"{self.space.name}: {len(self.space.searched)} blocks to choose, {count:.2g} networks for "
            f"{self.space.image}x{self.space.image} images of {len(self.data.classes)} classes; {self.data.note}"
        )
        self.progress.note(
            f"reference (every block k3e6): {reference.macs.sum() / 1e6:.1f} M MACs, "
            f"{reference.params.sum() / 1e6:.3f} M parameters; {self.epochs['warmup']} + "
            f"{self.epochs['search']} epochs of search, {self.epochs['train']} of training"
        )

    @cached_property
    def reference(self) -> LayerTable:
        """The layers of the reference network of the space."""
        return self.prices.rows(self.space.reference)

    def _traced(self, description: Description) -> Graph:
        return trace(block_network(description), description.input_shape)

    def baseline(self) -> dict[str, Any]:
        """The reference network, with fresh weights: exported and measured, what relative budgets refer to."""
        return dict(self.shared.stage("baseline", self._baseline))

    def _baseline(self) -> dict[str, Any]:
        self.progress.stage("baseline")
        described = self.space.describe(self.space.reference, self.prices.classes, self.prices.channels)
        path = self.run.write_bytes("baseline.onnx", to_onnx(self._traced(described)).SerializeToString())
        measured = None if self.simulated else quiet_latency(path, self.config["threads"])
        params = int(self.reference.params.sum())
        return {
            "latency_measured_s": measured, "macs": int(self.reference.macs.sum()), "params": params,
            "size_bytes": params * BYTES,
        }  # fmt: skip

    def priced(self, baseline: dict[str, Any], budgets: Mapping[str, Budget]) -> None:
        """Prices of every choice, limits in SI units, and by how much measured networks differ from predictions."""
        known = self.shared.stage("prices", lambda: self._price(tuple(budgets)))
        self.costs = tuple(known["given"])
        self.given = {name: float(value) for name, value in known["given"].items()}
        self.tables = {
            n: CostTable(t["fixed"], np.array(t["unary"], dtype=np.float64)) for n, t in known["tables"].items()
        }
        self.limits = {}
        for name, budget in budgets.items():
            timed_here = name == "latency" and not self.simulated
            as_given = baseline["latency_measured_s"] if timed_here else self.given[name]
            self.limits[name] = float(budget.limit(as_given))
        #: what finders go by: a packed file has names and shapes beside its numbers
        self.predicted = self.limits | ({"size": FILLED * self.limits["size"]} if "size" in self.limits else {})
        self.correction = 1.0
        if "latency" in self.limits and not self.simulated:
            self.correction = float(self.shared.stage("calibration", lambda: self._calibrate(baseline)))

    def _price(self, budgets: tuple[str, ...]) -> dict[str, Any]:
        """Every cost that there is a model or a budget of: of the reference, and of every choice."""
        prepare_target(self.target, self.prices.all_rows, self.progress)
        energy = ["energy"] if self.prices.priced(self.reference).energy_j is not None else []
        costs = tuple(dict.fromkeys(("latency", "macs", *budgets, *energy)))
        tables = {n: {"fixed": t.fixed, "unary": t.unary.tolist()} for n, t in self.prices.tables(costs).items()}
        return {"given": self.prices.total(self.reference, costs), "tables": tables}

    def _calibrate(self, baseline: dict[str, Any]) -> float:
        """Median of measured over predicted latency of the reference and of random networks of the space."""
        self.progress.stage("calibration")
        rng = np.random.default_rng(self.config["seed"])
        ratios = [baseline["latency_measured_s"] / self.given["latency"]]
        for design in self.space.decisions.sample(rng, 4):
            found = InSpace(self.prices, self.tables).found(design, 0.0)
            ratios.append(self.measured(found.description, baseline) / found.predicted["latency"])
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        self.progress.note(f"  measured latency over predicted, of {len(ratios)} networks: {spread}")
        return float(np.median(ratios))

    def measured(self, description: Description, baseline: dict[str, Any]) -> float:
        """Latency in seconds of a network with fresh weights, timed against the reference."""
        share = self.limits["latency"] / baseline["latency_measured_s"]

        def time_it() -> float:
            model = to_onnx(self._traced(description)).SerializeToString()
            return near_timed(self.run.path("baseline.onnx"), model, self.config["threads"], share)

        ratio = self.shared.stage(f"measure-{_key(description)}", time_it)
        return float(ratio * baseline["latency_measured_s"])

    # --- searches ----------------------------------------------------------------------------------------------------

    def finder(self, system: str) -> Finder:
        """What finds networks by a system; searches are run first, or come from the run folder."""
        inside = (self.prices, self.tables)
        if system.startswith(SEARCHED):
            probabilities = np.array(self.searched(system)["probabilities"])

            def evaluate() -> Evaluate:
                return path_losses(self.network(system).to(choose_device()), self.data)

            start = None if system == "oneshot" else probabilities
            return Evolved(*inside, evaluate, self.config["evaluations"], self.config["seed"], start)
        if system == "random":
            return RandomFilled(*inside, self.config["seed"])
        return Multiplied(self.prices, self.costs)

    def searched(self, system: str) -> dict[str, Any]:
        """A network of all paths, trained: how its probabilities came out and how long it took."""
        return dict(self.shared.stage(f"search-{system}", lambda: self._search(system), together=True))

    def _search(self, system: str) -> dict[str, Any]:
        whose = "" if system == self.config["system"] else f" ({system})"
        self._take_warmup(system)
        start, network = time.perf_counter(), self._fresh()
        common: dict[str, Any] = {
            "folder": self._checkpoints(system), "progress": training_events(self.progress),
            "workers": self.shared.workers,
        }  # fmt: skip
        if system == "oneshot":
            self.progress.stage(f"search{whose}")
            train_uniform(
                network, self.data, epochs=self.epochs["warmup"] + self.epochs["search"],
                batch_size=self.config["batch_size"], label_smoothing=0.1, seed=self.config["seed"], **common,
            )  # fmt: skip
        else:
            own = system == self.config["system"] and self.shared.workers.is_first
            if own:
                self.course.recall()
            limits = self.predicted | (
                {"latency": self.limits["latency"] / self.correction} if "latency" in self.limits else {}
            )
            proxylessnas(
                network, self.data, Objective(self.tables, limits, self.config["loss"], weight=self.config["weight"]),
                ProxylessConfig(
                    warmup=self.epochs["warmup"], epochs=self.epochs["search"], mode=self.config["mode"],
                    update="reinforce" if system.endswith("-r") else "gradient", seed=self.config["seed"],
                    batch=self.config["batch_size"], every=self.config["every"],
                ),
                record=self.course.record if own else None,
                phase=lambda name: self.progress.stage(f"{name}{whose}"), **common,
            )  # fmt: skip
            if own:
                self.course.write()
        save_weights(self.run.path(f"supernet-{system}.safetensors"), network.state_dict())
        seconds = time.perf_counter() - start
        if system == self.config["system"] and self.course.history:  # of all processes, if it was interrupted
            seconds = max(seconds, self.course.history[-1]["seconds"])
        return {"probabilities": network.shares().tolist(), "seconds": seconds}

    def _fresh(self) -> SuperNet:
        classes, channels = self.prices.classes, self.prices.channels
        return SuperNet(self.space, classes, channels, self.config["seed"], costs=len(COSTS))

    def _checkpoints(self, system: str, alone: bool = False) -> Path:
        """Where trainings of a system keep their state; one folder for all processes, which all ask for it."""
        if self.shared.workers.is_first:
            self.run.path(f"checkpoints/{system}/x")
        if not alone:
            self.shared.workers.barrier()
        return self.shared.folder / "checkpoints" / system

    def _take_warmup(self, system: str) -> None:
        """Copy the warm-up of another run; ``fit`` refuses one that was made with other settings."""
        source = self.config["warmup_from"]
        if source is None or system == "oneshot" or not self.shared.workers.is_first:
            return
        given = Path(source) / "checkpoints" / system / WARMUP
        if not given.is_file():
            raise InputError(f"{source} has no warm-up of {system} ({given} is missing); drop --warmup-from")
        own = self.run.path(f"checkpoints/{system}/{WARMUP}")
        if not own.exists():
            write_atomic(own, given.read_bytes())

    def network(self, system: str) -> SuperNet:
        """The trained network of all paths."""
        network = self._fresh()
        network.load_state_dict(read_weights(self.shared.folder / f"supernet-{system}.safetensors")[0])
        return network

    @cached_property
    def course(self) -> Course:
        """How the search of the run's own system goes; there are prices before."""
        head = {
            "space": self.space.name, "system": self.config["system"], "target": self.config["target"],
            "simulated": self.simulated, "limits": self.limits,
            "epochs": self.epochs["warmup"] + self.epochs["search"],
        }  # fmt: skip
        latency = self.tables["latency"].unary * self.correction
        return Course(self.run, self.space, head, latency, self.correction, self.watch)

    # --- from a search to a product ----------------------------------------------------------------------------------

    def found(self, system: str, baseline: dict[str, Any], aim: float) -> dict[str, Any]:
        """The network of a system that keeps the budgets, latency as measured."""
        finder = self.finder(system)
        return dict(self.shared.stage(f"found-{system}-{aim:g}", lambda: self._close(finder, system, baseline, aim)))

    def _close(self, finder: Finder, system: str, baseline: dict[str, Any], aim: float) -> dict[str, Any]:
        """Find, measure, correct the prediction, find again."""
        self.progress.stage("choose" if system == self.config["system"] else f"choose ({system})")
        if "latency" not in self.limits or self.simulated:
            found = finder.find(self.predicted)
            return found.to_dict() | {"measured_s": None, "tried": []}
        limit, correction, tried = self.limits["latency"], self.correction, dict[str, tuple[Found, float]]()
        for _ in range(ROUNDS):
            try:
                found = finder.find(self.predicted | {"latency": limit * aim / correction})
            except InfeasibleError:
                if tried:
                    break
                found = finder.find(self.predicted | {"latency": limit / min(correction, 1.0)})
            key = _key(found.description)
            if key in tried:
                break
            measured = self.measured(found.description, baseline)
            tried[key] = (found, measured)
            predicted = found.predicted["latency"] * correction
            over = "" if measured <= limit else " (over the budget)"
            self.progress.note(f"  predicted {predicted * 1e3:.3f} ms, measured {measured * 1e3:.3f} ms{over}")
            correction = measured / found.predicted["latency"]
            if GOOD_ENOUGH * limit <= measured <= limit * (1 + aim) / 2:
                break
        met = [(f, m) for f, m in tried.values() if m <= limit * (1 + aim) / 2]
        met = met or [(f, m) for f, m in tried.values() if m <= limit]
        if not met:
            least = min(m for _, m in tried.values())
            raise InfeasibleError(
                f"the latency budget of {limit * 1e3:.4g} ms cannot be met on {self.target.name}: the smallest that "
                f"was reached is {least * 1e3:.4g} ms; raise --latency or use a smaller --width",
                {"latency": least},
            )
        best, measured = min(met, key=lambda pair: (pair[0].loss, pair[1]))
        pairs = [{"predicted_s": f.predicted["latency"] * self.correction, "measured_s": m} for f, m in tried.values()]
        return best.to_dict() | {"measured_s": measured, "tried": pairs}

    def built(self, system: str, found: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
        """The network of a system: trained, exported, checked and measured."""
        return dict(self.shared.stage(f"build-{_stage(system, found)}", lambda: self._build(system, found, baseline)))

    def _build(self, system: str, found: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
        own = system == self.config["system"]
        where = self._where(system)
        description = Description.from_dict(found["description"])
        model = block_network(description)
        load_weights(model, self._weights(system, found))
        model.eval()
        save_weights(self.run.path(f"{where}model.safetensors"), model.state_dict(), self.data.metadata)
        self.progress.stage("export" if own else f"export ({system})")
        graph = trace(model, description.input_shape)
        path = self.run.write_bytes(f"{where}model.onnx", to_onnx(graph).SerializeToString())
        images, _ = next(self.data.search.batches(64, normalise=self.data.normalisation))
        parity = check_parity(graph.module, path, images, tolerance=1e-2)
        need_parity(parity)
        save_pt2(graph, self.run.path(f"{where}model.pt2"))
        self.run.write_text(f"{where}network.json", description.to_json())
        size = write_packed(self.run.path(f"{where}model.nsw"), packed_tensors(graph, None))
        if own:
            tables = {"baseline": self.reference, "result": graph.layers}
            self.run.write_json("layers.json", {k: t.to_dict() for k, t in tables.items()})
        timing = {} if self.simulated else self._timing(path, system)
        costs = self.prices.total(graph.layers, self.costs)
        return {
            "search_accuracy": onnx_accuracy(path, self.data.search, self.data.normalisation),
            "latency_measured_s": timing["ratio"] * baseline["latency_measured_s"] if timing else None,
            "latency_predicted_s": costs["latency"] * self.correction, "energy_j": costs.get("energy"),
            "macs": int(graph.layers.macs.sum()), "params": int(graph.layers.params.sum()), "size_bytes": size,
            "timing": timing,
            "parity": {"relative_error": parity.relative_error, "agreement": parity.agreement, "ok": parity.ok},
        }  # fmt: skip

    def _timing(self, path: Path, system: str) -> dict[str, Any]:
        self.progress.stage("measure" if system == self.config["system"] else f"measure ({system})")
        return timed(self.run.path("baseline.onnx"), path, self.config["threads"])

    def _where(self, system: str) -> str:
        return "" if system == self.config["system"] else f"compared/{system}/"

    def _weights(self, system: str, found: Mapping[str, Any]) -> Path:
        """Weights as they were trained; the network that is kept has them in ``model.safetensors`` as well."""
        return self.shared.folder / "checkpoints" / system / f"trained-{_stage(system, found)}.safetensors"

    def trained(self, system: str, found: dict[str, Any]) -> dict[str, Any]:
        """The weights of a system's network, in its file: from scratch, or from those that it had among all paths."""
        name = f"train-{_stage(system, found)}"
        return dict(self.shared.stage(name, lambda: self._train(system, found), together=True))

    def _train(self, system: str, found: dict[str, Any]) -> dict[str, Any]:
        start, description = time.perf_counter(), Description.from_dict(found["description"])
        searched = system.startswith(SEARCHED)
        if inherit := self.config["inherit"] and found["design"] is not None and searched:
            model = self.network(system).extract(np.array(found["design"]))
            reestimate_batch_norm(model, mixed(self.data.search), normalisation=self.data.normalisation)
        else:
            model = load_model(lambda: block_network(description), seed=self.config["seed"]).model
        history: list[Any] = []
        if self.epochs["train"]:
            self.progress.stage("train" if system == self.config["system"] else f"train ({system})")
            rate = self.config["lr"] or (INHERIT_LR if inherit else TRAIN_LR)
            result = fit(
                model, self.data, epochs=self.epochs["train"], lr=rate, weight_decay=TRAIN_DECAY,
                batch_size=self.config["batch_size"], teacher=self._teacher, seed=self.config["seed"],
                checkpoint=self._checkpoints(system) / f"{_key(description)}.safetensors",
                progress=training_events(self.progress), workers=self.shared.workers,
            )  # fmt: skip
            history = [json.loads(json.dumps(h, default=vars)) for h in result.history]
        if self.shared.workers.is_first:
            self._checkpoints(system, alone=True)
            save_weights(self._weights(system, found), model.state_dict())
        return {"history": history, "seconds": time.perf_counter() - start}

    @cached_property
    def _teacher(self) -> Any:
        spec = self.config["teacher"]
        if spec is None:
            return None
        weights = self.config["teacher_weights"]
        shape = self.data.input_shape
        return load_model(spec, weights=weights, num_classes=self.data.known_classes, input_shape=shape).model

    def test(self, found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """Accuracy of each system's network on the test split, looked at once, when every choice is made."""

        def all_of_them() -> dict[str, float]:
            self.progress.stage("test")
            own = self.config["system"]
            paths = {s: self.run.path("model.onnx" if s == own else f"compared/{s}/model.onnx") for s in found}
            return {s: onnx_accuracy(p, self.data.test, self.data.normalisation) for s, p in paths.items()}

        networks = {s: f["description"] for s, f in found.items()}
        return dict(self.shared.stage("test", all_of_them, networks))


def epochs_of(config: Mapping[str, Any], data: Data) -> dict[str, int]:
    """Epochs of warm-up, search and training: as asked for, or by the size of the train split."""
    usual = max(8, min(60, 600_000 // len(data.need_train())))
    search = config["search_epochs"] if config["search_epochs"] is not None else usual
    warmup = config["warmup_epochs"] if config["warmup_epochs"] is not None else max(1, search // 4)
    return {"warmup": warmup, "search": search, "train": usual if config["epochs"] is None else config["epochs"]}


def _stage(system: str, found: Mapping[str, Any]) -> str:
    """What tells the stages of one network of a system from those of another."""
    return f"{system}-{_key(Description.from_dict(found['description']))}"


def _key(description: Description) -> str:
    return sha256(description.to_json().encode()).hexdigest()[:12]

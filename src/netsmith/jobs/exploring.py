"""The stages of an exploration of hardware, each remembered in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsmith.accuracy.candidates import Candidates
from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.accuracy.sensitivity import Sensitivity, measure_sensitivity
from netsmith.decisions.pricing import Pricing
from netsmith.errors import InfeasibleError
from netsmith.hardware.target import Target, has_energy, limits_of, roof_of, settings_of, unknown_costs
from netsmith.jobs.config import ExploreConfig
from netsmith.jobs.stages import SENSITIVITY_EXAMPLES
from netsmith.jobs.subject import Subject
from netsmith.jobs.tools import JobTools
from netsmith.jobs.versions import versions
from netsmith.progress import Part, Progress
from netsmith.runs.folder import Run
from netsmith.search import get_strategy
from netsmith.search.strategy import Problem
from netsmith.space import CostTable
from netsmith.study.cheapest import cheapest
from netsmith.units import format_cost

_COSTS = ("latency", "energy")


@dataclass(frozen=True)
class Exploring:
    """The stages, each remembered in the run folder."""

    run: Run
    subject: Subject
    config: ExploreConfig
    base: Target
    progress: Progress

    def record(self, configurations: list[tuple[dict[str, Any], Target]]) -> dict[str, Any]:
        """Everything, as ``explore.json`` has it."""
        table, space = self.subject.graph.layers, self.subject.space
        images = min(SENSITIVITY_EXAMPLES, len(self.subject.task.search))
        macs = float(table.macs.sum()) * images * int((space.decisions.sizes - 1).sum())
        self.progress.plan("explore", [
            Part("load", 3.0, fixed=True), Part("sensitivity", 1.0 + 0.35 * macs / 4e10),
            Part("configurations", 0.1 * len(configurations)),
        ])  # fmt: skip
        for sentence in (*self.subject.loaded.notes, *unknown_costs(table), *self.subject.graph.warnings):
            self.progress.note(sentence)
        self.progress.note(f"can change: {', '.join(kind.says() for kind in space.kinds)}")
        sensitivity = Sensitivity.from_dict(self.run.stage("sensitivity", self._sensitivity))
        level = dict(self.run.stage("level", lambda: self._level(sensitivity)))
        self.progress.note(f"every network may lose {self._loss(level['max_loss'])}: {level['says']}")
        self.progress.stage("configurations")
        rows = []
        for i, (changes, target) in enumerate(configurations):
            inputs = [settings_of(target), level["max_loss"]]
            name = self.run.digest("configuration", inputs)
            row = self.run.stage(name, lambda t=target: self._priced(t, sensitivity, level["max_loss"]), inputs)  # type: ignore[misc]
            rows.append({"values": changes, **row})
            least = min((r["cost"] for r in rows if r["cost"] is not None), default=None)
            said = "" if least is None else f"least {self.config.minimize} {format_cost(self.config.minimize, least)}"
            self.progress.update(i + 1, len(configurations), said)
        if all(row["cost"] is None for row in rows):
            raise InfeasibleError(
                f"on none of the {len(rows)} configurations a network fits that loses at most "
                f"{self._loss(level['max_loss'])}; raise --max-loss", {},
            )  # fmt: skip
        return {
            "model": self.subject.loaded.spec, "run": str(self.run.folder), "family": self.config.family,
            "base": settings_of(self.base), "base_name": self.base.name,
            "minimize": self.config.minimize, **level, "fields": list(configurations[0][0]),
            "simulated": True, "exact": all(row["exact"] for row in rows if row["cost"] is not None),
            "kept": _kept(self.base), "sensitivity_seconds": sensitivity.seconds,
            f"baseline_{sensitivity.key}": sensitivity.baseline_score, "loss_unit": self._unit,
            "configurations": _smallest(rows, self.config.minimize),
            "versions": versions(),
        }  # fmt: skip

    @property
    def _unit(self) -> str:
        """Of summed losses: nats where they are divergences of probabilities, else shares of a variance."""
        return "" if self.subject.task.needs_scales else "nats"

    def _loss(self, value: float) -> str:
        return f"{value:.4g} {self._unit}".rstrip()

    def _sensitivity(self) -> dict[str, Any]:
        self.progress.stage("sensitivity")
        evaluator = IncrementalEvaluator(
            self.subject.graph, self.subject.task, self.subject.searched(SENSITIVITY_EXAMPLES)
        )
        candidates = Candidates(self.subject.space, JobTools(self.subject, self.config, self.progress))
        return measure_sensitivity(candidates, evaluator, self.progress.update).to_dict()

    def _level(self, sensitivity: Sensitivity) -> dict[str, Any]:
        """The loss that every network may have, and in words where it comes from."""
        if self.config.max_loss is not None:
            return {"max_loss": self.config.max_loss, "says": "as asked for"}
        cost, pricing, space = self.config.minimize, Pricing(self.subject.space, self.base), self.subject.space
        table = pricing.table(cost, pricing.start)
        assert isinstance(table, CostTable)
        given = pricing.given(cost, self.subject.graph.layers)
        least = cheapest(pricing, sensitivity.loss, cost, np.inf).cost
        limit = (given + least) / 2
        problem = Problem(
            sensitivity.loss, {cost: table}, {cost: limit}, space.decisions.tied, given=space.reference
        )  # fmt: skip
        design = np.asarray(get_strategy("uniform", problem, space.decisions).ask(1))
        shown = " of ".join(format_cost(cost, value) for value in (limit, given))
        return {
            "max_loss": float(problem.estimate(design)[0]),
            "says": f"what the best uniform choice loses on {self.base.name} at {shown}, half of what can be saved",
        }  # fmt: skip

    def _priced(self, target: Target, sensitivity: Sensitivity, most: float) -> dict[str, Any]:
        """What a configuration is, what the network as given costs there, and the cheapest design with its bound."""
        name, pricing = self.config.minimize, Pricing(self.subject.space, target)
        costs = _COSTS if has_energy(target) else _COSTS[:1]
        given = {f"given_{cost}": pricing.given(cost, self.subject.graph.layers) for cost in costs}
        row: dict[str, Any] = {"hardware": _hardware(target), "given_energy": None, **given}
        try:
            found = cheapest(pricing, sensitivity.loss, name, most, limits_of(target))
        except InfeasibleError as error:
            return row | dict.fromkeys(("cost", "bound", "exact", "loss", "design", "bits", *_COSTS)) | {
                "why": str(error)
            }  # fmt: skip
        bits = self.subject.space.bits(found.design)
        sides = ("weights", "activations")
        mean = {side: float(np.mean([pair[i] for pair in bits.values()])) for i, side in enumerate(sides) if bits}
        return row | {
            "cost": found.cost, "bound": found.bound, "exact": found.exact, "loss": found.loss, "why": "",
            "design": found.design, "bits": mean if bits else None, "energy": None,
            **{cost: float(pricing.predict(found.design, cost)[0]) for cost in costs},
        }  # fmt: skip


def _hardware(target: Target) -> dict[str, Any]:
    """How much of it there is: units, bytes of its buffers, peak rate at its first widths and bandwidth."""
    config, roof = target.config, roof_of(target, *target.capabilities.bits[0])  # type: ignore[attr-defined]
    return {
        "units": getattr(config, "units", None), "buffer_bytes": getattr(config, "buffer_bytes", None),
        "clock_hz": getattr(config, "clock_hz", getattr(config, "frequency_hz", None)),
        "macs_per_s": None if roof is None else roof.macs_per_s,
        "bytes_per_s": None if roof is None else roof.bytes_per_s,
        "bits": list(target.capabilities.bits[0]),
    }  # fmt: skip


def _smallest(rows: list[dict[str, Any]], cost: str) -> list[dict[str, Any]]:
    """The rows with whether each is worth its size: no other has no more of anything and costs less."""

    def size(row: Mapping[str, Any]) -> list[float]:
        of = row["hardware"]
        return [float(of[key] or 0.0) for key in ("units", "buffer_bytes", "clock_hz", "macs_per_s", "bytes_per_s")]

    sizes = np.array([size(row) for row in rows])
    costs = np.array([np.inf if row["cost"] is None else row["cost"] for row in rows])
    no_more = (sizes[:, None] <= sizes).all(axis=2)  # (other, row)
    less = costs[:, None] < costs * (1 - 1e-9)
    same = (np.abs(costs[:, None] - costs) <= 1e-9 * np.abs(costs)) & (sizes[:, None] < sizes).any(axis=2)
    beaten = (no_more & (less | same)).any(axis=0)
    return [row | {"worth": bool(np.isfinite(c) and not b)} for row, c, b in zip(rows, costs, beaten, strict=True)]


def _kept(base: Target) -> str:
    """In words what the sizes of the hardware do not change in these figures."""
    follows = hasattr(base.config, "following")  # type: ignore[attr-defined]
    scaled = "energy a cycle and depthwise lanes are so much for each unit of the array; " if follows else ""
    return f"{scaled}all other fields, energies of memories among them, stay those of {base.name} whatever their sizes"

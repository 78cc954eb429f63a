"""The front of a given network: one sweep and one table, then several networks, each built and measured.

They lie along one cost, from the most accurate to the cheapest. With a loss or a score that is allowed, they lie where
the search split says that the limit is; the test split is looked at when all of them are built, once each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsmith.accuracy.sensitivity import Sensitivity
from netsmith.certificates import paired_bound
from netsmith.errors import InfeasibleError
from netsmith.files import read_json
from netsmith.hardware.target import has_energy
from netsmith.jobs.config import FrontOptions
from netsmith.jobs.front_choice import would_hold
from netsmith.jobs.front_guaranteed import is_guaranteed, weighed, weighed_curve, weighed_point
from netsmith.jobs.front_marks import int8_alone, uniform
from netsmith.jobs.front_outcome import ended
from netsmith.jobs.front_points import costs_of
from netsmith.jobs.front_search import placed, predicted_curve, search_point
from netsmith.jobs.front_tuning import cut_out, is_cut_from, is_smaller, shares_training, shorter
from netsmith.jobs.memory import MEMORY_FILE
from netsmith.jobs.stages import Stages
from netsmith.jobs.tested import rows_of
from netsmith.progress import Named
from netsmith.runs.folder import Run
from netsmith.study.guaranteed import Weighed
from netsmith.units import format_cost, reached_of

_APART = 0.03  #: shares of a cost that are too close for another network between them
_BELOW = (
    0.9  #: of the cost of integers alone: a network that is pruned must save more than that to be worth its training
)
MOST_LOST = 1.0  #: summed loss of integers alone with which a front may begin


def called(folder: str) -> str:
    """What the stages of a network are named by: ``network 3`` for ``points/3``."""
    kind, _, name = folder.partition("/")
    return f"network {name}" if kind == "points" else name


@dataclass(frozen=True)
class Built:
    """A network of a front: its own run and stages, the design that was found, what building it gave."""

    folder: str
    job: Stages
    found: Mapping[str, Any]
    result: dict[str, Any]
    costs: Mapping[str, float]
    cost: float
    limit: float = 0.0

    @property
    def design(self) -> Any:
        return np.array(self.found["best"]["design"])

    @property
    def is_trained(self) -> bool:
        return bool(self.result["history"])


class Front:
    """What is done for a front, step by step; every result is a stage of a run, so that a killed one goes on.

    Args:
        job: the stages of the run, of which those up to the sensitivities are shared.
        asked: how many networks, along which cost, and what has to be certified.
        options: what the run was started with, as its ``config.json`` has it.
        contents: what the run is pinned to.
    """

    def __init__(
        self, job: Stages, asked: FrontOptions, options: Mapping[str, Any], contents: Mapping[str, str]
    ) -> None:  # fmt: skip
        self.job, self.asked, self.options, self.contents = job, asked, options, contents
        self.cost: str = asked.minimize
        self.metric = job.subject.metric
        self.goal = asked.goal_of(self.metric)
        self.points: list[Built] = []
        self.weighed: Weighed | None = None  #: what a search by accuracy weighed against the cost ran, if that is how
        self._open = ExitStack()

    def run(self) -> dict[str, Any]:
        """All stages; returns the summary of the chosen network as that of the whole.

        Raises:
            InfeasibleError: no design keeps the budgets.
        """
        job, budgets = self.job, self.job.config.budgets.read()
        beside = ["int8"] if self.goal else ["int8", "uniform"]
        job.first_screen([called(f"points/{i + 1}") for i in range(self.asked.count)] + beside)
        self._say_reach()
        self.baseline = job.baseline()
        job.say_doubt(self.baseline)
        job.prepare_target()
        self.limits = job.limits(budgets, self.baseline)
        if self.limits:
            job.say_limits(self.limits, self.baseline)
        self.sensitivity: Sensitivity = job.sensitivity()
        others = {n: v for n, v in self.limits.items() if n != self.cost}
        if is_guaranteed(job, self.asked):
            self.weighed = weighed(job, self.sensitivity, self.cost, others)
        with self._open:
            self._walk()
            marks = self._marks()
            return ended(self, marks)

    def _say_reach(self) -> None:
        """Say before any work where so few test examples can hardly certify what was asked."""
        tests, sure, drop = len(self.job.task.test), self.asked.confidence, self.goal.get("max_drop")
        if drop is None or not self.metric.share:  # how far examples differ is known of no other score
            return
        least = paired_bound(0, 0, tests, sure)
        if drop < least:
            self.job.progress.note(
                f"warning: {tests} test {self.job.task.each} certify no loss below {100 * least:.2f} points at "
                f"{100 * sure:g} % of a network that answers all of them alike; only one that is right more often can "
                "pass"
            )

    # --- where networks lie --------------------------------------------------------------------------------------

    def _walk(self) -> None:
        """From the dearest network to the cheapest; where something has to be certified, to where it surely is not."""
        first, above = self._first(), self._given()
        below: float | None = None
        limits = self._ladder(first)
        if first is not None:
            self.points.append(first)
            if self.goal and not self._hopeful(first):
                below = first.limit
                limits = self._between(above, below)
        tried = len(self.points)
        while limits and tried < self.asked.count:
            tried += 1
            built = self._point(tried, limits[0] if self.goal else self._apart(limits))
            limits = limits[1:]
            if built is None:
                continue
            self.points.append(built)
            if self.goal and self._hopeful(built):
                above = min(above, built.limit)
                limits = limits if below is None else self._between(above, below)
            elif self.goal:
                below = built.limit if below is None else max(below, built.limit)
                limits = self._between(above, below)
        if not self.points:
            raise InfeasibleError("no design keeps the budgets", {})

    def _first(self) -> Built | None:
        """Integers alone, which need no training: where a front begins, if they save something and lose little."""
        found = int8_alone(self) if self.weighed is None else None  # an agent's networks are those that it ran
        if found is None or found["best"]["loss"] > MOST_LOST:
            return None
        design = np.array(found["best"]["design"])
        costs = {n: float(self.job.pricing.predict(design, n)[0]) for n in {self.cost, *self.limits}}
        if "latency" in costs:
            costs["latency"] = found["best"]["measured_s"]
        if costs[self.cost] >= self._given() or any(costs[n] > limit for n, limit in self.limits.items()):
            return None
        return self.built("points/1", found, None, costs[self.cost])

    def _ladder(self, first: Built | None) -> list[float]:
        """Limits on the cost below a first network, the dearest first, in SI units as they would be measured."""

        def place() -> list[float]:
            self.job.progress.stage("front")
            scale = self._given() / self.job.given(self.cost)
            others = {n: v for n, v in self.limits.items() if n != self.cost}
            if self.weighed is not None:
                curve = weighed_curve(self.weighed, 1.0 - float(self.baseline[f"search_{self.metric.key}"]))
            else:
                curve = predicted_curve(self.job, self.sensitivity.loss, self.cost, others)
            curve[:, 0] *= scale
            if first is None:
                return placed(curve, self.asked.count)
            there = np.array([[first.limit, first.found["best"]["loss"]]])
            below = curve[curve[:, 0] < first.limit * _BELOW]
            if not len(below):
                return []
            return [min(v, first.limit * _BELOW) for v in placed(np.concatenate([there, below]), self.asked.count)[1:]]

        most = self.limits.get(self.cost, np.inf)
        wanted = [self.limits, None if first is None else first.limit]
        found = [v for v in self.job.run.stage("front", place, wanted) if v <= most]
        return found or ([most] if first is None else [])

    def _apart(self, limits: Sequence[float]) -> float:
        """The next limit; further on where measuring has shown that the last network is there already."""
        least = min((p.cost for p in self.points), default=np.inf)
        if limits[0] < least * (1 - _APART):
            return limits[0]
        return float(np.sqrt(least * limits[1])) if len(limits) > 1 and limits[1] < least else limits[0]

    def _between(self, above: float, below: float) -> list[float]:
        """A limit between one that seems to hold and one that does not; none where they are next to each other."""
        return [float(np.sqrt(above * below))] if below < above * (1 - _APART) else []

    def _given(self) -> float:
        """The cost of the network as given, as measured where it is."""
        if self.cost == "latency" and not self.job.simulated:
            return float(self.baseline["latency_measured_s"])
        return self.job.given(self.cost)

    def _hopeful(self, built: Built) -> bool:
        """Whether what was asked would be certified if the test split were as the search split is."""
        before, after = rows_of(self.baseline["search"]), rows_of(built.result["search"])
        return would_hold(before, after, len(self.job.task.test), self.asked.confidence, self.metric, **self.goal)

    # --- one network -----------------------------------------------------------------------------------------------

    def _point(self, number: int, limit: float) -> Built | None:
        """The network of a limit; nothing where another one is the same."""
        dearer = [p for p in self.points if p.limit >= limit]
        parent = min((p for p in dearer if p.is_trained), key=lambda p: p.cost, default=None)
        inside = parent.design if parent is not None and shares_training(self.job) else None
        limits = {**self.limits, self.cost: min(limit, self.limits.get(self.cost, limit))}
        before = [p.found for p in self.points]
        if self.weighed is not None:
            found = weighed_point(self.job, number, self.weighed, self.sensitivity, self.cost, limits, before)
        else:
            found = search_point(self.job, number, self.sensitivity, self.cost, limits, before, inside)
        if any(p.found["best"]["design"] == found["best"]["design"] for p in self.points):
            self.job.progress.note("  the same network as before: it is built once")
            return None
        return self.built(f"points/{len(self.points) + 1}", found, parent, limit)

    def built(self, folder: str, found: Mapping[str, Any], parent: Built | None, limit: float = 0.0) -> Built:
        """A network in a run of its own: trained, exported, checked and measured."""
        home, design = self.job, np.array(found["best"]["design"])
        run = self._open.enter_context(
            Run.start(home.run.folder / folder, {**self.options, "point": folder}, resume=True)
        )
        run.pin(self.contents)
        goes_on = parent is not None and is_smaller(home, design) and is_cut_from(home, design, parent.design)
        how = shorter(home, home.config.seed) if goes_on and shares_training(home) else (None, None)
        job = home.within(run, Named(home.progress, called(folder)), *how)

        def copied() -> dict[str, Any]:  # what the network is timed against, so that its run is whole
            run.write_bytes("baseline.onnx", home.run.path("baseline.onnx").read_bytes())
            return self.baseline

        run.stage("baseline", copied)
        if how[0] is not None and parent is not None:
            cut_out(job, design, parent.job.run)
        result = job.build(0, dict(found), self.baseline)
        if how[0] is not None and parent is not None:
            result = result | {"started_from": parent.folder}
        costs = costs_of(self._side(job, found, result))
        return Built(folder, job, found, result, costs, costs.get(self.cost, limit), limit)

    def _side(self, job: Stages, found: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
        """Costs of a network as a summary has them."""
        design = np.array(found["best"]["design"])
        held = read_json(job.run.path(MEMORY_FILE), "repeat the run")["result"]
        joules = float(job.pricing.predict(design, "energy")[0]) if has_energy(job.target) else None
        return {
            **result, "latency_predicted_s": found["best"]["predicted_s"], "energy_j": joules,
            "memory_bytes": held["peak_bytes"] if held else None,
        }  # fmt: skip

    def kept(self) -> list[Built]:
        """The networks that keep every budget as they were built, the dearest first.

        Raises:
            InfeasibleError: none does.
        """
        found = []
        for point in self.points:
            over = {n: v for n, v in self.limits.items() if point.costs[n] > v}
            if not over:
                found.append(point)
                continue
            said = reached_of({n: point.costs[n] for n in over}, over)
            self.job.progress.note(f"  {point.folder} is over a budget as it was built and is left out: {said}")
        if not found:
            name, most = next(iter(self.limits.items()))
            raise InfeasibleError(
                f"no network of the front keeps {name} within {format_cost(name, most)} as it was built", {}
            )
        return sorted(found, key=lambda p: -p.cost)

    def _marks(self) -> dict[str, Built]:
        """What everybody would try: integers alone, and every layer pruned alike and trained as others are."""
        marks = dict[str, Built]()
        trained = next((p for p in self.points if p.is_trained), None)
        for name, make, parent in (("int8", int8_alone, None), ("uniform", uniform, trained)):
            found = make(self)
            if found is None:
                continue
            same = [p for p in self.points if p.found["best"]["design"] == found["best"]["design"]]
            marks[name] = same[0] if same else self.built(f"marks/{name}", found, parent)
        return marks

"""A front of networks of a design space: one search and one table of prices, then a network at each of some limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from netsmith.errors import InfeasibleError
from netsmith.jobs.config import FrontOptions
from netsmith.jobs.family_front import choose_along, middle_of, reach
from netsmith.jobs.family_outcome import summarise
from netsmith.jobs.finishing import built, scored, trained
from netsmith.jobs.front_choice import Choice, choose
from netsmith.jobs.front_points import costs_of, given_of, point_of, reported, whole
from netsmith.jobs.front_points import scored as score_of
from netsmith.jobs.plans import of_specialization
from netsmith.jobs.specialization import Specialization
from netsmith.jobs.tested import packed, rows_of
from netsmith.jobs.together import RunTogether
from netsmith.metrics import FloatArray
from netsmith.network.layout import run_batch
from netsmith.report.figures import command
from netsmith.runs.front_record import FRONT_FILE
from netsmith.training.modes import set_mode
from netsmith.units import COST_NAMES, Budget, format_cost


@dataclass
class _Network:
    """One network of the front: its run, what was found and what it came to."""

    folder: str
    job: Specialization
    found: dict[str, Any]
    result: dict[str, Any]


def find_front(
    job: Specialization, budgets: Mapping[str, Budget], asked: FrontOptions, options: Mapping[str, Any]
) -> dict[str, Any]:  # fmt: skip
    """All stages of a front; returns the summary of the chosen network as that of the whole.

    Args:
        options: what the run was started with, as its ``config.json`` has it.

    Raises:
        InfeasibleError: no network keeps the budgets.
    """
    names = [f"network {i} of {asked.count}" for i in range(1, asked.count + 1)]
    job.progress.plan("specialize", of_specialization(job, (job.config.search.system,), names))
    job.first_screen()
    baseline = job.baseline()
    job.priced(baseline, budgets, along=asked.minimize)
    found = _found(job, asked)
    with ExitStack() as stack:
        networks = []
        for i, one in enumerate(found, 1):
            folder, name = f"points/{i}", f"network {i} of {len(found)}"
            shared = stack.enter_context(
                RunTogether(job.home.folder / folder, {**options, "point": i}, True, job.home.workers)
            )
            networks.append(_built(job.within(shared, name), folder, one, baseline))
        return _ended(job, _kept(job, networks), baseline, asked, options)


def _found(job: Specialization, asked: FrontOptions) -> list[dict[str, Any]]:
    """The networks, the most expensive first, as they were chosen; probabilities are learned at the middle limit."""
    system, cost, own = job.config.search.system, asked.minimize, dict(job.limits)
    limits = job.as_predicted(own)
    least, most = reach(job.tables, cost, limits)
    scale = job.correction if cost == "latency" else 1.0
    job.limits = own | {cost: middle_of(least, most) * scale}
    chooser = job.chooser(system)
    job.course.head = {**job.course.head, "limits": job.limits}  # of the search, in a run that is resumed as well
    job.limits = own

    def choose_all() -> list[dict[str, Any]]:
        job.announce("choose", system)
        chosen = choose_along(chooser, cost, limits, asked.count)
        for one in chosen:
            job.progress.note(f"  {COST_NAMES[cost]} {format_cost(cost, one.predicted[cost] * scale)}, predicted")
        return [one.to_dict() | {"measured_s": None, "tried": []} for one in chosen]

    return list(job.shared.stage(f"front-{system}", choose_all))


def _built(job: Specialization, folder: str, found: dict[str, Any], baseline: dict[str, Any]) -> _Network:
    """A network in a run of its own: trained as that of a single run is, exported, checked and measured."""
    system = job.config.search.system
    job.run.pin(job.contents | job.teacher_contents())

    def copied() -> dict[str, Any]:  # what the network is timed against, so that its run is whole
        job.run.write_bytes("baseline.onnx", (job.home.folder / "baseline.onnx").read_bytes())
        return baseline

    job.shared.stage("baseline", copied)
    result = trained(job, system, found) | built(job, system, found, baseline)
    return _Network(folder, job, found, result)


def _kept(job: Specialization, networks: Sequence[_Network]) -> list[_Network]:
    """Those that keep every budget as they were built, costs as measured.

    Raises:
        InfeasibleError: none does.
    """
    kept = []
    for network in networks:
        costs = costs_of(network.result)
        over = {name: costs[name] for name, limit in job.limits.items() if costs[name] > limit}
        if not over:
            kept.append(network)
            continue
        said = ", ".join(
            f"{COST_NAMES[n]} {format_cost(n, v)} of {format_cost(n, job.limits[n])}" for n, v in over.items()
        )
        job.progress.note(f"  {network.folder} is over the budget as it was built and is left out: {said}")
    if not kept:
        least = {n: min(costs_of(one.result)[n] for one in networks) for n in job.limits}
        reached = " and ".join(f"{COST_NAMES[n]} {format_cost(n, v)}" for n, v in least.items())
        raise InfeasibleError(f"no network of the front keeps the budgets: the smallest reached are {reached}", least)
    return kept


def _ended(
    job: Specialization, networks: Sequence[_Network], baseline: dict[str, Any], asked: FrontOptions,
    options: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """The test split is looked at, in an order that is fixed before; then the choice and every summary."""
    system, cost = job.config.search.system, asked.minimize
    ordered = sorted(networks, key=lambda one: -costs_of(one.result)[cost])
    taught = _taught(job)
    metric, before = job.metric, None if taught is None else rows_of(taught["before"])
    scores = [scored(one.job, {system: one.found}, announce=not i)[system] for i, one in enumerate(ordered)]
    noted, goal = [rows_of(score) for score in scores], asked.goal_of(metric)
    choice = choose(
        before, noted, [one.result[f"search_{metric.key}"] for one in ordered], asked.confidence, metric=metric,
        max_drop=goal.get("max_drop"), min_score=goal.get("min_score"),
    )  # fmt: skip
    summaries, points = [], []
    for i, (one, score) in enumerate(zip(ordered, scores, strict=True)):
        sure = choice.certificates[i]
        if choice.certified[i] is None:  # by itself it may be said what is certain, but not that it was tested
            sure = sure.asking()
        if taught is not None:  # so that the certificate can be checked from the network's own run
            one.job.shared.stage("test-teacher", partial(dict, taught))
        summary = summarise(one.job, baseline, {system: (one.found, one.result)}, {system: score})
        whole = {"command": command(summary, options), "certificate": sure.to_dict()}  # that makes the front again
        summaries.append(one.job.run.finish(summary | whole))
        points.append(point_of(one.folder, summary, noted[i], sure, choice.certified[i]))
    return _summary(job, summaries, points, choice, before, asked)


def _summary(
    job: Specialization, summaries: Sequence[Mapping[str, Any]], points: Sequence[dict[str, Any]], choice: Choice,
    before: FloatArray | None, asked: FrontOptions,
) -> dict[str, Any]:  # fmt: skip
    """The chosen network's summary as that of the whole, with all networks; ``front.json`` is written."""
    chosen = summaries[choice.chosen]
    folder = points[choice.chosen]["folder"]
    shown = reported(points, asked.minimize, job.metric)
    front: dict[str, Any] = {
        "points": shown, "marks": [], "chosen": folder, "rule": choice.rule, "minimize": asked.minimize,
        "asked": asked.goal_of(job.metric),
        "baseline": given_of(chosen, None, asked.confidence, job.metric) | {"name": "the reference"},
    }  # fmt: skip
    if before is not None:
        front["teacher"] = score_of(job.metric, before, asked.confidence)
    if job.shared.workers.is_first:
        job.run.write_json(FRONT_FILE, shown)
    return whole(str(job.run.folder), chosen, folder, front)


def _taught(job: Specialization) -> dict[str, Any] | None:
    """Which test examples the teacher gets right, as ``before``, which losses are against; None without a teacher."""
    if job.teacher is None:
        return None

    def asked() -> dict[str, Any]:
        was, said = job.teacher.training, []
        set_mode(job.teacher, False)
        with torch.inference_mode():
            for batch in job.task.test.batches(256):
                said.append(job.task.partial(run_batch(job.teacher, batch), batch))
        set_mode(job.teacher, was)
        return {"before": packed(job.task, np.concatenate(said))}

    return dict(job.shared.stage("test-teacher", asked))

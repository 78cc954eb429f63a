"""The end of a front: the test split is looked at, a network is chosen, and every summary is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netsmith.certificates import certificate
from netsmith.jobs.drawn import drawn
from netsmith.jobs.front_choice import choose
from netsmith.jobs.front_points import given_of, point_of, reported, whole
from netsmith.jobs.outcome import summarise
from netsmith.jobs.tested import rows_of
from netsmith.metrics import Metric
from netsmith.runs.front_record import FRONT_FILE

if TYPE_CHECKING:
    from netsmith.jobs.front import Built, Front


def ended(front: Front, marks: Mapping[str, Built]) -> dict[str, Any]:
    """Test every network once, in an order that is fixed before; then choose, and write every summary.

    Returns:
        The summary of the chosen network as that of the whole, with all networks; ``front.json`` is written.
    """
    job, asked = front.job, front.asked
    points = front.kept()  # the order of the claims: fixed before the test split is looked at

    def look() -> dict[str, Any]:
        job.progress.stage("test")
        return job.tested("baseline.onnx", job.progress.update)

    given = dict(job.run.stage("test", look))
    others = [m for m in marks.values() if all(m is not p for p in points)]
    scores = {id(one): one.job.test(given) for one in [*points, *others]}
    metric, before = front.metric, rows_of(given)
    noted = {id(p): rows_of(scores[id(p)]["tested"]["after"]) for p in points}
    claims = [p for p in points if not _is_beaten(p, points, metric)]
    held_out = [p.result[f"search_{metric.key}"] for p in claims]
    choice = choose(
        before, [noted[id(p)] for p in claims], held_out, asked.confidence, metric=metric,
        max_drop=front.goal.get("max_drop"), min_score=front.goal.get("min_score"),
    )  # fmt: skip
    known = dict(zip(map(id, claims), choice.certificates, strict=True))
    certified = dict(zip(map(id, claims), choice.certified, strict=True))
    summaries, ready = dict[int, dict[str, Any]](), dict[int, dict[str, Any]]()
    for point in points:
        drawn(point.job)
        # of what is not tested it may be said what is certain, but not that it is certified
        tested_here = certified.get(id(point)) is not None
        sure = known.get(id(point)) or certificate(before, noted[id(point)], asked.confidence, metric=metric)
        sure = sure.asking(**(front.goal if tested_here else {}))
        summary = _summary(front, point, scores[id(point)]) | {"certificate": sure.to_dict()}
        summaries[id(point)] = point.job.run.finish(summary)
        proven = {"divergence": point.found["best"]["loss"], "bound": point.found["best"]["bound"]}
        least = point.found["least"]
        proven["cost_bound"] = None if least is None else least * point.cost
        ready[id(point)] = point_of(point.folder, summary, noted[id(point)], sure, certified.get(id(point)), proven)
    for mark in others:
        rows = rows_of(scores[id(mark)]["tested"]["after"])
        sure = certificate(before, rows, asked.confidence, metric=metric)
        summary = _summary(front, mark, scores[id(mark)]) | {"certificate": sure.to_dict()}
        mark.job.run.finish(summary)
        ready[id(mark)] = point_of(mark.folder, summary, rows, sure, None)
    shown = reported([ready[id(p)] for p in points], asked.minimize, metric)
    one = claims[choice.chosen]
    chosen, folder = summaries[id(one)], one.folder
    job.run.write_json(FRONT_FILE, shown)
    found = {
        "points": shown, "marks": [{"name": name, **ready[id(mark)]} for name, mark in marks.items()],
        "chosen": folder, "rule": choice.rule, "minimize": asked.minimize, "asked": front.goal,
        "baseline": given_of(chosen, before, asked.confidence, metric),
    }  # fmt: skip
    return whole(str(job.run.folder), chosen, folder, found)


def _is_beaten(point: Built, points: Sequence[Built], metric: Metric) -> bool:
    """Whether another network is cheaper and no worse on the search split: then nothing is claimed of this one."""

    def rank(one: Built) -> float:
        return metric.rank(one.result[f"search_{metric.key}"])

    return any(p.cost < point.cost and rank(p) >= rank(point) for p in points)


def _summary(front: Front, one: Built, score: Mapping[str, Any]) -> dict[str, Any]:
    made = summarise(
        one.job, front.baseline, front.sensitivity, dict(one.found), one.result | dict(score), front.limits
    )
    return made | {"started_from": one.result.get("started_from")}

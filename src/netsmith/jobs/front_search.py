"""Where the networks of a front lie along a cost, and the design of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netsmith.accuracy.sensitivity import Sensitivity
from netsmith.decisions.kind import BoolArray, Designs, FloatArray
from netsmith.errors import InfeasibleError, NetsmithError
from netsmith.jobs.searching import Searching, study_of
from netsmith.jobs.stages import Stages
from netsmith.search.registry import get_strategy, strategy_spec
from netsmith.study.approximation import SequentialApproximation
from netsmith.study.cheapest import AtLoss, cheapest
from netsmith.study.closing import Attempt
from netsmith.study.evaluator import Outcome
from netsmith.study.study import Study
from netsmith.units import format_cost

SEEN = 16  #: limits at which the trade-off is predicted
_HALF = 0.3  #: a loss that counts as half of what can be lost, where networks are placed
_FREE = 0.01  #: of all that can be lost; what loses less is as good as the network as given
_PROOF_S = 10.0  #: for the proof of one least cost


def predicted_curve(job: Stages, loss: FloatArray, cost: str, others: Mapping[str, float]) -> FloatArray:
    """The predicted trade-off, ``(n, 2)``: a cost, and the least summed loss at it, from the dearest to the cheapest.

    It says where networks are to lie, and nothing of what they are.

    Args:
        others: limits on other costs, as predicted.

    Raises:
        InfeasibleError: no design keeps them.
    """
    traits = strategy_spec("exact").traits
    study = Study(lambda problem: get_strategy("exact", problem), traits, None, 0, "exact")
    least = cheapest(job.pricing, loss, cost, np.inf, others)
    most, around = max(job.given(cost), least.cost), job.pricing.start
    found = [(least.cost, least.loss)]
    for limit in np.geomspace(least.cost, most, SEEN)[1:]:
        solver = SequentialApproximation(job.pricing, loss, {**others, cost: float(limit)}, study, renewed=True)
        try:
            design = solver.solve(1.0, around).design
        except InfeasibleError:
            continue
        found.append((solver.predict(design, cost), solver.summed(design)))
    best: list[tuple[float, float]] = []
    for point in sorted(set(found)):  # a design that costs more and loses as much is on no curve
        if not best or point[1] < best[-1][1]:
            best.append(point)
    return np.array(best[::-1])


def placed(curve: FloatArray, count: int) -> list[float]:
    """Limits of so many networks along a curve ``(n, 2)``, evenly by what they cost and lose, the dearest first.

    Where next to nothing is lost, the cheapest is what everybody takes: that is where the front begins. Where most is
    lost, what is saved beside that counts little, down to the cheapest of all, where the front ends.
    """
    cost, lost = np.log(curve[:, 0]), curve[:, 1] / (curve[:, 1] + _HALF)
    first = int(np.flatnonzero(lost <= max(_FREE, lost[0]))[-1])  # losses grow along a curve, but for its beginning
    cost, lost = cost[first:], lost[first:]
    if len(cost) < 2:
        return [float(np.exp(cost[0]))]
    along = (cost - cost[0]) / (cost[-1] - cost[0])
    left = 1 - (lost[:-1] + lost[1:]) / 2
    steps = np.hypot(np.diff(along) * left, np.diff(lost) / max(float(np.ptp(lost)), 1e-12))
    way = np.concatenate([[0.0], np.cumsum(steps)])
    return [float(v) for v in np.exp(np.interp(np.linspace(0, way[-1], count), way, cost))]


def search_point(
    job: Stages, number: int, sensitivity: Sensitivity, cost: str, limits: Mapping[str, float], before: Sequence[Any],
    inside: Designs | None,
) -> dict[str, Any]:  # fmt: skip
    """The design of one network: the least loss within the limits, as the run's strategy finds it.

    What became of designs in the searches before is told again, so that none is evaluated twice.

    Args:
        number: of the network, from 1.
        cost: that the front goes along.
        limits: on it and on others, SI units, latency as it would be measured.
        before: results of the searches before, in order.
        inside: a design ``(D,)`` out of which this one must be cut, if any.

    Returns:
        JSON values: ``best`` and ``attempts`` as of any search, ``told`` (what is known now), ``least``, the
        share of its cost that is proven to be needed for as small a summed loss.
    """
    wanted = [dict(limits), None if inside is None else inside.tolist(), [b["best"]["design"] for b in before]]
    return dict(
        job.run.stage(f"search-{number}", lambda: _search(job, sensitivity, cost, dict(limits), before, inside), wanted)
    )


def _search(
    job: Stages, sensitivity: Sensitivity, cost: str, limits: dict[str, float], before: Sequence[Any],
    inside: Designs | None,
) -> dict[str, Any]:  # fmt: skip
    job.progress.stage("search")
    made_of = Searching(job.run, job.subject, job.config, job.candidates, job.pricing, job.evaluations, job.progress)
    study = study_of(made_of, sensitivity, tuple(limits))
    if before:
        study.additivity = next((b["additivity"] for b in before if b["additivity"] is not None), None)
    log = study.log
    for row in before[-1]["told"] if before and log is not None else ():
        assert log is not None
        study.told[log.key(np.array(row["design"]))] = (
            np.array(row["design"]),
            Outcome(row["loss"], figures=row["figures"]),
        )
    loss, allowed = sensitivity.loss, None if inside is None else _inside(job, sensitivity.loss, inside)
    solver = SequentialApproximation(job.pricing, loss, limits, study, "renew" in study.traits.needs, allowed)
    around = np.array(before[-1]["best"]["design"]) if before else job.pricing.start
    correction = corrected(before, job)
    bound: float | None
    try:
        found = solver.solve(correction, around)
        design, lost, bound = found.design, found.loss, found.bound
    except InfeasibleError as error:
        others = {n: v / (correction if n == solver.expanded else 1.0) for n, v in limits.items() if n != cost}
        within = loss if allowed is None else np.where(allowed, loss, np.inf)
        design, lost, bound = cheapest(job.pricing, within, cost, np.inf, others).design, None, None
        job.progress.note(f"  {error}: the design of least cost is taken")
    told = [{"design": d.tolist(), "loss": o.loss, "figures": dict(o.figures)} for d, o in study.told.values()]
    more = {"additivity": study.additivity, "told": told}
    return found_of(job, design, sensitivity.loss, cost, limits, lost, bound, correction) | more


def found_of(
    job: Stages, design: Designs, loss: FloatArray, cost: str, limits: Mapping[str, float], lost: float | None,
    bound: float | None, correction: float,
) -> dict[str, Any]:  # fmt: skip
    """What is said of a design that was found, as JSON values: its latency by a short measurement, and what is proven.

    Args:
        loss: ``(D, K)`` sensitivities.
        lost: what the search went by; by default the summed sensitivities.
        bound: proven on that.
        correction: measured over predicted latency.
    """
    summed = float(loss[np.arange(len(design)), design].sum())
    attempt = _attempt(job, design, summed if lost is None else lost, bound, correction)
    predicted = {n: float(job.pricing.predict(design, n)[0]) for n in {cost, *limits}}
    figures = {n: predicted[n] for n in limits} | {"latency": attempt.measured_s}
    job.progress.note(f"  {', '.join(format_cost(n, v) for n, v in figures.items())}, loss {attempt.loss:.4g}")
    return {
        "best": attempt.to_dict(), "attempts": [attempt.to_dict()], "additivity": None, "told": [],
        "least": least_share(job, loss, cost, design, summed), "predicted": predicted,
    }  # fmt: skip


def _inside(job: Stages, loss: FloatArray, design: Designs) -> BoolArray:
    """Choices, ``(D, K)``, that bring back nothing that a design has not; numbers are free."""
    structure = job.space.of_stage("topology", "structure")
    wider = np.arange(loss.shape[1])[None] > np.asarray(design)[:, None]
    return np.asarray(~(structure[:, None] & wider))


def corrected(before: Sequence[Any], job: Stages) -> float:
    """Measured over predicted latency, as far as it is known."""
    if job.simulated:
        return 1.0
    if before:
        best = before[-1]["best"]
        return float(best["measured_s"] / job.pricing.predict(np.array(best["design"]))[0])
    start = job.pricing.start
    return float(job.quick(start) / job.pricing.predict(start)[0])


def _attempt(job: Stages, design: Designs, loss: float, bound: float | None, correction: float) -> Attempt:
    predicted = float(job.pricing.predict(design)[0])
    measured = predicted if job.simulated else job.quick(design)
    job.run.log_trial(
        design.tolist(), {"loss": loss}, {"latency_s": measured, "predicted_s": predicted * correction},
        kind=job.config.strategy.name,
    )  # fmt: skip
    return Attempt(tuple(int(k) for k in design), predicted * correction, measured, loss, bound, True)


def least_share(job: Stages, loss: FloatArray, cost: str, design: Designs, summed: float) -> float | None:
    """What no design of this space costs less than that loses as little, under the model: a share of its own cost."""
    try:
        found: AtLoss = cheapest(job.pricing, loss, cost, summed * (1 + 1e-9) + 1e-12, None, design, _PROOF_S)
    except NetsmithError:  # nothing else loses as little, or the time was over before anything was proven
        return None
    return min(1.0, float(found.bound / job.pricing.predict(design, cost)[0]))

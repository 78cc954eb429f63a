"""What everybody would try before a search, as marks beside a front: integers alone, and every layer pruned alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netsmith.decisions.integers import Integers
from netsmith.errors import InfeasibleError
from netsmith.jobs.front_tuning import is_smaller
from netsmith.search.registry import get_strategy, strategy_spec
from netsmith.study.approximation import SequentialApproximation
from netsmith.study.closing import Attempt
from netsmith.study.study import Study

if TYPE_CHECKING:
    from netsmith.jobs.front import Front


def int8_alone(front: Front) -> dict[str, Any] | None:
    """Every layer in 8-bit integers and nothing else; nothing where integers are not among what may change."""
    job = front.job
    if job.space.is_mixed or job.space.kind(Integers) is None:
        return None
    design = np.where(job.space.of_stage("numbers"), 0, job.space.reference)
    return _found(front, "int8", job.space.canonical(design))


def uniform(front: Front) -> dict[str, Any] | None:
    """Every layer pruned alike, at about the cost of the middle network, in integers where that is a method.

    It is trained as long as a network of a single run. Where the sequence of tests goes by a certificate, nobody asks
    for it, and time is short.
    """
    job, middle = front.job, sorted(front.points, key=lambda p: p.cost)[len(front.points) // 2]
    if front.asked.goal or not is_smaller(job, middle.design):
        return None
    traits, seed = strategy_spec("uniform").traits, job.config.seed
    study = Study(lambda problem: get_strategy("uniform", problem, seed=seed), traits, None, 0, "uniform")
    limits = {front.cost: float(job.pricing.predict(middle.design, front.cost)[0])}
    start = np.where(job.space.of_stage("numbers"), middle.design, job.space.reference)
    solver = SequentialApproximation(job.pricing, front.sensitivity.loss, limits, study)
    try:
        design = solver.solve(1.0, start).design
    except InfeasibleError:
        return None
    return _found(front, "uniform", design) if is_smaller(job, design) else None


def _found(front: Front, name: str, design: Any) -> dict[str, Any]:
    """A design as a search gives it."""
    job = front.job

    def make() -> dict[str, Any]:
        predicted = float(job.pricing.predict(design)[0])
        loss = float(front.sensitivity.loss[np.arange(len(design)), design].sum())
        attempt = Attempt(tuple(int(k) for k in design), predicted, predicted, loss, None, True)
        return {"best": attempt.to_dict(), "attempts": [], "additivity": None, "least": None}

    return dict(job.run.stage(f"mark-{name}", make, [int(k) for k in design]))

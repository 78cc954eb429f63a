"""The networks of a front by an agent's accuracy-guaranteed reward: one search without a budget, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netsmith.accuracy.sensitivity import Sensitivity
from netsmith.decisions.kind import FloatArray
from netsmith.jobs.config import FrontOptions
from netsmith.jobs.front_search import corrected, found_of
from netsmith.jobs.searching import Searching, log_of
from netsmith.jobs.stages import Stages
from netsmith.search.registry import get_strategy
from netsmith.search.strategy import Problem, Strategy
from netsmith.study.facts import Facts
from netsmith.study.guaranteed import Weighed, accuracy_guaranteed
from netsmith.units import format_cost

_WORST = 0.5  #: share of more errors than as given; what loses that is no place for a network


def is_guaranteed(job: Stages, asked: FrontOptions) -> bool:
    """Whether something has to be certified, and the strategy has the reward that weighs errors against a cost.

    Errors are what a share lacks to one: of other scores nobody knows how much there is to lose.
    """
    return bool(asked.goal) and job.config.strategy.traits.guarantees and job.subject.metric.share


def weighed(job: Stages, sensitivity: Sensitivity, cost: str, others: Mapping[str, float]) -> Weighed:
    """What the run's strategy ran under that reward; one stage, whose designs are in the log as they are run.

    Args:
        others: limits on other costs, as predicted.
    """

    def search() -> dict[str, Any]:
        job.progress.stage("search")
        made_of = Searching(
            job.run, job.subject, job.config, job.candidates, job.pricing, job.evaluations, job.progress
        )
        strategy, space = job.config.strategy, job.space.decisions
        facts = Facts(job.space, job.pricing, (cost, *others)).options(strategy.traits.needs)

        def make(problem: Problem, **reward: Any) -> Strategy:
            return get_strategy(strategy.name, problem, space, job.config.seed, **facts, **reward)

        found = accuracy_guaranteed(
            job.pricing, sensitivity.loss, cost, log_of(made_of), make, strategy.traits, job.evaluations, others,
            strategy.name, job.progress,
        )  # fmt: skip
        job.progress.note(
            f"  {strategy.name} was rewarded by error and {cost}, without a budget: of {len(found)} designs that it "
            f"ran {len(found.candidates)} are beaten by no other in both"
        )
        return found.to_dict()

    return Weighed.from_dict(job.run.stage("search-guaranteed", search, [cost, dict(others)]), len(sensitivity.loss))


def weighed_curve(found: Weighed, given_error: float) -> FloatArray:
    """The trade-off that was found, ``(n, 2)``: a cost, and how many more errors are made at it than as given."""
    best = found.candidates
    more = np.maximum(best.error - given_error, 0.0)
    usable = more <= max(_WORST, float(more.min()))
    return np.column_stack([best.cost, more])[usable]


def weighed_point(
    job: Stages, number: int, found: Weighed, sensitivity: Sensitivity, cost: str, limits: Mapping[str, float],
    before: Sequence[Any],
) -> dict[str, Any]:  # fmt: skip
    """The design of one network: of what was run within a limit, the one of fewest errors.

    Arguments and result as of :func:`~netsmith.jobs.front_search.search_point`.
    """

    def choose() -> dict[str, Any]:
        correction = corrected(before, job)
        inside = found.within(limits[cost] / (correction if cost == "latency" else 1.0)).candidates
        best = inside if len(inside) else found.candidates
        at = 0 if len(inside) else len(best) - 1
        if not len(inside):
            job.progress.note(f"  no design that was run costs {format_cost(cost, limits[cost])} or less")
        return found_of(job, best.designs[at], sensitivity.loss, cost, limits, float(best.error[at]), None, correction)

    return dict(job.run.stage(f"search-{number}", choose, [dict(limits), [b["best"]["design"] for b in before]]))

"""The study of a compression: its strategy, as that says it wants to be run, and what evaluates designs for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from netsmith.accuracy.candidates import Candidates
from netsmith.accuracy.incremental import IncrementalEvaluator
from netsmith.accuracy.sensitivity import Sensitivity
from netsmith.decisions.kind import Designs
from netsmith.decisions.pricing import Pricing
from netsmith.decisions.slim import Slimmed, slim
from netsmith.decisions.tools import AtHand
from netsmith.jobs.config import CompressConfig
from netsmith.jobs.recover import QAT_LR
from netsmith.jobs.subject import Subject
from netsmith.jobs.tools import scores_of
from netsmith.progress import Progress
from netsmith.runs.folder import Run
from netsmith.search.registry import BUILT_IN, get_strategy
from netsmith.search.strategy import Problem, Strategy
from netsmith.study.evaluator import Evaluator, Key, Logged, Outcome, Summed
from netsmith.study.facts import Facts
from netsmith.study.guarded import Guarded
from netsmith.study.inherited import FOLDER, Inherited
from netsmith.study.measured import Measured
from netsmith.study.study import Study
from netsmith.study.tuned import Scorer, Tuned

EVALUATION_EXAMPLES = 512
EVALUATED = "evaluation"  #: trials of whole designs on the search split
RANKS = "divergence"  #: of the figures of a trial, what a search goes by


@dataclass(frozen=True)
class Searching:
    """What a study of a compression is made of.

    Attributes:
        run: has the log of trials.
        subject, config: of the job.
        candidates: the decisions, and what their kinds need.
        pricing: renews cost tables.
        evaluations: designs to run.
        progress: of the job.
    """

    run: Run
    subject: Subject
    config: CompressConfig
    candidates: Candidates
    pricing: Pricing
    evaluations: int
    progress: Progress


def study_of(job: Searching, sensitivity: Sensitivity, costs: Sequence[str]) -> Study:
    """The study of a job.

    Args:
        costs: names of those with a budget.
    """
    config, space = job.config.strategy, job.subject.space
    traits, count, seed = config.traits, job.evaluations, job.config.seed
    facts = Facts(space, job.pricing, costs).options(traits.needs)

    def make(problem: Problem) -> Strategy:
        return get_strategy(config.name, problem, space.decisions, seed, **facts)

    def guarded(problem: Problem) -> Strategy:
        return Guarded(config.name, problem, traits, make)

    log: Logged | None = None
    if count:
        log = log_of(job)
    elif traits.walks:
        log = Logged(Summed(Problem(sensitivity.loss, {}, {})), space.canonical)
    check = seed if count and not traits.walks else None
    own = config.name not in BUILT_IN
    return Study(
        guarded if own else make, traits, log, None if traits.walks else count, config.name, job.progress, check
    )


def log_of(job: Searching) -> Logged:
    """What evaluates the designs of a job, in front of it the run's log."""
    return _logged(job, _evaluator(job))


def _evaluator(job: Searching) -> Evaluator:
    """What evaluates designs: as they are, after a training each, or trained from the weights of another."""
    strategy, subject = job.config.strategy, job.subject
    images, lr, seed = strategy.episode_images, job.config.fine_tune.lr, job.config.seed
    runner = IncrementalEvaluator(job.subject.graph, subject.task, subject.searched(EVALUATION_EXAMPLES))
    if not images:
        return Measured(job.candidates, runner)
    if not strategy.traits.walks:
        return Tuned(job.candidates, runner, subject.model, subject.task, images, lr or QAT_LR, seed)
    task = subject.task.with_splits(
        train=subject.task.need_train().take(slice(0, images)),
        search=subject.task.search.take(slice(0, runner.examples)),
    )
    space = subject.space
    return Inherited(
        job.run, subject.model, space.canonical(space.reference), space.canonical, _cutter(job),
        task, Scorer(runner, subject.model), lr, seed,
    )  # fmt: skip


def _cutter(job: Searching) -> Callable[[nn.Module], Callable[[Designs], Slimmed]]:
    subject, criterion = job.subject, job.config.prune.importance

    def of(full: nn.Module) -> Callable[[Designs], Slimmed]:
        tools = AtHand(scores_of(full, subject, criterion))
        return lambda design: slim(full, subject.space, design, tools)

    return of


def _logged(job: Searching, evaluator: Evaluator) -> Logged:
    """An evaluator that writes what became of designs to the run's log, and knows what an earlier process wrote."""
    known = {
        (tuple(row["design"]), row["kind"].removeprefix(EVALUATED).removeprefix(f"{FOLDER} ")):
        Outcome(row["losses"][RANKS], figures=row["losses"])
        for row in job.run.trials() if row["kind"] == EVALUATED or row["kind"].startswith(FOLDER)
    }  # fmt: skip

    def store(key: Key, outcome: Outcome) -> None:
        design, made_from = key
        kind = f"{FOLDER} {made_from}" if made_from else EVALUATED
        job.run.log_trial(list(design), dict(outcome.figures), {}, kind=kind)

    return Logged(evaluator, job.subject.space.canonical, known, store)

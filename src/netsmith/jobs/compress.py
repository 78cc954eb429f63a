"""The main job: a trained network is made to fit its budgets on a target, and the claim is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netsmith.decisions.contract import check_contract
from netsmith.errors import InputError
from netsmith.hardware.target import limits_of, need_known
from netsmith.jobs.assembly import assemble, flatten, takes
from netsmith.jobs.config import CompressConfig, check_call
from netsmith.jobs.contents import contents_of, own_contents, target_contents, task_contents
from netsmith.jobs.drawn import drawn
from netsmith.jobs.front import Front
from netsmith.jobs.outcome import summarise
from netsmith.jobs.result import Result
from netsmith.jobs.stages import Stages
from netsmith.jobs.subject import device_of, load_subject
from netsmith.jobs.tools import criterion_contents
from netsmith.progress import Progress, progress_of
from netsmith.runs.folder import Run
from netsmith.runs.names import RECORDED
from netsmith.study.device_loop import within_aims
from netsmith.study.facts import WIDTHS, check_kinds
from netsmith.units import Budget
from netsmith.usercode import is_own


@takes(CompressConfig)
def compress(
    model: Any, data: Any, *, out: str | Path = "runs/compress", resume: bool = False,
    progress: Progress | None = None, job: str = "compress", **options: Any,
) -> Result:  # fmt: skip
    """Make a trained network keep budgets on a target.

    Args:
        model: MODEL (``zoo:NAME``, ``file.py:callable``, ...) or a module.
        data: ``digits``, a Hugging Face name, a local folder, or data in memory; see ``netsmith.data.load_data``. Or a
            task, which brings its own: ``netsmith.Task(...)``.
        out: run folder.
        resume: go on with a run that was interrupted.
        job: which command it is, for ``config.json``: runs of ``demo`` may be replaced by another demonstration.
        options: every other option of the command, by its name (``latency="0.5x"``, ``epochs=3``), or a group of them:
            ``methods=(Prune(widths=16), Quantize())``, ``strategy=Exact(evaluations=16)``,
            ``fine_tune=FineTune(epochs=3)``; see :class:`netsmith.jobs.config.CompressConfig` and ``docs/options.md``.

    Returns:
        The network and its figures; see :class:`netsmith.jobs.result.Result`.

    Raises:
        InputError: input that cannot be used.
        InfeasibleError: a budget that no design meets; ``reachable`` has the smallest values.
    """
    config = assemble(CompressConfig, {"model": model, "data": data} | options)
    check_call(resume, job)
    progress = progress_of(progress)
    device = device_of(config)
    with Run.start(out, {"job": job} | flatten(config), resume=resume) as run:
        progress = run.logged(progress)
        progress.stage("load")
        try:
            subject = load_subject(
                model, data, device, weights=config.weights, methods=config.methods, images=config.images,
                seed=config.seed, reorder=config.reorder, task=config.task, record=run.path(RECORDED),
                report=progress.update,
            )  # fmt: skip
            along = (config.several.minimize,) if config.several.wanted else ()
            need_known((*config.budgets.read(), *limits_of(device), *along), device, subject.graph.layers)
            if not subject.space.changes:
                reasons = "; ".join(f"{layer}: {reason}" for layer, reason in list(subject.space.frozen.items())[:3])
                reasons = reasons or f"no convolution or linear module of it has a choice on {config.target}"
                methods = ",".join(m.name for m in config.methods)
                raise InputError(f"--methods {methods} can change nothing of this network ({reasons})")
            contents = (
                contents_of(subject.loaded, model, config.weights, subject.graph.module.graph)
                | task_contents(subject.task) | target_contents(config.target)
                | criterion_contents(config.prune.importance)
                | own_contents({f"the kind {kind.name}": kind for kind in subject.space.kinds})
                | own_contents({f"the function of --{n}": f for n, f in config.fine_tune.functions.items()})
                | own_contents({f"the strategy {config.strategy.name}": config.strategy.spec.factory})
            )  # fmt: skip
            run.pin(contents)
            stages = Stages(run, subject, device, config, progress)
            for kind in filter(is_own, subject.space.kinds):  # those of the house are proved by its tests
                check_contract(kind, subject.model, stages.tools)
            traits, strategy = config.strategy.traits, config.strategy.name
            check_kinds(traits.kinds, subject.space.decisions, f"--strategy {strategy}")
            if config.strategy.episode_images:
                subject.task.need_train()
                if not traits.walks:
                    check_kinds(WIDTHS, subject.space.decisions, "--episode-images")
        except (InputError, KeyboardInterrupt):
            run.discard()  # nothing was done yet: the corrected command may use the folder
            raise
        summary = run.finish(_whole(stages, config, {"job": job} | flatten(config), contents))
        progress.close()
        return Result.of_run(run.folder, summary, subject.loaded.factory, subject.kept())


def _whole(job: Stages, config: CompressConfig, options: dict[str, Any], contents: dict[str, str]) -> dict[str, Any]:
    """The summary of one network, or of a front of several."""
    if not config.several.wanted:
        return _stages(job, config.budgets.read())
    return Front(job, config.several, options, contents).run()


def _stages(job: Stages, budgets: dict[str, Budget]) -> dict[str, Any]:
    """Every stage in order; those that a killed run had finished come from its folder."""
    job.first_screen()
    baseline = job.baseline()
    job.say_doubt(baseline)
    job.prepare_target()
    limits = job.limits(budgets, baseline)
    job.say_limits(limits, baseline)
    sensitivity = job.sensitivity()

    def once(attempt: int, aim: float) -> tuple[dict[str, Any], dict[str, Any]]:
        found = job.search(attempt, sensitivity, limits, aim)
        return found, job.build(attempt, found, baseline)

    found, result = within_aims(limits, once, job.progress.note)
    result |= job.test()
    drawn(job)
    return summarise(job, baseline, sensitivity, found, result, limits)

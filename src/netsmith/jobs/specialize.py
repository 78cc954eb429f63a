"""From a design space to a network for one data set and one piece of hardware."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from netsmith.data import Data, data_for
from netsmith.errors import InputError, NetsmithError, shown
from netsmith.hardware.target import has_energy
from netsmith.jobs.assembly import assemble, flatten, takes
from netsmith.jobs.config import SpecializeConfig, check_call
from netsmith.jobs.contents import target_contents
from netsmith.jobs.family_outcome import summarise
from netsmith.jobs.finishing import built, scored, trained
from netsmith.jobs.plans import of_specialization
from netsmith.jobs.result import Result
from netsmith.jobs.specialization import Specialization
from netsmith.jobs.specialize_front import find_front
from netsmith.jobs.subject import device_of
from netsmith.jobs.together import RunTogether
from netsmith.network.weights import read_metadata
from netsmith.progress import Progress, Silent, progress_of
from netsmith.runs.names import RECORDED
from netsmith.study.device_loop import within_aims
from netsmith.supernets.family import fitted
from netsmith.supernets.space import BlockSpace, load_space
from netsmith.tasks.classification import Classification
from netsmith.training.workers import Workers


@takes(SpecializeConfig)
def specialize(
    space: str | BlockSpace, data: Any, *, out: str | Path = "runs/specialize", resume: bool = False,
    progress: Progress | None = None, watch: Callable[[Path], Any] | None = None, **options: Any,
) -> Result:  # fmt: skip
    """Find a network of a space that keeps budgets on a target, train it, and measure it.

    Args:
        space: name or TOML file of a space, or a space.
        data: ``digits``, a Hugging Face name, a local folder, or data in memory (see ``netsmith.data.load_data``), with
            a train split.
        out: run folder.
        resume: go on with a run that was interrupted.
        watch: called with the run folder whenever ``search.json`` there was renewed, every few seconds of a search.
        options: every other option of the command, by its name (``latency="0.6x"``, ``system="oneshot"``), or a group
            of them (``training=FoundTraining(epochs=30)``); see :class:`netsmith.jobs.config.SpecializeConfig` and
            ``docs/options.md``. Relative budgets refer to the space's reference network, every block of which is
            MobileNetV2's.

    Returns:
        The network and its figures; see :class:`netsmith.jobs.result.Result`.

    Raises:
        InputError: input that cannot be used.
        InfeasibleError: a budget that no network of the space meets.
    """
    config = assemble(SpecializeConfig, {"space": space, "data": data} | options)
    check_call(resume)
    if watch is not None and not callable(watch):
        raise InputError(f"watch must be a function, not {shown(watch)}")
    target = device_of(config)
    if config.batch > 1 and target.capabilities.runs_here:
        raise InputError(f"{config.target} is measured at batch 1; drop --batch")
    if config.several.minimize == "energy" and not has_energy(target):
        raise InputError(f"{config.target} has no energy model; minimize another cost, or choose a target that has one")
    loaded = space if isinstance(space, BlockSpace) else load_space(space)
    workers = Workers.from_environment()
    progress = progress_of(progress) if workers.is_first else Silent()
    with RunTogether(out, {"job": "specialize"} | flatten(config), resume, workers) as shared:
        run = shared.run
        progress = run.logged(progress)
        progress.stage("load")
        try:
            images = shared.in_turn(lambda: _images(config, shared.folder / RECORDED, progress))
            family = fitted(loaded, images.input_shape, len(images.classes), config.width)
            job = Specialization(shared, family, Classification(images), target, config, progress, watch)
            run.pin(job.contents | target_contents(config.target) | job.teacher_contents())
            job.check()
        except (InputError, KeyboardInterrupt):
            run.discard()  # nothing was done yet: the corrected command may use the folder
            raise
        summary = run.finish(_whole(job, config, {"job": "specialize"} | flatten(config)))
        progress.close()
        return Result.of_run(shared.folder, summary)


def _images(config: SpecializeConfig, record: Path, progress: Progress) -> Data:
    """The data, which must have a train split, in the classes and pixels of the teacher if there is one."""
    weights = config.training.teacher_weights
    header = read_metadata(weights) if weights else {}
    images = data_for(
        config.data, header, seed=config.seed, record=record, report=progress.update, **config.images.for_data()
    )
    images.need_train()
    return images


def _whole(job: Specialization, config: SpecializeConfig, options: dict[str, Any]) -> dict[str, Any]:
    """The summary of one network, or of a front of several."""
    if not config.several.wanted:
        return _stages(job, config.budgets.read(), config.search.systems)
    return find_front(job, config.budgets.read(), config.several, options)


def _stages(job: Specialization, budgets: dict[str, Any], systems: tuple[str, ...]) -> dict[str, Any]:
    """Every stage in order; those that a killed run had finished come from its folder."""
    job.progress.plan("specialize", of_specialization(job, systems))
    job.first_screen()
    baseline = job.baseline()
    job.priced(baseline, budgets)
    done: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for system in systems:
        try:
            done[system] = _one(job, system, baseline)
        except NetsmithError as error:
            if system == systems[0]:
                raise
            job.progress.note(f"  {system}: {error}")
    return summarise(job, baseline, done, scored(job, {system: found for system, (found, _) in done.items()}))


def _one(job: Specialization, system: str, baseline: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    def once(_: int, aim: float) -> tuple[dict[str, Any], dict[str, Any]]:
        found = job.found(system, baseline, aim)
        return found, trained(job, system, found) | built(job, system, found, baseline)

    return within_aims(job.limits, once, job.progress.note)

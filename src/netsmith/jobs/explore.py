"""Hardware the other way round: what each configuration of a family costs with the network that suits it best."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netsmith.errors import InputError
from netsmith.hardware.target import has_energy, need_known
from netsmith.jobs.assembly import assemble, flatten, takes
from netsmith.jobs.config import ExploreConfig, check_call
from netsmith.jobs.contents import contents_of, own_contents, target_contents, task_contents
from netsmith.jobs.exploring import Exploring
from netsmith.jobs.subject import load_subject
from netsmith.jobs.tools import criterion_contents
from netsmith.progress import Progress, progress_of
from netsmith.runs.explore_record import EXPLORE_FILE, check_exploration
from netsmith.runs.folder import Run
from netsmith.runs.names import RECORDED


@dataclass(frozen=True, eq=False)
class Exploration:
    """Configurations of a hardware family, each with the least cost of a network that loses no more than so much.

    Attributes:
        record: figures, as in ``explore.json`` (schema ``netsmith.runs.explore_record``).
        folder: of the run.
    """

    record: dict[str, Any]
    folder: Path

    @property
    def configurations(self) -> list[dict[str, Any]]:
        """One for each, in the order of the grid."""
        return list(self.record["configurations"])

    @property
    def best(self) -> dict[str, Any]:
        """The configuration of least cost."""
        there = [one for one in self.configurations if one["cost"] is not None]
        return min(there, key=lambda one: float(one["cost"]))

    def report(self) -> Path:
        """Write the page of the run and return its path."""
        from netsmith.report import write_report

        return write_report(self.folder)


@takes(ExploreConfig)
def explore(
    model: Any, data: Any, *, out: str | Path = "runs/explore", resume: bool = False,
    progress: Progress | None = None, **options: Any,
) -> Exploration:  # fmt: skip
    """Price configurations of a simulated hardware family, each with the network that suits it best.

    One sweep of sensitivities on the search split, then for every configuration the exact least cost of any design
    whose summed loss is at most ``max_loss``, with its proven bound.

    Args:
        model: MODEL (``zoo:NAME``, ``file.py:callable``, ...) or a module.
        data: as for :func:`netsmith.compress`.
        out: run folder.
        resume: go on with a run that was interrupted.
        options: every other option of the command, by its name (``family="bitfusion"``, ``vary="rows=8..32"``); see
            :class:`netsmith.jobs.config.ExploreConfig` and ``docs/explore.md``.

    Raises:
        InputError: input that cannot be used.
        InfeasibleError: no design loses so little.
    """
    config = assemble(ExploreConfig, {"model": model, "data": data} | options)
    check_call(resume)
    progress = progress_of(progress)
    base, configurations = config.base(), config.configurations()
    if config.minimize == "energy" and not has_energy(base):
        raise InputError(f"{base.name} has no energy model; use --minimize latency or a configuration that has one")
    with Run.start(out, {"job": "explore"} | flatten(config), resume=resume) as run:
        progress = run.logged(progress)
        progress.stage("load")
        try:
            subject = load_subject(
                model, data, base, weights=config.weights, methods=config.methods, images=config.images,
                seed=config.seed, task=config.task, record=run.path(RECORDED), report=progress.update,
            )  # fmt: skip
            need_known([config.minimize], base, subject.graph.layers)
            if not subject.space.changes:
                raise InputError(
                    f"--methods {','.join(m.name for m in config.methods)} can change nothing of this network on "
                    f"{base.name}; choose other methods or another family"
                )
            run.pin(
                contents_of(subject.loaded, model, config.weights, subject.graph.module.graph)
                | task_contents(subject.task) | target_contents(config.target or "")
                | criterion_contents(config.prune.importance)
                | own_contents({f"the kind {kind.name}": kind for kind in subject.space.kinds})
            )  # fmt: skip
        except (InputError, KeyboardInterrupt):
            run.discard()  # nothing was done yet: the corrected command may use the folder
            raise
        record = Exploring(run, subject, config, base, progress).record(configurations)
        check_exploration(record)
        record = run.stage("record", lambda: _written(run, record), record)
        progress.close()
        return Exploration(record, run.folder)


def _written(run: Run, record: dict[str, Any]) -> dict[str, Any]:
    run.write_json(EXPLORE_FILE, record)
    return record

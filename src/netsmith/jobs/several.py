"""A front from Python: its networks as results, the best first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from netsmith.errors import InputError
from netsmith.jobs.load import load
from netsmith.jobs.result import Result
from netsmith.runs.folder import Run

if TYPE_CHECKING:
    from torch import nn

    from netsmith.progress import Progress


@dataclass(frozen=True, eq=False, repr=False)
class Front(Sequence[Result]):
    """Several networks of one search, each a finished run; a sequence of results, the best first.

    Attributes:
        folder: where all of it is.
        summary: of the chosen network, with all of them under ``front``.
        results: one a network.
        chosen: that of the network that was chosen.
    """

    folder: Path
    summary: dict[str, Any]
    results: tuple[Result, ...]
    chosen: Result

    @classmethod
    def open(cls, run: str | Path, factory: str | nn.Module | Callable[[], nn.Module] | None = None) -> Front:
        """A front that is finished.

        Args:
            run: its folder.
            factory: as of :func:`netsmith.load`.

        Raises:
            InputError: it is no front, it is not finished, or a file of it is missing or damaged.
        """
        whole = load(run, factory)
        if not whole.summary.get("front"):
            raise InputError(f"{run} is a run of one network; open it by netsmith.load, or make it with front=6")
        folders = [point["folder"] for point in whole.summary["front"]["points"]]
        results = tuple(load(whole.folder / folder, factory) for folder in folders)
        chosen = results[folders.index(whole.summary["front"]["chosen"])]
        return cls(whole.folder, whole.summary, results, chosen)

    @property
    def is_met(self) -> bool:
        """Whether every budget is kept, and certified what was asked for."""
        from netsmith.runs.summary import all_met

        return all_met(self.summary)

    def report(self) -> Path:
        """Write the HTML page of the front and return where it is."""
        from netsmith.report.page import write_report

        return write_report(self.folder)

    def __len__(self) -> int:
        return len(self.results)

    @overload
    def __getitem__(self, place: int) -> Result: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Result, ...]: ...
    def __getitem__(self, place: int | slice) -> Result | tuple[Result, ...]:
        return self.results[place]

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __repr__(self) -> str:
        from netsmith.report.front import front_sentence

        return f"Front of {len(self)}: {front_sentence(self.summary)}\n  in {self.folder}"


def front(
    model: Any = None, data: Any = None, *, space: Any = None, out: str | Path = "runs/front", resume: bool = False,
    progress: Progress | None = None, **options: Any,
) -> Front:  # fmt: skip
    """Several networks of one search, from the best to the cheapest, each built, exported and measured.

    Args:
        model: a trained network, as of :func:`netsmith.compress`.
        data: as there.
        space: instead of a network, a space in which networks are found, as of :func:`netsmith.specialize`.
        out: folder for all of it.
        resume: go on with a front that was interrupted.
        options: those of ``compress`` or ``specialize``; ``front=6`` (how many), ``max_drop=0.5`` (points of per
            cent, or the unit of the task's score) or ``min_score=88`` (percent, likewise), ``confidence=0.95`` and
            ``minimize="latency"`` among them.

    Raises:
        InputError: input that cannot be used.
        InfeasibleError: a budget that no network keeps.
    """
    if (model is None) == (space is None) or data is None:
        raise InputError("a front is of a trained network or of a space: give one of both, and data")
    if all(options.get(name) is None for name in ("front", "max_drop", "min_score")):
        options["front"] = True
    if space is not None:
        from netsmith.jobs.specialize import specialize

        return _of(specialize(space, data, out=out, resume=resume, progress=progress, **options))
    from netsmith.jobs.compress import compress

    return _of(compress(model, data, out=out, resume=resume, progress=progress, **options))


def _of(whole: Result) -> Front:
    """The front of a run that has just ended; what builds its networks is what the job was given."""
    found = whole.summary["front"]
    results = {
        point["folder"]: Result.of_run(
            whole.folder / point["folder"], Run.open(whole.folder / point["folder"]).summary(), whole.given,
            whole.images,
        )
        for point in found["points"]
    }  # fmt: skip
    return Front(whole.folder, whole.summary, tuple(results.values()), results[found["chosen"]])

"""The plans that jobs announce: their stages, and roughly how long each takes.

What a stage computes is counted in multiply-accumulates; factors say what it does beside them, as they were measured on
one core. How fast this machine is shows while the job runs, see ``netsmith.progress``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netsmith.decisions.sparsity import Sparsity
from netsmith.progress import Part
from netsmith.systems.registry import SYSTEMS

if TYPE_CHECKING:
    from netsmith.jobs.config import SpecializeConfig
    from netsmith.jobs.specialization import Specialization
    from netsmith.jobs.stages import Stages
    from netsmith.tasks.task import Task

_MACS_A_SECOND = 4e10
_MACS = 4e7  #: of a network of which nothing is known
_SESSIONS_S = 7.0  #: a final timing
_ROUND_S = 10.0  #: of a search that measures: a solution, and a timing that may be repeated
_TABLE_S = 20.0  #: nobody knows before which layers were measured earlier
TRAIN = "train the network to be compressed"


@dataclass(frozen=True)
class Extent:
    """How much there is to do in a compression.

    Attributes:
        macs: of the network as given.
        train, search, test: images of the splits.
        images: of the search split on which sensitivities and designs are measured.
        choices: whose sensitivity is measured.
        evaluations: designs that are run by the search.
        epochs: of fine-tuning.
        mixed: whether bits are chosen, so that training simulates them.
        measured: whether the target is timed here.
        table: whether the target may measure layers first.
    """

    macs: float
    train: int
    search: int
    test: int
    images: int
    choices: int
    evaluations: int
    epochs: int
    mixed: bool
    measured: bool
    table: bool

    def seconds(self, images: float, factor: float = 1.0) -> float:
        """Of running so many images through the network."""
        return factor * images * self.macs / _MACS_A_SECOND

    def parts(self, networks: Sequence[str] = ()) -> list[Part]:
        """The stages of the compression.

        Args:
            networks: what each is called, where several are searched, built and tested.
        """
        timed, slow = float(self.measured), 4.0 if self.mixed else 1.0  # simulated integers are slower than floats
        evaluated = self.evaluations * self.images
        trained = self.epochs * (self.train + self.search / 3)
        parts = [
            Part("load", 3.0, fixed=True),
            Part("baseline", 1.0 + 1.5 * timed + self.seconds(self.search)),
            Part("latency table", _TABLE_S, fixed=True),
            Part("sensitivity", 1.0 + self.seconds(self.choices * self.images, 0.35 if self.mixed else 0.5)),
            Part("search", 3.0 + 2 * _ROUND_S * timed + self.seconds(evaluated, 4.0), loops=True),
            Part("build", 1.0 + self.seconds(self.search, 1.0 + 2 * slow)),
            Part("fine-tune", self.seconds(trained, 4.0 * slow)),
            Part("score", self.seconds(self.search, 2.0 + 2 * slow)),
            Part("export", 2.0 + self.seconds(self.search, slow)),
            Part("measure", _SESSIONS_S, fixed=True),
            Part("test", self.seconds(self.test, 1.0 + slow)),
        ]  # fmt: skip
        some = {"latency table": self.table, "measure": self.measured, "fine-tune": self.epochs, "score": self.epochs}
        parts = [part for part in parts if some.get(part.name, True)]
        if not networks:
            return parts
        first = next(i for i, part in enumerate(parts) if part.name == "build")
        shared = [
            *parts[: first - 1],
            Part("front", 5.0),
            replace(parts[first - 1], seconds=parts[first - 1].seconds * 2),
        ]
        built = [replace(part, name=f"{part.name} ({name})") for name in networks for part in parts[first:-1]]
        test = replace(parts[-1], seconds=parts[-1].seconds * (len(networks) + 1) / 2)
        return [*shared, *built, test]


def extent_of(job: Stages, examples: int) -> Extent:
    """How much there is to do in a compression whose network and data are loaded.

    Args:
        examples: of the search split that designs are run on, where it has so many.
    """
    data, table, space = job.task, job.graph.layers, job.space
    twice = space.is_mixed and space.kind(Sparsity) is not None  # what stays, then what it shares
    return Extent(
        macs=float(table.macs.sum()), train=len(data.train) if data.train is not None else 0,
        search=len(data.search), test=len(data.test),
        images=min(examples, len(data.search)),
        choices=int((space.decisions.sizes - 1).sum()), evaluations=job.evaluations,
        epochs=job.epochs * (1 + twice), mixed=space.is_mixed, measured=not job.simulated,
        table=hasattr(job.target, "prepare"),
    )  # fmt: skip


def of_demonstration(train_epochs: int, epochs: int) -> list[Part]:
    """The plan of the demonstration, before anything of it is loaded: a network that is trained, then compressed."""
    extent = Extent(
        macs=1.8e7, train=863, search=215, test=359, images=215, choices=46, evaluations=0, epochs=epochs, mixed=False,
        measured=True, table=True,
    )  # fmt: skip
    return [Part(TRAIN, extent.seconds(train_epochs * extent.train, 4.0)), *extent.parts()]


def of_training(data: Task, epochs: int, *, scored: bool) -> list[Part]:
    """The plan of a training whose data is loaded; of its network only the shares of the stages are known.

    Args:
        scored: whether the weights that it starts from are scored first.
    """
    train, seen = len(data.need_train()), len(data.search) + len(data.test)
    passes = {"score as loaded": seen * scored, "train": epochs * (4 * train + len(data.search)), "score": seen}
    parts = [Part(name, images * _MACS / _MACS_A_SECOND) for name, images in passes.items() if images]
    return [Part("load", 3.0, fixed=True), *parts]


def of_specialization(job: Specialization, systems: Sequence[str], networks: Sequence[str] = ()) -> list[Part]:
    """The plan of a specialization by one system or several.

    Args:
        networks: what each of several networks of one search is called, that are trained and built one after the other.
    """
    data, epochs = job.task, job.epochs
    macs = float(job.reference.macs.sum())
    images = len(data.need_train()) + len(data.search) / 10

    def seconds(images: float, factor: float = 1.0) -> float:
        return factor * images * macs / _MACS_A_SECOND

    timed, config = not job.simulated, job.config
    parts = [Part("load", 3.0, fixed=True), Part("baseline", 2.0 + 1.5 * timed)]
    if hasattr(job.target, "prepare"):
        parts.append(Part("latency table", _TABLE_S, fixed=True))
    if timed and (config.budgets.latency or networks):
        parts.append(Part("calibration", 4 * _SESSIONS_S, fixed=True))
    for system in systems:
        own, tried = list[Part](), 0
        if SYSTEMS[system].trains:
            tried, warmup = config.search.evaluations, epochs["warmup"] if SYSTEMS[system].learns else 0
            own += [Part("warm-up", seconds(images * warmup, 4.0))] * bool(warmup)
            own.append(Part("search", seconds(images * (epochs["search"] + epochs["warmup"] - warmup), 6.0)))
        own.append(Part("choose", 1.0 + 3 * _ROUND_S * timed + seconds(tried * len(data.search)), loops=True))
        built = [Part("train", seconds(images * epochs["train"], 3.5))] * bool(epochs["train"])
        built.append(Part("export", 2.0 + seconds(len(data.search))))
        built += [Part("measure", _SESSIONS_S, fixed=True)] * timed
        if not networks:
            own += built
        parts += [replace(part, name=job.named(part.name, system)) for part in own]
        parts += [replace(part, name=f"{part.name} ({name})") for name in networks for part in built]
    return [*parts, Part("test", 1.0 + seconds(max(len(systems), len(networks)) * len(data.test)))]


def epochs_of_specialization(config: SpecializeConfig, data: Task) -> dict[str, int]:
    """Epochs of warm-up, search and training: as asked for, or by the size of the train split."""
    usual, asked = max(8, min(60, 600_000 // len(data.need_train()))), config.search
    search = usual if asked.search_epochs is None else asked.search_epochs
    warmup = max(1, search // 4) if asked.warmup_epochs is None else asked.warmup_epochs
    train = usual if config.training.epochs is None else config.training.epochs
    return {"warmup": warmup, "search": search, "train": train}

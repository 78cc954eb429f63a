"""The options of specialize."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from netsmith.errors import InputError
from netsmith.jobs.config.base import DATA, Config, seed_field, target_field, threads_field
from netsmith.jobs.config.front import FrontOptions
from netsmith.jobs.config.groups import Budgets, Images
from netsmith.jobs.config.places import check_data, check_teacher, is_there
from netsmith.schema import parameter
from netsmith.systems.registry import SYSTEMS
from netsmith.units import check_budgets


@dataclass(frozen=True)
class SupernetSearch(Config):
    """How a network of all paths is trained and searched."""

    panel: ClassVar[str] = "Search"
    system: str = parameter(
        "what finds the network; proxylessnas-r learns by REINFORCE", default="proxylessnas", choices=tuple(SYSTEMS)
    )
    compare: tuple[str, ...] = parameter(
        "systems to run as well, trained alike", default=(), choices=tuple(SYSTEMS), metavar="S,S,..."
    )
    search_epochs: int | None = parameter(
        "of the search; default by the size of the data", default=None, low=1, high=1_000_000
    )
    warmup_epochs: int | None = parameter(
        "of weights alone, before it; default a quarter", default=None, low=0, high=1_000_000
    )
    warmup_from: str | None = parameter("use its warm-up, of the same space and data", default=None, metavar="RUN")
    loss: Literal["constrained", "additive", "multiplicative"] = parameter(
        "constrained (by the budgets), additive or multiplicative", default="constrained"
    )
    weight: float = parameter("of costs, in additive", default=0.1, low=0)
    mode: Literal["recompute", "full", "two"] = parameter("gradients of gates", default="recompute")
    every: int = parameter("steps of weights for one of the probabilities", default=5, low=1)
    evaluations: int = parameter("networks to choose among at the end; 0: the most probable", default=300, low=0)

    def check(self) -> None:
        for system in self.systems:
            if self.evaluations < 1 and SYSTEMS[system].trains and not SYSTEMS[system].learns:
                raise InputError(f"{system} chooses by running networks; give --evaluations 1 or more")
        if self.warmup_from is not None and not is_there(self.warmup_from):
            raise InputError(f"--warmup-from {self.warmup_from} is no folder; give that of a run, or drop it")
        object.__setattr__(self, "compare", self.systems[1:])

    @property
    def systems(self) -> tuple[str, ...]:
        """The run's own system, then those beside it."""
        return tuple(dict.fromkeys((self.system, *self.compare)))


@dataclass(frozen=True)
class FoundTraining(Config):
    """How the network that was found is trained."""

    panel: ClassVar[str] = "Training"
    epochs: int | None = parameter(
        "of training what was found; default by the data", default=None, low=0, high=1_000_000
    )
    lr: float | None = parameter("its peak learning rate", default=None, above=0)
    batch_size: int = parameter("of a training step", "images", default=128, low=1, high=1_000_000)
    inherit: bool = parameter("start from the weights of the search", default=False)
    teacher: Any = parameter("network to distil from", default=None, metavar="MODEL")
    teacher_weights: str | None = parameter("its weights", default=None, metavar="FILE")

    def check(self) -> None:
        check_teacher(self.teacher, self.teacher_weights)


@dataclass(frozen=True)
class SpecializeConfig(Config):
    """Find a network of a design space that keeps budgets on a target, train it, and measure it."""

    data: Any = parameter(DATA)
    space: Any = parameter("mobile, mobile-small, tiny or FILE.toml", default="mobile-small", metavar="S")
    target: str = target_field()
    budgets: Budgets = dataclasses.field(default_factory=Budgets)
    several: FrontOptions = dataclasses.field(default_factory=FrontOptions)
    search: SupernetSearch = dataclasses.field(default_factory=SupernetSearch)
    width: float = parameter("multiplier of all channels of the space", default=1.0, low=0.05, high=8.0)
    batch: int = parameter("samples at a time, on modelled targets", default=1, low=1, high=1_000_000)
    training: FoundTraining = dataclasses.field(default_factory=FoundTraining)
    images: Images = dataclasses.field(default_factory=Images)
    threads: int = threads_field()
    seed: int = seed_field()

    def check(self) -> None:
        check_budgets(self.budgets.read().values(), needed=not self.several.wanted)
        if self.several.wanted:
            self._check_front()
        check_data(self.data)

    def _check_front(self) -> None:
        if self.search.compare:
            raise InputError(f"--compare {','.join(self.search.compare)} is of one network; drop it, or --front")
        if self.several.minimize == "memory":
            raise InputError(
                "--minimize memory is of a network that is given: peak memory is counted on its graph, and networks of "
                "a space have none before they are built; minimize another cost"
            )
        if self.several.max_drop is not None and self.training.teacher is None:
            raise InputError(
                "--max-drop is against a network that is there before, and no network of a space is trained: give the "
                "score that is needed by --min-score, or what to compare with by --teacher"
            )

"""The options of a front: several networks of one search, and what has to be certified of the one that is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from netsmith.errors import InputError
from netsmith.jobs.config.base import Config
from netsmith.schema import parameter

if TYPE_CHECKING:
    from netsmith.metrics import Metric

USUAL = 6  #: networks, where no number is said
_CONFIDENCE, _MINIMIZE = 0.95, "latency"


@dataclass(frozen=True)
class FrontOptions(Config):
    """Several networks at once, or the cheapest that is certified to keep a score."""

    panel: ClassVar[str] = "Front"
    front: int | None = parameter(
        f"so many networks, from the most accurate to the cheapest; {USUAL} if no number is said", default=None, low=2,
        high=64, metavar="[N]",
    )  # fmt: skip
    max_drop: float | None = parameter(
        "the cheapest network that surely loses no more score: points of per cent, or whatever it is measured in",
        "points", default=None, low=0, metavar="POINTS",
    )  # fmt: skip
    min_score: float | None = parameter(
        "the cheapest network whose score is surely no worse: per cent, or whatever it is measured in", "percent",
        default=None, metavar="PERCENT",
    )  # fmt: skip
    confidence: float = parameter("of what is certified", default=_CONFIDENCE, low=0.5, high=0.9999)
    minimize: Literal["latency", "energy", "size", "macs", "memory"] = parameter(
        "the cost that a front goes along", default=_MINIMIZE
    )

    def __post_init__(self) -> None:
        if self.front is True or self.front is False:  # in Python, as --front alone on a command line
            object.__setattr__(self, "front", USUAL if self.front else None)
        super().__post_init__()

    def check(self) -> None:
        if self.max_drop is not None and self.min_score is not None:
            raise InputError("--max-drop and --min-score exclude each other; give the one that is meant")
        if not self.wanted and self.minimize != _MINIMIZE:
            raise InputError(
                f"--minimize {self.minimize} is of several networks: add --front, --max-drop or --min-score, or drop it"
            )

    @property
    def wanted(self) -> bool:
        """Whether several networks are asked for."""
        return self.front is not None or self.max_drop is not None or self.min_score is not None

    @property
    def count(self) -> int:
        """How many, at most."""
        return self.front or USUAL

    @property
    def goal(self) -> dict[str, float]:
        """What has to be certified, as it was asked for: ``max_drop``, ``min_score``, or nothing."""
        given = {"max_drop": self.max_drop, "min_score": self.min_score}
        return {name: value for name, value in given.items() if value is not None}

    def goal_of(self, metric: Metric) -> dict[str, float]:
        """The same in the units of a metric's own values, as shares of what is shown in per cent.

        Raises:
            InputError: more than all of it was asked for.
        """
        for name, value in self.goal.items():
            if metric.unit == "%" and not 0 <= value <= 100:
                raise InputError(
                    f"--{name.replace('_', '-')} {value:g} is not between 0 and 100: {metric.name} is in %"
                )
        return {name: value / metric.scale for name, value in self.goal.items()}

"""What a score is: its name, its unit, which way is better, and how it follows from what was noted of each example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from netsmith.errors import InputError

if TYPE_CHECKING:  # options of commands name metrics, and the first screen need not wait for numpy
    import numpy as np
    from numpy.typing import NDArray

FloatArray: TypeAlias = "NDArray[np.float64]"
Finish = Callable[[FloatArray], float]


def mean_of_first(rows: FloatArray) -> float:
    """The mean over examples of the first number that was noted of each; rows ``(N, F)``."""
    return float(rows[:, 0].mean()) if len(rows) else float("nan")


@dataclass(frozen=True)
class Metric:
    """A score of a network.

    A task notes a row of numbers of every example; scores are functions of all rows together. So any score can be
    told of a whole split, of a part of it, and of examples that are drawn again, as a bootstrap does.

    Attributes:
        key: how summaries and ``--json`` call it, such as ``accuracy``.
        name: how sentences and tables do.
        unit: of values as they are shown; of ``%`` a value is shown a hundred times as large as it is.
        higher_is_better: which way is better.
        share: whether it is the share of examples whose first number is 1, all others having 0. Bounds on such a
            score are exact.
        finish: from the rows ``(N, F)`` of examples to the score. None where a score is only told of, as by a summary.
    """

    key: str
    name: str
    unit: str = ""
    higher_is_better: bool = True
    share: bool = False
    finish: Finish | None = mean_of_first

    def of(self, rows: FloatArray) -> float:
        """The score of examples, from their rows ``(N, F)``."""
        import numpy as np

        assert self.finish is not None
        return float(self.finish(np.asarray(rows, dtype=np.float64)))

    def rank(self, score: float) -> float:
        """A number that is higher where the score is better."""
        return score if self.higher_is_better else -score

    def lost(self, before: float, after: float) -> float:
        """By how much a score got worse, in its own units; negative where it got better."""
        return self.rank(before) - self.rank(after)

    @property
    def scale(self) -> float:
        """What a value is multiplied with to be shown."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def points(self) -> str:
        """The unit of a difference between two scores, as it is shown."""
        return "points" if self.unit == "%" else self.unit

    def shown(self, score: float) -> str:
        """``88.12 %`` or ``27.31 dB``."""
        value = score * self.scale
        digits = f"{value:.2f}" if self.unit == "%" or 1.0 <= abs(value) < 1e4 else f"{value:.4g}"
        return f"{digits} {self.unit}".rstrip()

    def difference(self, loss: float) -> str:
        """A difference of two scores as it is shown: ``0.48 points``, ``0.31 dB``, ``0.0123 in MSE``."""
        value = loss * self.scale
        digits = f"{value:.2f}" if self.unit == "%" or 0.1 <= abs(value) < 1e4 else f"{value:.3g}"
        return f"{digits} {self.points or f'in {self.name}'}"

    def to_dict(self) -> dict[str, Any]:
        """What it says of itself, as JSON values."""
        return {
            "key": self.key, "name": self.name, "unit": self.unit, "higher_is_better": self.higher_is_better,
            "share": self.share, "mean": self.finish is mean_of_first,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Metric:
        """What :meth:`to_dict` wrote, to be shown and compared; it can be reckoned anew where it is a mean."""
        try:
            return cls(
                str(said["key"]), str(said["name"]), str(said["unit"]), bool(said["higher_is_better"]),
                bool(said["share"]), mean_of_first if said["share"] or said.get("mean") else None,
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise InputError(
                "a metric is described without its key, name, unit or direction; repeat the run"
            ) from error


#: of summaries that were written before there were tasks, and of classification
ACCURACY = Metric("accuracy", "accuracy", "%", share=True)


def metrics_of(summary: Mapping[str, Any]) -> list[Metric]:
    """All scores that a summary tells of, the one that ranks networks first."""
    task = summary.get("task")
    return [ACCURACY] if not task else [Metric.from_dict(said) for said in task["metrics"]]


def metric_of(summary: Mapping[str, Any]) -> Metric:
    """The score that a summary ranks networks by."""
    return metrics_of(summary)[0]

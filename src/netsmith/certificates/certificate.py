"""What the test examples certify of a network, in one record for summaries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Any

from netsmith.certificates.metric import changed, lost_at_most, rows_in, surely_reached
from netsmith.certificates.needed import needed_examples
from netsmith.metrics import ACCURACY, Metric

_MOST = 10**8  #: examples that anybody may be told to get
_FEW = 30  #: examples that differ, below which a bootstrap promises too much


@dataclass(frozen=True)
class Certificate:
    """A bound on the loss of score, from examples that no choice saw. All are in the metric's own units.

    Attributes:
        score_before: of the network as given; None where there is none.
        score_after: of the result.
        loss_bound: the loss is no more, at this confidence; None without a network as given.
        score_bound: the score is no worse, at this confidence.
        confidence: of each of both bounds.
        examples: how many there were.
        worse, better: examples that only the network as given gets right, and that only the result does; None where
            examples are not right or wrong.
        max_drop, min_score: what was asked for, if anything.
        metric: what the score is. Bounds are exact where it is a share, else by a bootstrap.
        differ: examples of which another thing is noted, where examples are not right or wrong; of few a bootstrap
            knows too little, and is wrong more often than it says.
    """

    score_before: float | None
    score_after: float
    loss_bound: float | None
    score_bound: float
    confidence: float
    examples: int
    worse: int | None = None
    better: int | None = None
    max_drop: float | None = None
    min_score: float | None = None
    metric: Metric = ACCURACY
    differ: int | None = None

    def asking(self, max_drop: float | None = None, min_score: float | None = None) -> Certificate:
        """The same bounds, held against something else."""
        return replace(self, max_drop=max_drop, min_score=min_score)

    @property
    def loss(self) -> float | None:
        """What was seen on these examples."""
        return None if self.score_before is None else self.metric.lost(self.score_before, self.score_after)

    @property
    def met(self) -> bool | None:
        """Whether the bound, not the figure that was seen, keeps what was asked; None where nothing was."""
        if self.max_drop is not None:
            return self.loss_bound is not None and self.loss_bound <= self.max_drop
        if self.min_score is None:
            return None
        return self.metric.rank(self.score_bound) >= self.metric.rank(self.min_score)

    @cached_property
    def needed(self) -> tuple[float, int | None] | None:
        """The loss that more examples would certify, and how many; for what was asked, or half as wide a bound."""
        if self.loss is None or self.loss_bound is None:
            return None
        counted = self.worse is not None and self.better is not None
        seen = ((self.worse or 0) - (self.better or 0)) / self.examples if counted else self.loss
        wanted = self.max_drop if self.max_drop is not None else (seen + self.loss_bound) / 2
        if self.worse is not None and self.better is not None:
            return wanted, needed_examples(self.worse, self.better, self.examples, wanted, self.confidence)
        if wanted <= seen:
            return wanted, None
        count = max(ceil(self.examples * ((self.loss_bound - seen) / (wanted - seen)) ** 2), _FEW)
        return wanted, count if count <= _MOST else None

    @property
    def says(self) -> str:
        """All of it as a sentence."""
        metric = self.metric
        sure, of = f"at {100 * self.confidence:g} % confidence", f"{self.examples} test examples"
        least = f"the score is {'at least' if metric.higher_is_better else 'at most'} {metric.shown(self.score_bound)}"
        if self.loss_bound is None or self.loss is None:
            said = f"{sure} {least} ({of}, {'exact' if metric.share else 'bootstrap'})"
        else:  # what was asked for is what a sequence of tests shows; a bound is of one network by itself
            most = self.max_drop if self.max_drop is not None and self.met else self.loss_bound
            verb = "are" if metric.unit == "%" else "is"
            how = "exact paired bound" if metric.share else "paired bootstrap bound"
            said = f"{sure} no more than {metric.difference(most)} {verb} lost ({of}, {how}{few_of(self.differ)})"
        if self.min_score is not None and self.loss_bound is not None:
            said += f", and {least}"
        if self.met is False:
            said += f"; {asked_for(metric, self.max_drop, self.min_score)} asked for, which is not certified"
        if self.needed is not None and self.met is not True:
            loss, count = self.needed
            if count is None:
                said += "; at this loss no number of examples would certify it"
            else:
                said += f"; about {count} examples like these would certify {metric.difference(loss)}"
        return said

    def to_dict(self) -> dict[str, Any]:
        """JSON values, as a summary has them."""
        asked = {"max_drop": self.max_drop, "min_score": self.min_score}
        few = {} if self.differ is None else {"differ": self.differ}
        needed = None if self.needed is None else {"for": self.needed[0], "examples": self.needed[1]}
        return {
            "score_before": self.score_before, "score_after": self.score_after, "loss": self.loss,
            "loss_bound": self.loss_bound, "score_bound": self.score_bound, "confidence": self.confidence,
            "method": "exact" if self.metric.share else "bootstrap", "examples": self.examples, "worse": self.worse,
            "better": self.better, **few, "asked": {k: v for k, v in asked.items() if v is not None}, "met": self.met,
            "needed_examples": needed, "says": self.says,
        }  # fmt: skip


def few_of(differ: int | None) -> str:
    """What has to be known of a bound by a bootstrap where few examples differ; empty where it need not."""
    if differ is None or differ >= _FEW:
        return ""
    return f"; {f'only {differ} of them differ' if differ else 'none of them differs'}, so that it promises too much"


def asked_for(metric: Metric, max_drop: float | None, min_score: float | None) -> str:
    """What was asked for with no more digits than it has: ``0.5 points``, ``88 %``, ``0.3 dB``."""
    if max_drop is not None:
        return f"{metric.scale * max_drop:g} {metric.points or f'in {metric.name}'}"
    return f"{metric.scale * (min_score or 0):g} {metric.unit}".rstrip()


def certificate(
    before: Any, after: Any, confidence: float = 0.95, *, max_drop: float | None = None,
    min_score: float | None = None, metric: Metric = ACCURACY,
) -> Certificate:  # fmt: skip
    """What examples certify of a network.

    Args:
        before, after: what was noted of each example for the network as given and for the result, rows ``(N, F)``, or
            ``(N,)`` where it is one number, such as whether it is right; in the same order. The former is None where
            there is no such network.
        max_drop: the loss of score that is allowed, in the metric's own units.
        min_score: the score that is asked for, likewise.
        metric: of which the score is made.

    Raises:
        InputError: no or too few examples, or no confidence between 0.5 and 1.
    """
    rows = rows_in(after)
    surely, score = surely_reached(metric, rows, confidence), metric.of(rows)
    if before is None:
        return Certificate(
            None, score, None, surely, confidence, len(rows), max_drop=max_drop, min_score=min_score, metric=metric
        )
    given = rows_in(before)
    bound = lost_at_most(metric, given, rows, confidence)
    worse, better = changed(given, rows) if metric.share else (None, None)
    differ = None if metric.share else int((given != rows).any(axis=1).sum())
    return Certificate(
        metric.of(given), score, bound, surely, confidence, len(rows), worse, better, max_drop, min_score, metric,
        differ,
    )  # fmt: skip

"""Which network of a front is chosen, by what test examples prove: none of them was looked at before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsmith.certificates import (
    Certificate,
    asked_for,
    certificate,
    changed,
    fixed_sequence,
    lost_at_most,
    paired_bound,
    score_bound,
    surely_reached,
    with_as_many,
)
from netsmith.metrics import ACCURACY, FloatArray, Metric

USUAL_DROP = 0.01  #: of score, that the chosen network may lose where nothing was asked


@dataclass(frozen=True)
class Choice:
    """What the test split says of a front.

    Attributes:
        certified: of each network whether it is certified to keep what was asked, None where that was not tested.
        certificates: what is certain of each by itself, against what was asked.
        chosen: the place of the network that was chosen.
        rule: by which that was, as a sentence.
    """

    certified: tuple[bool | None, ...]
    certificates: tuple[Certificate, ...]
    chosen: int
    rule: str


def choose(
    before: Any, after: Sequence[Any], held_out: Sequence[float], confidence: float, *,
    max_drop: float | None = None, min_score: float | None = None, metric: Metric = ACCURACY,
) -> Choice:  # fmt: skip
    """Choose the cheapest network that is certified to keep what was asked, by fixed-sequence testing.

    The claims are tested in the order of the networks, each at the whole confidence, until one is not shown; so all
    that is claimed in the end holds together at that confidence. What comes behind the first failure is not tested.

    Args:
        before: what was noted of each test example for the network as given, rows ``(N, F)``, or ``(N,)`` where it is
            whether it is right; None where there is no such network.
        after: the same of each network, in an order that was fixed before: from the most expensive to the cheapest.
        held_out: score of each on the search split; the best is chosen where nothing is asked and none is certified.
        max_drop, min_score: what was asked, in the metric's own units; without either, :func:`usual_drop` where a loss
            is known.
        metric: of which scores are made.
    """
    wanted = {"max_drop": max_drop, "min_score": min_score}
    every = [certificate(before, rows, confidence, metric=metric) for rows in after]
    found = tuple(one.asking(**wanted) for one in every)
    asked, best = max_drop is not None or min_score is not None, int(np.argmax([metric.rank(s) for s in held_out]))
    if not asked and before is None:
        return Choice((None,) * len(after), found, best, f"the {_most(metric)} network on the search split")
    usual = usual_drop(metric, every)
    tested = found if asked else tuple(one.asking(usual) for one in every)
    count = fixed_sequence(bool(one.met) for one in tested)
    flags = tuple(True if i < count else False if i == count else None for i in range(len(after)))
    what = (
        f"whose score is certified to be {asked_for(metric, None, min_score)} or {_better(metric)}"
        if min_score is not None
        else f"that is certified to lose no more than {_lost(metric, usual if max_drop is None else max_drop)}"
    )
    sure = f"at {100 * confidence:g} % confidence"
    if count:
        return Choice(flags, found, count - 1, f"the cheapest network {what} {sure}")
    if asked:  # the one whose claim was tested: another may pass by itself, but its test came too late
        return Choice(flags, found, 0, f"the most expensive network, as there is none {what} {sure}")
    rule = f"the {_most(metric)} network on the search split, as there is none {what} {sure}"
    return Choice(flags, found, best, rule)


def would_hold(
    before: FloatArray, after: FloatArray, tests: int, confidence: float, metric: Metric, *,
    max_drop: float | None = None, min_score: float | None = None,
) -> bool:  # fmt: skip
    """Whether what was asked would be certified by so many test examples that are like those of the search split.

    Args:
        before, after: rows ``(N, F)`` of the search split, of the network as given and of another one.
        max_drop, min_score: one of both, in the metric's own units.
    """
    if min_score is not None:
        if metric.share:
            return score_bound(int(after[:, 0].mean() * tests), tests, confidence) >= min_score
        score = metric.of(after)
        bound = with_as_many(score, surely_reached(metric, after, confidence), len(after), tests)
        return metric.rank(bound) >= metric.rank(min_score)
    assert max_drop is not None
    if metric.share:
        worse, better = (round(count * (tests / len(after))) for count in changed(before, after))
        return paired_bound(worse, better, tests, confidence) <= max_drop
    loss = metric.lost(metric.of(before), metric.of(after))
    return with_as_many(loss, lost_at_most(metric, before, after, confidence), len(after), tests) <= max_drop


def usual_drop(metric: Metric, every: Sequence[Certificate]) -> float:
    """What a network may lose where nothing was asked: a point of per cent, else a hundredth of the score as given."""
    if metric.unit == "%":
        return USUAL_DROP
    return USUAL_DROP * max((abs(one.score_before or 0.0) for one in every), default=0.0)


def _most(metric: Metric) -> str:
    return "most accurate" if metric.key == "accuracy" else "best"


def _better(metric: Metric) -> str:
    return "more" if metric.higher_is_better else "less"


def _lost(metric: Metric, loss: float) -> str:
    if metric.unit != "%":
        return metric.difference(loss)
    return f"{100 * loss:g} point{'' if loss == USUAL_DROP else 's'}"

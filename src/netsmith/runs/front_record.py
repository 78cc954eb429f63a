"""What a run says of a whole front: ``front.json``, and the key ``front`` of its summary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from netsmith.errors import shown
from netsmith.metrics import Metric
from netsmith.runs.names import SUMMARY
from netsmith.runs.search_record import COSTS
from netsmith.runs.task_record import loss_shape, score_shape
from netsmith.shapes import Anything, Flag, List, Named, Number, OrNull, Record, Shape, Text

FRONT_FILE = "front.json"
MINIMIZED = tuple(dict.fromkeys((*COSTS, "memory")))  #: costs that a front can be along

_AMOUNT = Number(low=0)
_LEVEL = Number(low=0.5, high=1)
_NEAR = 1e-9  #: of a score that has come through a sum


def _point_rule(point: Mapping[str, Any]) -> str | None:
    score, around = point.get("score"), point.get("score_interval")
    if score is not None and around is not None and not around[0] - _NEAR <= score <= around[1] + _NEAR:
        return f"score is {shown(score)}, outside of its interval {shown(around)}"
    loss, bound = point.get("loss"), point.get("loss_bound")
    if loss is not None and bound is not None and bound < loss - _NEAR:
        return f"loss_bound is {shown(bound)}, below the loss {shown(loss)} itself"
    return None


def _front_rule(front: Mapping[str, Any]) -> str | None:
    folders = [point["folder"] for point in front["points"]]
    if front["chosen"] not in folders:
        return f"chosen is {shown(front['chosen'])}, not one of {shown(', '.join(folders))}"
    if wrong := next((name for name in folders if not re.fullmatch(r"points/[0-9]+", name)), None):
        return f"points has the folder {shown(wrong)}, which is not that of a network of a front, such as points/1"
    if len(set(folders)) < len(folders):
        return f"points has one folder twice: {shown(', '.join(folders))}"
    return None


def _figures(metric: Metric) -> dict[str, Shape]:
    score, loss = score_shape(metric), loss_shape(metric)
    return {"score": OrNull(score), "loss": OrNull(loss), "loss_bound": OrNull(loss), "costs": Named(_AMOUNT)}


def _more(metric: Metric) -> dict[str, Shape]:
    score = score_shape(metric)
    return {
        "score_interval": List(score, count=2), "score_bound": score, "confidence": _LEVEL,
        "latency_measured_s": _AMOUNT, "latency_interval_s": List(_AMOUNT, count=2), "latency_predicted_s": _AMOUNT,
        "divergence": Number(), "bound": Number(), "cost_bound": _AMOUNT, "certified": Flag(), "design": Anything(),
    }  # fmt: skip


def point_schema(metric: Metric) -> Record:
    """One network of a front.

    ``folder`` is a whole run folder below that of the front; ``score`` is by the metric on the test examples, as
    ``accuracy`` the share of right ones, ``loss`` by how much that is worse than of the network as given,
    ``loss_bound`` the most that it is, at ``confidence`` (null where the network as given has no score, or nothing was
    compared); ``score_bound`` the score that is surely reached. Latencies in seconds, measured and predicted;
    ``costs`` by name in SI units, latency as measured where it was. ``divergence`` is the loss that the search went by,
    ``bound`` the least such loss that any design has at this cost, proven, and ``cost_bound`` the least of the
    minimised cost that any design has whose loss is no more; all under the model of the search. ``certified`` is
    whether the certificate that was asked for holds, null where not tested.
    """
    return Record({"folder": Text(empty=False), **_figures(metric)}, _more(metric), _point_rule)


@lru_cache(maxsize=16)
def front_schema(metric: Metric) -> Record:
    """A front of networks, by the metric of their scores.

    ``points`` are those of ``front.json``, the best first, ``chosen`` the folder of the one that the rest of the
    summary is about, ``rule`` the sentence by which it was chosen, ``minimize`` the cost that the front is along,
    ``asked`` the largest loss of score or the least score that was allowed. ``marks`` are networks that the front is
    compared with, as 8-bit integers alone: the same figures, and perhaps no folder. ``teacher`` has the score that
    losses are against where the network as given has none, as the reference of a space that nobody trained, which then
    has a ``name``.
    """
    score = score_shape(metric)
    mark = Record(
        {"name": Text(empty=False), **_figures(metric)}, {"folder": Text(empty=False), **_more(metric)}, _point_rule
    )
    return Record(
        {
            "points": List(point_schema(metric), least=1), "chosen": Text(empty=False), "rule": Text(empty=False),
            "minimize": Text(MINIMIZED),
            "baseline": Record(
                {"score": OrNull(score), "costs": Named(_AMOUNT)},
                {"name": Text(empty=False), "score_interval": List(score, count=2), "latency_measured_s": _AMOUNT,
                 "latency_interval_s": List(_AMOUNT, count=2)}, _point_rule,
            ),
        },
        {
            "marks": List(mark), "asked": Record(optional={"max_drop": loss_shape(metric), "min_score": score}),
            "teacher": Record({"score": score}, {"score_interval": List(score, count=2)}, _point_rule),
        }, _front_rule,
    )  # fmt: skip


def chosen_of(front: Mapping[str, Any]) -> dict[str, Any]:
    """The point of a front that was chosen; ``front`` is what :func:`front_schema` lets pass."""
    return next(dict(point) for point in front["points"] if point["folder"] == front["chosen"])


def built_points(folder: Path) -> list[str]:
    """Folders of a front's networks that are finished, though the front need not be, in their order."""
    found = [path.parent for path in folder.glob(f"points/*/{SUMMARY}") if path.parent.name.isdigit()]
    return [f"points/{path.name}" for path in sorted(found, key=lambda path: int(path.name))]

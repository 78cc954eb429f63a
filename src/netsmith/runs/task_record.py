"""What a record says of a task: its kind, and the metrics of its scores, by which other records are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netsmith.metrics import Metric
from netsmith.shapes import Flag, List, Number, Record, Shape, Text

_METRIC = Record(
    {"key": Text(empty=False), "name": Text(empty=False), "unit": Text(), "higher_is_better": Flag(), "share": Flag()},
    {"mean": Flag()},
)

#: ``kind`` is how ``--task`` calls it, ``metrics`` those of its scores, of which the first ranks networks, and ``each``
#: what an example is called, in the plural. A record without a task is of classification.
TASK = Record(
    {"kind": Text(empty=False), "metrics": List(_METRIC, least=1)}, {"name": Text(), "each": Text(empty=False)}
)


def score_shape(metric: Metric) -> Number:
    """What a score must be: a share where it is shown in per cent, else any number."""
    return Number(low=0, high=1) if metric.unit == "%" else Number()


def loss_shape(metric: Metric) -> Number:
    """What a difference of two scores must be."""
    return Number(low=-1, high=1) if metric.unit == "%" else Number()


def drop_shape(metric: Metric) -> Shape:
    """What a loss that is allowed must be."""
    return Number(low=0, high=1) if metric.unit == "%" else Number(low=0)


def task_problem(record: Any) -> str | None:
    """What is wrong with the ``task`` of a record, if anything."""
    task = record.get("task") if isinstance(record, Mapping) else None
    return None if task is None else TASK.problem(task, "task")

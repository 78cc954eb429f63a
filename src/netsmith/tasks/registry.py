"""From the words of ``--task`` to a task: a name of the house, or a function of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from netsmith.tasks.task import Task

DEFAULT = "classification"
#: Name -> module of this room that has ``load(data, header, *, seed, **options) -> Task``.
TASKS: dict[str, str] = {"classification": "classification"}


def load_task(
    task: Any, data: Any, header: Mapping[str, str], *, seed: int = 0, options: Mapping[str, Any] | None = None,
    **reading: Any,
) -> Task:  # fmt: skip
    """The task of a job.

    Args:
        task: a name, or in Python a task.
        data: what the task's examples are read from.
        header: of the file of the network's weights.
        seed: of the splits.
        options: how data is read, by the names of the command's options.
        reading: ``record`` and ``report`` of ``netsmith.data.load_data``.

    Raises:
        InputError: there is no such task, or its data cannot be read.
    """
    from netsmith.tasks.task import Task

    for given in (task, data):
        if isinstance(given, Task):
            return given
    if task not in TASKS:
        raise InputError(f"unknown task {task!r}{did_you_mean(task, list(TASKS))}; known: {', '.join(TASKS)}")
    loaded: Task = import_module(f"netsmith.tasks.{TASKS[task]}").load(
        data, header, seed=seed, **(options or {}), **reading
    )
    return loaded

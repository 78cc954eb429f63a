"""From the words of ``--task`` to a task: a name of the house, or a function of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError, did_you_mean, shown

if TYPE_CHECKING:
    from netsmith.tasks.task import Task

DEFAULT = "classification"
#: Name -> module of this room that has ``load(data, header, *, seed, **options) -> Task``, and what it is called with.
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "classification": ("classification", {}),
    "segmentation": ("segmentation", {}),
    "regression": ("regression", {}),
    "image-to-image": ("image_to_image", {}),
    "super-resolution": ("image_to_image", {"downscale": 2}),  # super-resolution:4 makes sides four times as long
    "text-classification": ("text", {}),
}
_OF_TEXTS = ("text_column", "tokenizer", "max_length")  #: options that other tasks know nothing of


def load_task(
    task: Any, data: Any, header: Mapping[str, str], *, seed: int = 0, options: Mapping[str, Any] | None = None,
    **reading: Any,
) -> Task:  # fmt: skip
    """The task of a job.

    Args:
        task: a name, ``FILE.py:function``, or in Python a task or a function that makes one.
        data: what the task's examples are read from. A function of the user's is called with it, if it takes something.
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
    if not isinstance(task, str):
        return made(task, data, f"task {shown(task)}")
    if ".py:" in task:
        return made(function_of(task), data, f"--task {task}")
    name, _, times = task.partition(":")
    if name not in TASKS:
        raise InputError(
            f"unknown task {name!r}{did_you_mean(name, list(TASKS))}; known: {', '.join(TASKS)}, or FILE.py:function"
        )
    module, fixed = TASKS[name]
    if times and ("downscale" not in fixed or not times.isdecimal()):
        raise InputError(
            f"--task {task} has {times!r} behind its name; only super-resolution has a number there, as :4"
        )
    fixed = {"downscale": int(times)} if times else fixed
    wanted = dict(options or {})
    for option in () if module == "text" else _OF_TEXTS:
        if wanted.pop(option, None) is not None:
            raise InputError(f"--{option.replace('_', '-')} is for texts, and {name} has none; drop it")
    loaded: Task = import_module(f"netsmith.tasks.{module}").load(data, header, seed=seed, **wanted, **fixed, **reading)
    return loaded


def function_of(words: str) -> Any:
    """The function that ``FILE.py:NAME`` names.

    Raises:
        InputError: there is no such file, it fails, or it has no such function.
    """
    from netsmith.files import to_path
    from netsmith.network.userfile import load_file
    from netsmith.usercode import user_code

    place, _, name = words.rpartition(":")
    path = to_path(place)
    if not path.is_file():
        raise InputError(f"there is no file {place} for --task; give an existing one")
    with user_code():
        function = getattr(load_file(path), name, None)
    if function is None:
        raise InputError(f"{place} has no function {name!r}; name one that makes a task")
    return function


def made(function: Any, data: Any, what: str) -> Task:
    """The task that a function of the user's makes, called with the data if it takes something.

    Raises:
        InputError: it is no function, fails, or makes no task.
    """
    from netsmith.tasks.task import Task
    from netsmith.usercode import failure, user_code

    if isinstance(function, Task):
        return function
    if not callable(function):
        raise InputError(f"{what} is no task and no function that makes one; give netsmith.Task(...)")
    try:
        with user_code():
            takes = any(p.kind.name[:3] != "VAR" for p in inspect.signature(function).parameters.values())
            task = function(data) if takes else function()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{what} fails ({failure(error)}); repair it") from error
    if not isinstance(task, Task):
        raise InputError(f"{what} returns {shown(task)}, no task; return netsmith.Task(...)")
    return task

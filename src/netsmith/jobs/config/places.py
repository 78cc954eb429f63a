"""Files that options name, looked for before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netsmith.errors import InputError, shown
from netsmith.schema import is_text
from netsmith.usercode import FORMS


def check_file(name: str, given: Any) -> None:
    """Refuse a file that is not there; ``FILE#KEY`` is a key of a file.

    Raises:
        InputError: names the option and the file.
    """
    if not isinstance(given, str | Path):
        return
    if not str(given).strip():
        raise InputError(f"{name} is empty; give a file, or drop it")
    if not any(is_there(place) for place in (str(given), str(given).rpartition("#")[0])):
        raise InputError(f"there is no file {given} for {name}; give an existing one")


def is_there(place: str) -> bool:
    """Whether a path can be followed: not nobody's home folder, a name that is too long or one with a null byte."""
    try:
        return bool(place) and Path(place).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def check_model(name: str, given: Any) -> None:
    """Refuse what is no MODEL, and one that names a file that is not there, or nothing in it.

    Raises:
        InputError: names it.
    """
    if not isinstance(given, str):
        if not callable(given):
            raise InputError(f"{name} must be a text, a torch.nn.Module or a function, not {shown(given)}")
        return
    _check_text(name, given)
    text = given.strip().partition("?")[0]
    if not text:
        raise InputError(f"{name} is empty: write {FORMS}")
    place, _, _ = text.rpartition(":")
    file = text.removeprefix("design:") if text.startswith("design:") else next(
        (part for part in (place, text) if part.endswith(".py")), None
    )  # fmt: skip
    if file is not None and not is_there(file):
        raise InputError(f"there is no file {file} for {name} {given!r}; give an existing one")
    if file is not None and text.removesuffix(":").endswith(".py"):
        raise InputError(
            f"{name} {given!r} is a file alone; write {file}:NAME, the function or class in it that builds the network"
        )


def check_teacher(teacher: Any, weights: str | None) -> None:
    """Refuse weights without a network, and files that are not there.

    Raises:
        InputError: names the option.
    """
    if weights is not None and teacher is None:
        raise InputError("--teacher-weights are of no network; name it with --teacher")
    if teacher is not None:
        check_model("--teacher", teacher)
    check_file("--teacher-weights", weights)


def check_data(given: Any, task: Any = "classification") -> None:
    """Refuse data that name nothing.

    Args:
        task: what they are for; one of the user's own may bring them.

    Raises:
        InputError: names it.
    """
    if given is None and (not isinstance(task, str) or ".py:" in task):
        return
    if given is None:
        raise InputError(f"missing option '--data'; the task {shown(task)} needs examples")
    if given is None or (isinstance(given, str) and not given.strip()):
        raise InputError("--data is empty; give 'digits', an existing path or a Hugging Face name")
    if isinstance(given, str):
        _check_text("--data", given)


def check_call(resume: Any, job: Any = "") -> None:
    """Refuse what only a caller from Python can give.

    Raises:
        InputError: names it.
    """
    if not isinstance(resume, bool):
        raise InputError(f"resume must be true or false, not {shown(resume)}")
    if not isinstance(job, str) or not is_text(job):
        raise InputError(f"job must be a text, not {shown(job)}")


def _check_text(name: str, given: str) -> None:
    if not is_text(given):
        raise InputError(f"{name} must be text in UTF-8, not {shown(given)}")

"""Where runs lie: their folder is made, locked, and emptied of a run that may go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netsmith import locks
from netsmith.errors import InputError
from netsmith.files import to_path
from netsmith.runs.names import CONFIG, LOCK, foreign, refuse_links, remove
from netsmith.runs.options import read_config


def acquire(folder: Path) -> int:
    """The lock of a run folder, which one process has at a time; for ``locks.release``.

    Raises:
        InputError: another process has it.
    """
    return locks.acquire(folder / LOCK, folder)


@contextmanager
def emptied(path: str | Path) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """A run folder that is emptied of the run in it if the block ends well.

    Yields:
        The options of the run, none if there is none, and the files there that no run made.

    Raises:
        InputError: the folder cannot be made, is in use, has links, or its config.json is damaged.
    """
    folder = made(path)
    lock = acquire(folder)
    try:
        refuse_links(folder)
        yield (read_config(folder) if (folder / CONFIG).exists() else {}), foreign(folder)
        remove(folder)
    finally:
        locks.release(lock)


def default_folder(model: str) -> Path:
    """Where a run of ``model`` goes if the user names no place: ``zoo:resnet20`` -> ``runs/zoo-resnet20``."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model.removesuffix("/")).strip("-.")
    return Path("runs") / (name or "run")


def made(path: str | Path) -> Path:
    """The run folder, which is made if it is not there.

    Raises:
        InputError: it cannot be made.
    """
    folder = to_path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the run folder {folder} cannot be made ({error.strerror or error}); choose another --out"
        ) from error
    return folder

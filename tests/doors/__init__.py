"""The doors through which files come in, each with valid files; what is behind them must hold against damaged ones.

A room's doors are in a module of their own in this folder, found by being there. The suite tries each with a few seeds
(``test_doors.py``), ``benchmarks/fuzz.py`` with thousands.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random

from mutations import mutate
from netsmith.errors import NetsmithError

MOST_CHARACTERS = 600  #: of a message
_SPECIAL = ("folder", "fifo", "null", "zero", "absent", "loop", "long", "nowhere")
_DOORS: dict[str, Door] = {}


@dataclass(frozen=True)
class Door:
    """One way in.

    Attributes:
        name: of the door, such as "hardware TOML".
        valid: makes files that are let in: name (with folders) -> content; several may be alternatives.
        open: uses what is in a folder that holds these files, as a user's command would.
        changed: names of the files that are damaged, all of them by default.
        slow: takes a second or more a file.
    """

    name: str
    valid: Callable[[], Mapping[str, bytes]]
    open: Callable[[Path], object]
    changed: tuple[str, ...] = ()
    slow: bool = False

    def files(self) -> Mapping[str, bytes]:
        """What ``valid`` makes, made once."""
        return _files(self)


def register(
    name: str, valid: Callable[[], Mapping[str, bytes]], changed: tuple[str, ...] = (), slow: bool = False
) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    """Decorate the function that opens a door."""

    def add(opened: Callable[[Path], object]) -> Callable[[Path], object]:
        _DOORS[name] = Door(name, valid, opened, changed, slow)
        return opened

    return add


def doors() -> dict[str, Door]:
    """Every door by its name."""
    for module in sorted(Path(__file__).parent.glob("*.py")):
        if module.stem != "__init__" and not module.stem.startswith("test_"):
            import_module(f"doors.{module.stem}")
    return dict(_DOORS)


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of a folder, for ``Door.valid``."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def place(door: Door, seed: int, folder: Path) -> str:
    """Write a door's files into an empty folder, one of them damaged, and say which."""
    rng = Random(seed)
    files = door.files()
    victim = rng.choice(door.changed or sorted(files))
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name != victim:
            path.write_bytes(content)
    if rng.random() < 0.03:
        what = rng.choice(_SPECIAL)
        _make_special(folder / victim, what)
        return f"{victim} ({what})"
    (folder / victim).write_bytes(mutate(victim, files[victim], rng))
    return victim


def attempt(door: Door, seed: int) -> str:
    """Open a door on damaged files.

    Returns:
        "accepted", or the sentence by which it was refused.

    Raises:
        AssertionError: the sentence is no short line.
        Exception: anything else that came out of it.
    """
    folder = Path(tempfile.mkdtemp(prefix="door-"))
    try:
        place(door, seed, folder)
        return sentence(lambda: door.open(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sentence(action: Callable[[], object]) -> str:
    """The one short line by which ``action`` is refused, or "accepted"."""
    try:
        action()
    except NetsmithError as error:
        said = str(error)
        assert len(said.splitlines()) == 1, f"not one line: {said[:MOST_CHARACTERS]!r}"
        assert said.isprintable(), f"control characters: {said[:MOST_CHARACTERS]!r}"
        assert len(said) <= MOST_CHARACTERS, f"{len(said)} characters: {said[:MOST_CHARACTERS]!r}"
        return said
    return "accepted"


@cache
def _files(door: Door) -> Mapping[str, bytes]:
    return door.valid()


def _make_special(path: Path, what: str) -> None:
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what in ("null", "zero"):
        path.symlink_to(f"/dev/{what}")
    elif what == "loop":
        path.symlink_to(path)
    elif what == "nowhere":
        path.symlink_to(path.with_name("there is no such file"))
    elif what == "long":  # most of it holes, which take no room on the disk
        with path.open("wb") as stream:
            stream.truncate(3_000_000_000)

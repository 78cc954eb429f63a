"""Which files of a run folder are a run's own: only these are ever removed, and none of them is a link."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from netsmith.errors import InputError
from netsmith.files import written_for

CONFIG, INPUTS, ARTEFACTS, SUMMARY, LOCK = "config.json", "inputs.json", "artefacts.json", "summary.json", ".lock"
EXAMPLES = "examples.safetensors"  #: a few of what a network takes, where random numbers cannot stand for it
RECORDED = "recorded.safetensors"  #: what was read of a user's loader, which may give other rows at its next pass
LOG = "log.txt"  #: for people: no stage reads it, and no two runs have the same
#: what a file of the finished network is for -> its name
FORMATS = {"onnx": "model.onnx", "pt2": "model.pt2", "safetensors": "model.safetensors", "nsw": "model.nsw"}
#: what a run has before it builds anything, the last file first
BEFORE = (
    "baseline.onnx", "stages/*.json", "trials.sqlite", "trials.sqlite-*", "checkpoints/*.safetensors", ARTEFACTS,
    INPUTS, RECORDED, EXAMPLES, LOG,
)  # fmt: skip
_BUILT = (
    *FORMATS.values(), "recipe.json", "layers.json", "memory.json", "network.json", "front.json", "explore.json",
    "search.json", "report.html", "supernet-*.safetensors", "family/*.safetensors", "family/*.recipe.json",
    "pictures/*.png", "pictures/*.svg", "pictures/pictures.json",
    *(f"compared/*/{name}" for name in FORMATS.values()), "compared/*/network.json", SUMMARY,
)  # fmt: skip


def entries(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All files below a folder, folders that are empty among them, by their path in it; no link is followed."""
    for where, folders, names in os.walk(folder):
        linked = [n for n in folders if os.path.islink(os.path.join(where, n))]
        empty = [n for n in folders if n not in linked and not os.listdir(os.path.join(where, n))]
        for name in (*names, *linked, *empty):
            path = Path(where) / name
            with contextlib.suppress(FileNotFoundError):  # a temporary file of a run that goes on
                yield path.relative_to(folder).as_posix(), path.lstat()


def refuse_links(folder: Path) -> None:
    """Check that a run folder holds nothing but files and folders, so that no write leaves it.

    Raises:
        InputError: names a link, a pipe or a device.
    """
    for name, found in entries(folder):
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "no plain file"
            raise InputError(f"{folder / name} is {kind}, which no run writes through or reads; remove it")


def refuse_link(folder: Path, name: str) -> None:
    """:func:`refuse_links` of one file and the folders that it lies in, which need not be there."""
    path = folder
    for part in Path(name).parts:
        path = path / part
        if path.is_symlink():
            raise InputError(f"{path} is a symbolic link, which no run writes through or reads; remove it")


def is_own(name: str, patterns: Iterable[str] = (CONFIG, *BEFORE, *_BUILT, LOCK)) -> bool:
    """Whether runs make files of that name, a path in the run folder; so are the temporary files of such."""
    for_whom = written_for(Path(name))
    whole = _in_point(name if for_whom is None else (Path(name).parent / for_whom).as_posix())
    return any(fnmatchcase(whole, pattern) for pattern in patterns)


def _in_point(name: str) -> str:
    """The path within the run of a network of a front, where it lies in one: what is a run's own is so there too."""
    found = re.fullmatch(r"(?:points/[0-9]+|marks/[a-z0-9]+)/(.+)", name)
    return found[1] if found else name


def leftovers(folder: Path) -> list[str]:
    """Temporary files of a run that was killed."""
    return [name for name, _ in entries(folder) if written_for(Path(name)) and is_own(name)]


def foreign(folder: Path, patterns: Iterable[str] = (CONFIG, *BEFORE, *_BUILT, LOCK)) -> list[str]:
    """Files in a run folder that no run made, or none of ``patterns``; empty folders are nobody's."""
    patterns = tuple(patterns)
    return [n for n, found in entries(folder) if not stat.S_ISDIR(found.st_mode) and not is_own(n, patterns)]


def remove(folder: Path) -> None:
    """Remove a run's own files, config.json last: until then there is something to resume. The lock stays."""
    names = [name for name, found in entries(folder) if name not in (CONFIG, LOCK) and _is_removable(name, found)]
    for name in names:
        path = folder / name
        with contextlib.suppress(FileNotFoundError):
            path.rmdir() if path.is_dir() else path.unlink()
        for parent in path.relative_to(folder).parents[:-1]:
            with contextlib.suppress(OSError):  # not empty yet
                (folder / parent).rmdir()
    (folder / CONFIG).unlink(missing_ok=True)


def _is_removable(name: str, found: os.stat_result) -> bool:
    if stat.S_ISDIR(found.st_mode):  # an empty one
        inner = _in_point(name)
        if re.fullmatch(r"points(/[0-9]+)?|marks(/[a-z0-9]+)?", name) or inner.startswith("checkpoints/"):
            return True
        return any(pattern.startswith(f"{inner}/") for pattern in (*BEFORE, *_BUILT))
    return stat.S_ISREG(found.st_mode) and is_own(name)

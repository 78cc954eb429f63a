"""A task's own pictures of a run, as of masks or of restored images: files below ``pictures/``, a caption each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from netsmith.errors import InputError, shown
from netsmith.files import read_json
from netsmith.runs.folder import Run
from netsmith.shapes import List, Record, Text

FOLDER = "pictures"
LISTED = f"{FOLDER}/pictures.json"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.(png|svg)")
_PICTURES = List(Record({"file": Text(empty=False), "caption": Text()}))
_REMEDY = "repeat the run's command with --resume, which draws them again"


def keep_pictures(run: Run, pictures: Iterable[tuple[str, bytes, str]]) -> list[dict[str, str]]:
    """Write pictures into a run, which lists them.

    Args:
        pictures: of each the name of its file, as ``masks.png`` or ``errors.svg``, its content and its caption.

    Raises:
        InputError: a name that is none of those.
    """
    listed = []
    for name, content, caption in pictures:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"a task draws a picture called {shown(name)}; call it by small letters, digits and _, as masks.png or "
                "masks.svg"
            )
        run.write_bytes(f"{FOLDER}/{name}", content)
        listed.append({"file": name, "caption": caption})
    run.write_json(LISTED, listed)
    return listed


def pictures_of(folder: Path) -> list[tuple[Path, str]]:
    """The pictures of a run, a file and a caption each; none where its task draws none.

    Raises:
        InputError: the list of them is damaged.
    """
    path = folder / LISTED
    if not path.exists():
        return []
    found = read_json(path, _REMEDY)
    problem = _PICTURES.problem(found, "it")
    if problem is None and (wrong := next((p["file"] for p in found if not _NAME.fullmatch(p["file"])), None)):
        problem = f"{shown(wrong)} is no picture"
    if problem:
        raise InputError(f"{path} is damaged, {problem}; {_REMEDY}")
    return [(folder / FOLDER / p["file"], p["caption"]) for p in found]

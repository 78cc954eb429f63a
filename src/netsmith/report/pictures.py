"""The task's own pictures as a page shows them: within the page, which needs no other file."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netsmith.errors import InputError
from netsmith.report.brief import brief
from netsmith.runs.pictures import pictures_of

_KINDS = {".png": "image/png", ".svg": "image/svg+xml"}
_MOST = 8 * 2**20  #: bytes of all pictures of a page


@dataclass(frozen=True)
class Shown:
    """A picture: its address, which holds it whole, and what it shows."""

    source: str
    caption: str


def shown_pictures(folder: Path, summary: Mapping[str, Any]) -> list[Shown]:
    """The pictures of a run, of a front those of the chosen network; as many as a page has room for.

    A browser runs no script of an image, so a drawing of a user's own is harmless here.

    Raises:
        InputError: one of them cannot be read.
    """
    front, found, left = summary.get("front"), list[Shown](), _MOST
    for path, caption in pictures_of(folder / front["chosen"] if front else folder):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); repeat the run with --resume") from error
        left -= len(content)
        if left >= 0:
            text = b64encode(content).decode()
            found.append(Shown(f"data:{_KINDS[path.suffix]};base64,{text}", brief(caption)))
    return found

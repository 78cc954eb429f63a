"""The log of a run: what was shown on the screen, and when, for whoever asks later."""

from __future__ import annotations

import contextlib
import os
import stat
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from netsmith.errors import one_line
from netsmith.progress.lines import Lines

_EVERY_S = 60.0  # between two lines of one stage: a training of a day has some 1,500
_MOST = 10_000  # characters of a line
_PLACE = "the traceback is in "


class Log(Lines):
    """Appends lines with the time in UTC to a file. It is never the reason that a job fails: what cannot be written is
    left out, and nothing is written through a link or into anything but a file.

    Args:
        path: the file; it is made by the first line.
        clock: seconds, monotonic.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock, every_s=_EVERY_S)
        self.path = path

    def error(self, error: BaseException) -> None:
        """Append the traceback of an error that nobody foresaw; :func:`traceback_place` finds it again."""
        for line in "".join(traceback.format_exception(error)).splitlines():
            self._write(f"  {line}")
        error.add_note(f"{_PLACE}{self.path}")

    def _write(self, line: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with contextlib.suppress(OSError):
            _append(self.path, f"{now} {one_line(line, _MOST)}\n".encode(errors="replace"))


def traceback_place(error: BaseException) -> str | None:
    """The log that has the traceback of an error, if one has."""
    notes = [note for note in getattr(error, "__notes__", []) if isinstance(note, str) and note.startswith(_PLACE)]
    return notes[0].removeprefix(_PLACE) if notes else None


def _append(path: Path, content: bytes) -> None:
    # a pipe would be waited for, were it not for O_NONBLOCK
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            os.write(handle, content)
    finally:
        os.close(handle)

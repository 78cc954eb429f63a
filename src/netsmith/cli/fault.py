"""The last net: an error that nobody foresaw becomes a sentence, and its traceback goes to a file."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from netsmith.errors import one_line
from netsmith.progress import traceback_place

#: exit code of a fault of netsmith, as sysexits.h has it for those of software
FAULT_CODE = 70
_MOST = 200  #: characters of the error's own words


def sentence(error: BaseException, arguments: Sequence[str]) -> str:
    """Say in one line what happened, where its traceback is and what to do.

    The traceback is in the log of the run that it happened in; of an error anywhere else a temporary file is made.
    """
    told = f"this is a fault of netsmith: {type(error).__name__}{_words(error)}"
    log = traceback_place(error)
    if log is not None:
        folder = Path(log).parent
        return (
            f"{told}; the traceback is in {log}; if a file in {folder} was edited, start again in another folder, "
            "else please report it with that file"
        )
    with contextlib.suppress(OSError, MemoryError):
        return f"{told}; the traceback is in {_written(_content(error, arguments))}; please report it with that file"
    return f"{told}; no file could be written for the traceback; please report it"


def _words(error: BaseException) -> str:
    try:
        text = one_line(str(error), _MOST)
    except Exception:  # an error of somebody's own class whose text is another error
        return ""
    return f": {text}" if text else ""


def _content(error: BaseException, arguments: Sequence[str]) -> bytes:
    from netsmith import __version__

    try:
        trace = "".join(traceback.format_exception(error))
    except Exception as other:  # as in _words
        trace = "".join(traceback.format_tb(error.__traceback__)) + f"{type(error).__name__}, {type(other).__name__}\n"
    head = f"netsmith {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
    return f"{head}{shlex.join(['netsmith', *arguments])}\n\n{trace}".encode(errors="replace")


def _written(content: bytes) -> Path:
    """A new temporary file."""
    handle, name = tempfile.mkstemp(prefix="netsmith-", suffix=".txt")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)

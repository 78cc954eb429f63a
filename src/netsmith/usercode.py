"""The code of a user's network: it may print, end the program, and fail in ways of its own."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from netsmith.errors import InputError, one_line

#: how a user names a network
FORMS = "file.py:callable, package.module:callable, timm:NAME, torchvision:NAME, zoo:NAME or design:FILE.json"
_NO_MEMORY = ("can't allocate memory", "Overflow when unpacking", "out of memory")  #: how torch says so


@contextlib.contextmanager
def user_code() -> Iterator[None]:
    """Within it a user's code may run: what it prints goes to standard error, and it cannot end the program.

    Standard output is the result's alone (``--json`` is one object and nothing else), so it is turned away for Python
    and for libraries in C alike.

    Raises:
        InputError: the code raised ``SystemExit`` or its like.
    """
    with _turned_away():
        try:
            yield
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise InputError(
                f"the network's code ended the program ({failure(error)}); let it raise an error that says why"
            ) from error


def is_own(thing: object) -> bool:
    """Whether a function, a class or what an object is made of is a user's, and none of the house."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return not str(named.__module__).startswith("netsmith.")


def failure(error: BaseException, most: int = 200) -> str:
    """The kind and the words of an exception, on one line: a user's may have no words, or fail to find them."""
    return f"{type(error).__name__}: {_words(error, most) or 'no message'}"


def words_of(error: BaseException, most: int = 200) -> str:
    """The first line of what an exception says, or its kind if it says nothing."""
    return _words(error, most) or type(error).__name__


def _words(error: BaseException, most: int) -> str:
    try:
        text = str(error).strip()
    except Exception:
        return ""
    return one_line(text.splitlines()[0], most) if text else ""


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception says that memory is short: torch has no exception of its own for it on CPUs."""
    return isinstance(error, MemoryError) or any(word in words_of(error) for word in _NO_MEMORY)


@contextlib.contextmanager
def _turned_away() -> Iterator[None]:
    """What is written to standard output goes to standard error."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        with contextlib.suppress(OSError, ValueError):  # without such descriptors there is nothing to turn away
            if sys.__stdout__ is not None:
                sys.__stdout__.flush()
            kept = os.dup(1)
            stack.callback(_put_back, kept)
            os.dup2(2, 1)
        yield


def _put_back(kept: int) -> None:
    os.dup2(kept, 1)
    os.close(kept)

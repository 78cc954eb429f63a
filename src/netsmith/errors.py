"""What can go wrong at a user's desk, and the exit code that says so."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

MOST_CHARACTERS = 600  #: of a message
_LONGEST = 200  #: word that is compared with others, which takes its length squared


class NetsmithError(Exception):
    """Base of every error that netsmith raises on purpose.

    Its message is one line of at most 600 characters, whatever the files, layers and values are called that it quotes.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class InputError(NetsmithError):
    """Input that cannot be used: one sentence that names the file, layer or option and the remedy."""

    exit_code = 2


class InfeasibleError(NetsmithError):
    """A budget that no design meets.

    Args:
        message: one sentence for the user.
        reachable: the smallest reachable value of each cost, in SI units.
    """

    exit_code = 3

    def __init__(self, message: str, reachable: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.reachable = dict(reachable or {})


def one_line(text: str, limit: int = MOST_CHARACTERS) -> str:
    """A text on one line, without control characters; of a longer one than ``limit``, the middle is left out."""
    if len(text) > limit:  # what is wrong stands at its beginning, and the remedy at its end
        text = f"{text[: limit * 6 // 10]} ... {text[-(limit * 3 // 10) :]}"
    if text.isprintable():
        return text
    plain = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)[:limit]


def shown(value: Any, limit: int = 60) -> str:
    """A value as a message quotes it: on one line, with at most ``limit`` characters, however large it is."""
    quoted = reprlib.Repr()
    quoted.maxstring = quoted.maxother = quoted.maxlong = limit
    quoted.maxlevel = 3
    try:
        text = quoted.repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        text = "a number of thousands of digits"
    return one_line(text if len(text) <= limit else f"{text[: limit - 3]}...", limit)


def did_you_mean(word: str, known: list[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known word, or an empty string."""
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1, cutoff=0.5) if len(word) <= _LONGEST else []
    return f" (did you mean {shown(near[0])}?)" if near else ""

"""What can go wrong at a user's desk, and the exit code that says so."""

from __future__ import annotations

from collections.abc import Mapping


class NetsmithError(Exception):
    """Base of every error that netsmith raises on purpose."""

    exit_code = 1


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


def did_you_mean(word: str, known: list[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known word, or an empty string."""
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""

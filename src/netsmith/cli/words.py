"""The words of the command line before and after typer."""

from __future__ import annotations

import re


def given_twice(arguments: list[str], several: str) -> str | None:
    """The first option that stands twice among ``arguments``, of which the parser would take the last in silence.

    Args:
        several: the option that may.
    """
    seen: set[str] = set()
    for word in arguments[: arguments.index("--") if "--" in arguments else None]:
        name = word.partition("=")[0]
        plain = name.replace("--no-", "--", 1)
        if name.startswith("--") and name != several and plain in seen:
            return name
        seen.add(plain)
    return None


#: what the parser of options says, and what is meant
_WORDS = {
    r"Input should be greater than or equal to (\S+)": r"it must be at least \1",
    r"Input should be less than or equal to (\S+)": r"it must be at most \1",
    r"Input should be a valid integer, .*": "it must be a whole number",
    r"Input should be a valid number, .*": "it must be a number",
    r"Input should be a finite number": "it must be finite",
}


def spread(arguments: list[str], option: str) -> list[str]:
    """Let an option take several words, ``--targets a b``: the option is written before each of them."""
    found: list[str] = []
    open_ = False
    for word in arguments:
        if open_ and not word.startswith("-") and found[-1] != option:
            found.append(option)
        elif word.startswith("-"):
            open_ = word == option
        found.append(word)
    return found


def valued(arguments: list[str], option: str, value: str) -> list[str]:
    """Let an option that takes a number stand alone, ``--front`` for ``--front 6``: ``value`` is written behind it."""
    found: list[str] = []
    for i, word in enumerate(arguments):
        found.append(word)
        if word == "--":
            return found + arguments[i + 1 :]
        follows = arguments[i + 1] if i + 1 < len(arguments) else "-"
        if word == option and not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", follows):
            found.append(value)
    return found


def usage_sentence(error: Exception) -> str:
    """A usage error, with the command whose help to read."""
    text = str(error.format_message()).replace("Value error, ", "").strip().rstrip(".")  # type: ignore[attr-defined]
    for theirs, ours in _WORDS.items():
        text = re.sub(theirs, ours, text)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "netsmith"
    return f"{text[:1].lower()}{text[1:]}; see `{command} --help`"

"""The first door of every file that comes in: what is no plain, readable text of a sane size is refused in a sentence.

What a text says is checked by those who asked for it. Here it is made sure that they get one, that it is not nested so
deeply that walking through it fails, and that no entry is there twice.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from netsmith.errors import InputError, did_you_mean, shown

MOST_BYTES = 64_000_000  #: of a text that is read whole
MOST_TOML = 1_000_000  #: bytes; such files are written by hand
_MOST_BITS = 1000  #: of a whole number; larger ones are no floating point numbers either
MOST_LEVELS = 100  #: of lists and mappings within each other


def check_regular(path: Path, what: str = "", remedy: str = "name another file", limit: int = MOST_BYTES) -> None:
    """Refuse what a library had better not open: a folder, a pipe or a device, which may never end, or a huge file.

    Args:
        what: the file is, in words, for messages.
        remedy: what the user should do instead, the end of the sentence.
        limit: largest size in bytes.

    Raises:
        FileNotFoundError: there is none.
        InputError: it is no plain file, or too large.
    """
    called = f"{what} {path}".strip()
    try:
        _check(os.stat(path), called, remedy, limit)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{called} cannot be read ({_reason(error)}); {remedy}") from error


def read_bytes(path: Path, what: str = "", remedy: str = "name another file", limit: int = MOST_BYTES) -> bytes:
    """The content of a plain file; arguments and errors are those of :func:`check_regular`."""
    called = f"{what} {path}".strip()
    try:
        with open(path, "rb", opener=_without_waiting) as stream:
            found = os.fstat(stream.fileno())
            _check(found, called, remedy, limit)
            return stream.read(found.st_size)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{called} cannot be read ({_reason(error)}); {remedy}") from error


def read_text(path: Path, what: str = "", remedy: str = "name another file", limit: int = MOST_BYTES) -> str:
    """The text of a plain file in UTF-8; arguments are those of :func:`check_regular`.

    Raises:
        InputError: absent, no plain file, too large, not in UTF-8, or with NUL bytes in it.
    """
    called = f"{what} {path}".strip()
    try:
        text = read_bytes(path, what, remedy, limit).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{called} is missing; {remedy}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{called} is not in UTF-8; write it so") from error
    if "\0" in text:
        raise InputError(f"{called} is no text, it holds NUL bytes; {remedy}")
    return text


def read_json(path: Path, remedy: str, what: str = "", limit: int = MOST_BYTES) -> Any:
    """Read a JSON file; arguments are those of :func:`check_regular`.

    Raises:
        InputError: as :func:`read_text`, or it is no JSON.
    """
    return parse_json(read_text(path, what, remedy, limit), f"{what} {path}".strip(), remedy)


def parse_json(text: str, called: str, remedy: str) -> Any:
    """What a JSON text says.

    Args:
        called: what the text is, for messages.
        remedy: the end of the sentence.

    Raises:
        InputError: it is none, an entry is there twice, it is nested too deeply, or a number has thousands of digits.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):  # the last one would win in silence
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{called} has two entries {shown(twice)}; keep the one that is meant")
        return found

    try:
        found = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{called} is damaged, it holds no JSON ({error.msg} in line {error.lineno}); {remedy}"
        ) from error
    except RecursionError as error:
        raise InputError(f"{called} is damaged, it is nested too deeply; {remedy}") from error
    except ValueError as error:
        raise InputError(f"{called} is damaged, it has a number of thousands of digits; {remedy}") from error
    check_levels(found, called, remedy)
    if "\\ud" in text.lower():
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{called} is damaged, half a character stands in it (\\ud800 or such); {remedy}"
            ) from error
    return found


def read_toml(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """Read a TOML file; arguments are those of :func:`check_regular`.

    Raises:
        InputError: absent (files beside it with a name like its are proposed), as :func:`read_text`, or no TOML.
    """
    import tomllib

    try:
        os.stat(path)
    except FileNotFoundError:
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else [])
        raise InputError(f"there is no {what} {path}{near}; {remedy}") from None
    except (OSError, ValueError):
        pass  # said below
    try:
        found = tomllib.loads(read_text(path, what, remedy, MOST_TOML))
    except RecursionError as error:
        raise InputError(f"{what} {path} is no valid TOML: it is nested too deeply; {remedy}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{what} {path} is no valid TOML: {error}") from error
    except ValueError as error:
        raise InputError(f"{what} {path} has a number of thousands of digits, or a date that is none") from error
    check_values(found, f"{what} {path}", remedy)
    return found


def check_values(value: Any, called: str, remedy: str) -> None:
    """Refuse what YAML and TOML can write and hardly anything can work with; JSON cannot write such numbers.

    Raises:
        InputError: a whole number so large that Python does not write it, or as :func:`check_levels`.
    """
    check_levels(value, called, remedy)
    open_ = [value]
    while open_:
        node = open_.pop()
        if isinstance(node, dict):
            open_ += [*node, *node.values()]
        elif isinstance(node, list | tuple | set):
            open_ += node
        elif isinstance(node, int) and node.bit_length() > _MOST_BITS:
            raise InputError(f"{called} has a number of thousands of digits; {remedy}")


def check_levels(value: Any, called: str, remedy: str) -> None:
    """Refuse lists and mappings within each other so deeply that whoever walks through them fails.

    Raises:
        InputError: more than a hundred levels.
    """
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(MOST_LEVELS):
        level = [v for c in level for v in (c.values() if isinstance(c, dict) else c) if isinstance(v, list | dict)]
        if not level:
            return
    raise InputError(f"{called} is nested too deeply; {remedy}")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for somebody to write


def _check(found: os.stat_result, called: str, remedy: str, limit: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{called} is a folder; {remedy}")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{called} is no plain file; {remedy}")
    if found.st_size > limit:
        most = f"{found.st_size / 1e6:.0f} MB, more than the {limit / 1e6:g} MB"
        raise InputError(f"{called} has {most} that are read; {remedy}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)

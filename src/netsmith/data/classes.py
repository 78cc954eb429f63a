"""The names of the classes and their order, which decides what each output of a network means."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.files import read_bytes

SORTED = "sorted as text"  #: the order of names that a source gives no order to
DECLARED = "as the data declares them"
NUMBERED = "as the data numbers them"
OF_WEIGHTS = "as the metadata of the weights has them"
_LONGEST, _MOST = 1000, 1_000_000  #: characters of a name; names
_SHOWN = 4  #: names at each end of a list


def read_classes(given: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Class names in the order of a network's outputs.

    Args:
        given: names, or a file: one name a line, a JSON list, ``{index: name}`` or ``{name: index}``.

    Raises:
        InputError: the file cannot be read, holds something else, or a name twice.
    """
    if not isinstance(given, (str, Path)):
        return check_names([str(name) for name in given], "the classes given")
    path = Path(os.path.expanduser(given))
    try:
        text = read_bytes(path, "--classes", "give a text file with one name a line").decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"there is no file {path} for --classes; give one with one name a line") from None
    except UnicodeDecodeError as error:
        why = "it is in another encoding than UTF-8"
        raise InputError(f"--classes {path} cannot be read ({why}); give a text file with one name a line") from error
    if text.lstrip()[:1] in ("[", "{"):
        try:
            names = names_of(json.loads(text))
        except (ValueError, RecursionError):
            names = None
        if names is None:
            raise InputError(
                f"--classes {path} is neither a JSON list of names nor {{index: name}} with the indices 0, 1, 2, ..."
            )
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    return check_names(names, f"--classes {path}")


def names_of(value: Any) -> list[str] | None:
    """Names from a list, ``{index: name}`` or ``{name: index}``; None if it is none of these."""
    if isinstance(value, list) and all(isinstance(v, (str, int)) for v in value):
        return [str(v) for v in value]
    if not isinstance(value, dict) or not value:
        return None
    if all(isinstance(v, int) and not isinstance(v, bool) for v in value.values()):
        pairs = [(index, str(name)) for name, index in value.items()]
    elif all(isinstance(v, str) and re.fullmatch(r"\d{1,9}", str(k)) for k, v in value.items()):
        pairs = [(int(k), v) for k, v in value.items()]
    else:
        return None
    pairs.sort()
    return [name for _, name in pairs] if [i for i, _ in pairs] == list(range(len(pairs))) else None


def names_from_metadata(metadata: Mapping[str, str] | None) -> tuple[str, ...] | None:
    """The classes that a weights file was trained on; None where its header names none, or only describes them."""
    try:
        names = names_of(json.loads((metadata or {}).get("classes", "null")))
    except (ValueError, TypeError, RecursionError):
        return None
    return tuple(names) if names and len(set(names)) == len(names) else None


def positions(names: Sequence[str], order: Sequence[str], where: str) -> NDArray[np.int64]:
    """Where each of ``names`` stands in ``order``, which may have more.

    Raises:
        InputError: a name that ``order`` lacks.
    """
    at = {name: i for i, name in enumerate(order)}
    for name in names:
        if name not in at:
            raise InputError(
                f"the class {name!r} is not among the {len(order)} of {where}{did_you_mean(name, list(order))}; "
                "list every class of the data once"
            )
    return np.array([at[name] for name in names], dtype=np.int64)


def order_sentence(classes: Sequence[str], order: str) -> str:
    """The classes, how many and in which order, with a warning where numbers are sorted as text.

    That is also an order that a library declares, if it found the names in a folder.
    """
    shown = [shorten(name) for name in classes]
    if len(shown) > 2 * _SHOWN + 2:  # to leave out one or two would save nothing
        shown = [*shown[:_SHOWN], "...", *shown[-_SHOWN:]]
    said = f"{len(classes)} classes, {order}: {', '.join(shown)}"
    if order in (SORTED, DECLARED) and sorted(classes, key=_natural) != list(classes) == sorted(classes):
        said += (
            "; numbers sorted as text are not in the order of numbers, and a network that was trained elsewhere may "
            "have another order: say it with --classes FILE"
        )
    return said


def names_alike(classes: Sequence[str]) -> list[str]:
    """A sentence for names that differ only in case, in blanks or in how accents are written."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        found[" ".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    twins = [names for names in found.values() if len(names) > 1]
    if not twins:
        return []
    return [f"the classes {' and '.join(map(repr, twins[0]))} have nearly the same name; they are kept apart"]


def listing(found: Sequence[tuple[str, int]], most: int = 8) -> str:
    """``cat (3), dog (2) and 5 more``."""
    said = ", ".join(f"{shorten(name)} ({count})" for name, count in found[:most])
    return said + (f" and {len(found) - most} more" if len(found) > most else "")


def plural(count: int, word: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}{'es' if word.endswith('s') else 's'}"


def printable(name: str | Path) -> str:
    """A file's name as text that can be written; file systems allow others."""
    return os.fsencode(name).decode(errors="replace")


def shorten(name: str, most: int = 30) -> str:
    """A name as it can be printed: without control characters, and cut."""
    name = "".join(c if c.isprintable() else "?" for c in name)
    return name if len(name) <= most else f"{name[: most - 3]}..."


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts digits as numbers."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(p), "") if p.isdecimal() and len(p) < 4000 else (1, 0, p) for p in parts]


def check_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Names of classes, each of which must be there once.

    Args:
        where: they come from, for messages.

    Raises:
        InputError: there are none or more than a million, or one is too long or no text.
    """
    if not names:
        raise InputError(f"{where} names no classes; give one name a line")
    if len(names) > _MOST:
        raise InputError(f"{where} names {len(names)} classes, and {_MOST} are the most; give one name a class")
    seen: set[str] = set()
    for name in names:
        if len(name) > _LONGEST or any("\ud800" <= c <= "\udfff" for c in name):
            raise InputError(f"{where} has the name {shown(name)}, which is too long or no text; shorten it")
        if name in seen:
            raise InputError(f"{where} has {shown(name)} twice; a class has one place")
        seen.add(name)
    return tuple(names)

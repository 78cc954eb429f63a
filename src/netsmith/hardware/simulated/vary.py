"""Configurations of a hardware family around a base: some of its numbers varied, everything else as it is.

``rows=8..32,columns=16/32`` are the six configurations of three numbers of rows and two of columns.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.hardware.simulated.families import assignments, value_of
from netsmith.schema import Parameter, describe

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MOST = 400  #: configurations
_RANGE = re.compile(r"^(.+?)\.\.(.+?)(?::(.+))?$")
_HOW = "write FIELD=8..32 (doubling), FIELD=8..32:8 (steps of 8) or FIELD=8/16/32"
#: what every family may be asked for by one word -> what its fields are called
SHORT = {
    "bandwidth": ("dram_bits_per_cycle", "bandwidth_bytes_per_s", "bandwidth_words_per_cycle", "dram_bytes_per_s"),
    "clock": ("clock_hz", "frequency_hz"),
}
_VARIED = ("number", "whole number", "text", "true or false")  #: types of fields that can be; tables cannot

C = TypeVar("C", bound="DataclassInstance")


def read_vary(text: str, source: str = "--vary") -> dict[str, tuple[Any, ...]]:
    """The values of each field, in order.

    Raises:
        InputError: no assignments, a field twice, or values that are none.
    """
    names = [part.partition("=")[0].strip() for part in text.split(",") if part.strip()]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{source} has {shown(twice)} twice; give its values together, {twice}=8/16")
    found = {}
    for name, given in assignments(text, source).items():
        several = [v for part in given.split("/") for v in _values(part.strip(), f"{source} {name}")] if isinstance(
            given, str) else [given]  # fmt: skip
        found[name] = tuple(dict.fromkeys(several))
    if not found:
        raise InputError(f"{source} is empty; {_HOW}")
    return found


def _values(text: str, source: str) -> list[Any]:
    """What stands between two strokes: a value, or a range of numbers."""
    match = _RANGE.match(text)
    if match is None:
        if not text:
            raise InputError(f"{source} lacks a value; {_HOW}")
        return [value_of(text)]
    low, high, step = (value_of(part.strip()) if part is not None else math.inf for part in match.groups())
    for number in (low, high, step):
        if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
            raise InputError(f"{source}: {shown(text)} is no range of numbers above 0; {_HOW}")
    doubles = step == math.inf
    values = [low]
    while values[-1] < high * (1 - 1e-9) and len(values) <= MOST:
        values.append(values[-1] * 2 if doubles else values[-1] + step)
    if len(values) > MOST:
        raise InputError(f"{source}: {shown(text)} has more than {MOST} values; take larger steps")
    if abs(values[-1] - high) > 1e-9 * high:
        steps = "doublings of" if doubles else f"steps of {step:g} from"
        raise InputError(f"{source}: {shown(text)} does not end at one of the {steps} {low:g}; {_HOW}")
    return values


def field_names(config: type, wanted: Sequence[str], source: str) -> dict[str, str]:
    """The fields that words name: their own names, or short ones that mean a field of every family.

    Raises:
        InputError: no such field, or one that is a table; two words for one field.
    """
    fields: dict[str, Parameter] = {p.name: p for p in describe(config) if p.name != "name"}
    known = [name for name, p in fields.items() if p.type in _VARIED]
    short = {word: next((n for n in names if n in known), None) for word, names in SHORT.items()}
    short = {word: name for word, name in short.items() if name is not None}
    found: dict[str, str] = {}
    for word in wanted:
        name = word if word in fields else short.get(word)
        if name is None:
            near = did_you_mean(word, [*known, *short])
            raise InputError(f"{source} has no field {shown(word)}{near}; fields are {', '.join(known)}")
        if name not in known:
            raise InputError(
                f"{source}: {name} is a {fields[name].type}, which cannot be varied; write a file for each"
            )
        if name in found.values():
            raise InputError(f"{source} has {name} twice; give its values together")
        found[word] = name
    return found


def varied(base: C, changes: Mapping[str, Any]) -> C:
    """A configuration with other values of some fields.

    What a family says belongs to those follows, by its ``following``: a larger array takes more energy a cycle.

    Raises:
        InputError: a value of a wrong type or out of range; names the field.
    """
    follow = getattr(base, "following", None)
    numbers = {f.name for f in dataclasses.fields(base) if f.type in (float, "float")}
    plain = {k: float(v) if k in numbers and isinstance(v, int) else v for k, v in changes.items()}
    try:
        first = dataclasses.replace(base, **plain)
        more = follow(first) if follow is not None else {}
        return dataclasses.replace(first, **{k: v for k, v in more.items() if k not in plain})
    except InputError as error:
        raise InputError(f"--vary: {error}") from error


def grid(base: C, values: Mapping[str, Sequence[Any]]) -> list[tuple[dict[str, Any], C]]:
    """Every configuration of some fields' values, the last field varying fastest, each with its own values.

    Raises:
        InputError: as :func:`varied`; or too many.
    """
    count = 1
    for several in values.values():
        count *= len(several)
    if count > MOST:
        raise InputError(
            f"--vary makes {count} configurations; at most {MOST} are explored at a time, so take fewer values"
        )
    found = []
    for one in product(*values.values()):
        changes = dict(zip(values, one, strict=True))
        found.append((changes, varied(base, changes)))
    return found

"""Schemas of JSON values as data: what a file must hold to be read; the first value that is wrong is named.

:mod:`netsmith.schema` reads flat configurations that people write. Here are records that netsmith writes itself and
reads again, nested and of older versions too: keys that nobody reads are allowed, and a null stands for an absent one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from netsmith.errors import shown

MOST = 1e50  #: products of a few such numbers are still finite

Rule = Callable[[Mapping[str, Any]], str | None]


class Shape(Protocol):
    """What a value must be."""

    def problem(self, value: Any, where: str) -> str | None:
        """What is wrong with a value called ``where``, as a sentence without its end, or None."""
        ...


@dataclass(frozen=True)
class Number:
    """A finite number of ``low`` to ``high``."""

    low: float = -MOST
    high: float = MOST
    whole: bool = False

    def problem(self, value: Any, where: str) -> str | None:
        kinds = int if self.whole else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high
        if fits:
            return None
        kind = "a whole number" if self.whole else "a number"
        low = [f"at least {self.low:.12g}"] if self.low > -MOST else []
        high = [f"at most {self.high:.12g}"] if self.high < MOST else []
        return f"{where} is {shown(value)}, not {kind}{' of ' if low or high else ''}{' and '.join(low + high)}"


@dataclass(frozen=True)
class Text:
    """A text, one of ``choices`` where there are any, and not empty if it must not be."""

    choices: tuple[str, ...] = ()
    empty: bool = True

    def problem(self, value: Any, where: str) -> str | None:
        if isinstance(value, str) and (not self.choices or value in self.choices) and (self.empty or value):
            return None
        what = (
            f"one of {', '.join(self.choices)}"
            if self.choices
            else "a text"
            if self.empty
            else "a text that says something"
        )
        return f"{where} is {shown(value)}, not {what}"


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def problem(self, value: Any, where: str) -> str | None:
        return None if isinstance(value, bool) else f"{where} is {shown(value)}, not true or false"


@dataclass(frozen=True)
class Anything:
    """What is shown as it is, or not at all."""

    def problem(self, value: Any, where: str) -> str | None:
        return None


@dataclass(frozen=True)
class OrNull:
    """Another shape, or null where nothing is known."""

    of: Shape

    def problem(self, value: Any, where: str) -> str | None:
        return None if value is None else self.of.problem(value, where)


@dataclass(frozen=True)
class Either:
    """The first shape or the second; the problem is that with the first."""

    one: Shape
    other: Shape

    def problem(self, value: Any, where: str) -> str | None:
        return self.one.problem(value, where) if self.other.problem(value, where) is not None else None


@dataclass(frozen=True)
class List:
    """A list of one shape; ``count`` is how many where that is fixed, else there are ``least`` or more."""

    of: Shape
    count: int | None = None
    least: int = 0

    def problem(self, value: Any, where: str) -> str | None:
        if not isinstance(value, list):
            return f"{where} is {shown(value)}, not a list"
        if self.count is not None and len(value) != self.count:
            return f"{where} has {len(value)} entries, not {self.count}"
        if len(value) < self.least:
            return f"{where} has {len(value)} entries, not {self.least} or more"
        found = (self.of.problem(entry, f"{where}[{i}]") for i, entry in enumerate(value))
        return next((problem for problem in found if problem), None)


@dataclass(frozen=True)
class Named:
    """A mapping from any name, or from some of ``names``, to values of one shape."""

    of: Shape
    names: tuple[str, ...] = ()

    def problem(self, value: Any, where: str) -> str | None:
        if not isinstance(value, Mapping):
            return f"{where} is {shown(value)}, not a mapping"
        for name, entry in value.items():
            if self.names and name not in self.names:
                return f"{where} has {shown(name)}, which is not one of {', '.join(self.names)}"
            if problem := self.of.problem(entry, f"{where}[{shown(name)}]"):
                return problem
        return None


@dataclass(frozen=True)
class Record:
    """A mapping with these keys and perhaps further ones; ``rule`` says what is wrong between them, by key."""

    required: Mapping[str, Shape] = field(default_factory=dict)
    optional: Mapping[str, Shape] = field(default_factory=dict)
    rule: Rule = lambda value: None

    def problem(self, value: Any, where: str) -> str | None:
        if not isinstance(value, Mapping):
            return f"{where or 'it'} is {shown(value)}, not a mapping"
        inner = f"{where}." if where else ""
        for key, shape in self.required.items():
            if key not in value:
                return f"{inner}{key} is missing"
            if problem := shape.problem(value[key], inner + key):
                return problem
        for key, shape in self.optional.items():
            if value.get(key) is not None and (problem := shape.problem(value[key], inner + key)):
                return problem
        problem = self.rule(value)
        return inner + problem if problem else None

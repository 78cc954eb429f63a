"""Configurations as frozen dataclasses whose fields say their type, unit, range, default and meaning, once.

Hardware families and design spaces are read from files by :func:`read_mapping`, which names every wrong key; the
options of jobs (``netsmith.jobs.config``) come from the command line and from Python. :func:`describe` describes either
as data, from which pages of the documentation and the command line are made.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Any

from netsmith.errors import InputError, did_you_mean, shown

_META = "netsmith.parameter"
Name = Callable[[str], str]  #: how a message calls a field
_MOST, _MOST_WHOLE = 1e50, 2**48  #: products of a few such numbers are still finite
_MOST_ITEMS = 1000  #: of a list or a table
_WORDS = {float: "number", int: "whole number", bool: "true or false", str: "text"}
_SEVERAL = {tuple[int, ...]: int, tuple[float, ...]: float, tuple[str, ...]: str}
_WORDS_SEVERAL = {
    Mapping: "table of numbers", tuple[int, ...]: "list of different whole numbers",
    tuple[float, ...]: "list of numbers", tuple[str, ...]: "list of texts",
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """Allowed values of a field, or of each value of a table."""

    low: float | None = None
    above: float | None = None  #: excluded lower end
    high: float | None = None
    choices: tuple[str, ...] = ()

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, as the end of a sentence, or None."""
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}{did_you_mean(str(value), list(self.choices))}"
        if isinstance(value, str) and not is_text(value):
            return "must be text in UTF-8"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        most = max(_MOST_WHOLE, int(self.high or 0))
        if isinstance(value, int) and abs(value) > most:
            return f"must be at most {most}"
        if not math.isfinite(value):
            return "must be finite"
        if value and not 1 / _MOST <= abs(value) <= _MOST:
            return f"must be 0 or between {1 / _MOST:g} and {_MOST:g}"
        if self.above is not None and not value > self.above:
            return f"must be above {self.above:g}"
        if self.low is not None and value < self.low:
            return f"must be at least {self.low:g}"
        if self.high is not None and value > self.high:
            return f"must be at most {self.high:g}"
        return None

    def __str__(self) -> str:
        parts = [", ".join(self.choices)] if self.choices else []
        parts += [f"> {self.above:g}"] if self.above is not None else []
        parts += [f">= {self.low:g}"] if self.low is not None else []
        parts += [f"<= {self.high:g}"] if self.high is not None else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Meaning:
    """What a field says of itself.

    Attributes:
        doc: what it means, a few words.
        unit: of its value, "" for pure numbers and texts.
        limits: allowed values.
        flag: of the command line, if it is not the field's name: ``--input``; "" where the field's name is.
        metavar: how the help writes a value.
        panel: heading of the help that the option stands under.
        read: from a text of the command line to the value; raises :class:`InputError`.
        repeats: whether a list may have a value twice.
    """

    doc: str = ""
    unit: str = ""
    limits: Limits = Limits()
    flag: str = ""
    metavar: str = ""
    panel: str = ""
    read: Callable[[str], Any] | None = None
    repeats: bool = False


@dataclass(frozen=True)
class Parameter:
    """One key of a configuration.

    Attributes:
        name: key in the file.
        type: "number", "whole number", "true or false", "text", "table of numbers", "list of different whole
            numbers", "list of numbers" or "list of texts".
        unit: unit of the value, "" for pure numbers and texts.
        default: as written in a file; None where the key must be given.
        doc: what it means.
        limits: allowed values in words.
    """

    name: str
    type: str
    unit: str
    default: str | None
    doc: str
    limits: str


def parameter(
    doc: str,
    unit: str = "",
    *,
    default: Any = dataclasses.MISSING,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    **option: Any,
) -> Any:
    """A dataclass field that carries its meaning, unit and range; tables (mappings) default to empty ones.

    Args:
        option: ``flag``, ``metavar``, ``panel``, ``read`` and ``repeats`` of :class:`Meaning`.
    """
    meta = {_META: Meaning(doc, unit, Limits(low, above, high, choices), **option)}
    if isinstance(default, Mapping):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=meta)
    return dataclasses.field(default=default, metadata=meta)


def _key(name: str) -> str:
    return f"the key {name!r}"


def _flagged(f: dataclasses.Field[Any], name: Name) -> Name:
    """``name``, for a field that the command line calls by a name of its own."""
    flag = meaning(f).flag
    return name if not flag else lambda part: part.replace(f.name, flag, 1)


def meaning(f: dataclasses.Field[Any]) -> Meaning:
    """What a field of a configuration says of itself."""
    found: Meaning = f.metadata.get(_META, Meaning())
    return found


def describe(config: type) -> tuple[Parameter, ...]:
    """Every key of a configuration class, in order.

    Fields made by :func:`parameter` describe themselves; of others, the class's ``Attributes`` text is taken.
    """
    hints, texts = typing.get_type_hints(config), _attribute_texts(config)
    rows = []
    for f in dataclasses.fields(config):
        m = meaning(f)
        kind = kind_of(hints[f.name])[0]
        doc = m.doc or texts.get(f.name, "")
        limits = str(limits_of(f, hints[f.name]))
        rows.append(Parameter(f.name, in_words(kind), m.unit, _default(f), doc, limits))
    return tuple(rows)


def validate(config: Any, name: Name = _key) -> None:
    """Check types and ranges of a configuration made in Python; for its ``__post_init__``.

    Args:
        name: how a message calls a field.

    Raises:
        InputError: the first field that is wrong.
    """
    hints = typing.get_type_hints(type(config))
    for f in dataclasses.fields(config):
        value = _checked(f, hints[f.name], getattr(config, f.name), "", _flagged(f, name))
        object.__setattr__(config, f.name, value)


def read_mapping(config: type, values: Mapping[str, Any], source: str, page: str = "docs/hardware.md") -> Any:
    """Build a configuration from the keys of a file.

    Args:
        config: frozen dataclass.
        values: keys and values, as TOML gives them.
        source: file or target name for messages.
        page: of the documentation, that describes the keys.

    Raises:
        InputError: an unknown key, a missing one, a wrong type or a value out of range; names ``source`` and the key.
    """
    fields = {f.name: f for f in dataclasses.fields(config)}
    for key in values:
        if key not in fields:
            raise InputError(
                f"{source}: unknown key {shown(key)}{did_you_mean(key, list(fields))}; known keys: {', '.join(fields)}"
            )
    hints = typing.get_type_hints(config)
    for name, f in fields.items():
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            unit = meaning(f).unit
            what = in_words(kind_of(hints[name])[0]) + (f", in {unit}" if unit else "")
            raise InputError(f"{source}: the key {name!r} is missing; it is a {what} (see {page})")
    checked = {key: _checked(fields[key], hints[key], value, f"{source}: ") for key, value in values.items()}
    try:
        return config(**checked)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as JSON values, for ``Target.settings``."""
    values = dataclasses.asdict(config)
    return {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}


def _checked(f: dataclasses.Field[Any], hint: Any, value: Any, where: str, name: Name = _key) -> Any:
    """The value in the type of its field."""
    kind, optional = kind_of(hint)
    value = _plain(value)
    if value is None and optional:
        return None
    limits, words = limits_of(f, hint), name(f.name)
    if kind is None:  # a type that no file can hold; the class itself must check it, but for names of what there is
        return _scalar(words, str, value, limits, where) if isinstance(value, str) and limits.choices else value
    if kind is Mapping:
        if not isinstance(value, Mapping):
            raise InputError(f"{where}{words} must be a table of numbers, not {shown(value)}")
        if len(value) > _MOST_ITEMS:
            raise InputError(f"{where}{words} has {len(value)} entries; at most {_MOST_ITEMS} are read")
        items = {f"{f.name}.{k}": (k, v) for k, v in value.items()}
        return {k: _scalar(name(key), float, v, limits, where) for key, (k, v) in items.items()}
    if kind in _SEVERAL:
        several = value if isinstance(value, list | tuple) and len(value) <= _MOST_ITEMS else ()
        repeated = not meaning(f).repeats and len({shown(v, 1000) for v in several}) < len(several)
        if (not several and (kind != tuple[str, ...] or not isinstance(value, list | tuple) or value)) or repeated:
            raise InputError(f"{where}{words} must be a {in_words(kind, meaning(f).repeats)}, not {shown(value)}")
        return tuple(_scalar(name(f"{f.name}[{i}]"), _SEVERAL[kind], v, limits, where) for i, v in enumerate(several))
    return _scalar(words, kind, value, limits, where)


def _scalar(name: str, kind: type, value: Any, limits: Limits, where: str) -> Any:
    value = _plain(value)
    if kind is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value, fits = float(value) if abs(value) <= 10**300 else math.inf, True
    if not fits:
        article = "" if kind is bool else "a "
        raise InputError(f"{where}{name} must be {article}{in_words(kind)}, not {shown(value)}")
    problem = limits.problem(value)
    if problem is not None:
        raise InputError(f"{where}{name} {problem}, not {shown(value)}")
    return value


def is_text(value: str) -> bool:
    """Whether a file can hold it; arguments of a command line that are no UTF-8 come as texts that none can."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any) -> Any:
    """Numbers of NumPy, and short arrays of them, as Python has them."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist") and value.size <= _MOST_ITEMS:
        return value.tolist()
    return value


def limits_of(f: dataclasses.Field[Any], hint: Any) -> Limits:
    """The allowed values of a field; those of a ``Literal`` are its choices."""
    limits = meaning(f).limits
    if typing.get_origin(hint) is typing.Literal:
        return dataclasses.replace(limits, choices=typing.get_args(hint))
    return limits


def kind_of(hint: Any) -> tuple[Any, bool]:
    """The type that a file must hold for a hint, None where it cannot be checked, and whether it may be left open."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        arguments = [a for a in typing.get_args(hint) if a is not NoneType]
        return (kind_of(arguments[0])[0] if len(arguments) == 1 else None), NoneType in typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return str, False
    if hint in _SEVERAL:
        return hint, False
    origin = typing.get_origin(hint) or hint
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return Mapping, False
    return (hint if hint in _WORDS else None), False


def in_words(kind: Any, repeats: bool = False) -> str:
    """A type as messages and pages call it; ``repeats`` where a list may have a value twice."""
    words = _WORDS_SEVERAL.get(kind) or _WORDS.get(kind, "value")
    return words.replace("different ", "") if repeats else words


def _default(f: dataclasses.Field[Any]) -> str | None:
    if f.default_factory is not dataclasses.MISSING:
        return "{}"
    if f.default is dataclasses.MISSING:
        return None
    if f.default is None:
        return "not given"
    if isinstance(f.default, tuple):
        return str(list(f.default))
    if isinstance(f.default, bool):
        return str(f.default).lower()
    return f'"{f.default}"' if isinstance(f.default, str) else repr(f.default)


def _attribute_texts(config: type) -> dict[str, str]:
    """``name: text`` entries of the ``Attributes`` section of a class's docstring."""
    _, _, section = cleandoc(config.__doc__ or "").partition("Attributes:")
    texts: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        entry = re.match(r" {4}(\w+(?:, \w+)*): (.*)", line)
        if entry:
            name = entry[1]
            texts[name] = entry[2].strip()
        elif line.strip() and name:
            texts[name] += " " + line.strip()
    plain = {names: text.replace("``", "`").rstrip(".") for names, text in texts.items()}
    return {n: text for names, text in plain.items() for n in names.split(", ")}

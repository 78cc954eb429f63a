"""Data that a user has in memory: loaders, data sets of torch and Hugging Face, arrays, lists, dicts of these."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from netsmith.data.forms import FORMS, is_pair, is_rows, of_hugging_face, raised
from netsmith.data.loaders import Reader, Report
from netsmith.data.naming import describe
from netsmith.data.room import Room
from netsmith.data.sources import SPLIT_WORDS, Raw, same_names, split_of, to_raw
from netsmith.errors import InputError


@dataclass(frozen=True)
class Found:
    """What was read of data in memory.

    Attributes:
        raw: its parts.
        repeatable: whether another process that is given the same finds the same rows in the same order.
    """

    raw: Raw
    repeatable: bool


def read_memory(data: Any, label_column: str | None = None, report: Report | None = None) -> Found:
    """Read everything once.

    Args:
        data: one of :data:`FORMS`.
        label_column: of labels in tables and in rows that are dicts.
        report: told how many rows are read.

    Raises:
        InputError: it is nothing that can be read, a row cannot, or it would take more than half of the free memory.
    """
    name = describe(data)
    called = _called(data)
    parts = _parts(called) if isinstance(called, Mapping) else {"all": called}
    room, columns, notes = Room(f"data set {name!r}"), {}, _twice(parts)
    declared: tuple[str, ...] | None = None
    theirs = called.values() if isinstance(called, Mapping) else [called]
    # what a function returns may be another thing at its next call
    repeatable = called is data and all(any(part is one for one in theirs) for part in parts.values())
    for key, part in parts.items():
        reader = Reader(
            key if isinstance(called, Mapping) else "", name, room, label_column, report or (lambda *_: None)
        )
        columns[key], names = reader.read(part)
        declared = same_names(declared, names, f"the {key} part of {name!r}")
        repeatable = repeatable and reader.repeatable
        notes += reader.notes
    floats = {key: isinstance(column.rows, torch.Tensor) for key, column in columns.items()}
    if len(set(floats.values())) > 1:
        given, other = (next(key for key, f in floats.items() if f is floating) for floating in (True, False))
        raise InputError(f"the {given} part of {name!r} has floats and {other} pixels of 8 bits; give all parts alike")
    raw = to_raw(columns, declared, repr(name))
    return Found(Raw(raw.splits, raw.classes, raw.declared, tuple(dict.fromkeys(notes))), repeatable)


def _called(data: Any) -> Any:
    """What a function without arguments returns; anything else is what it is."""
    if isinstance(data, (type, torch.nn.Module)) or not callable(data) or is_rows(data):
        return data
    try:
        found = data()
    except TypeError as error:
        raise InputError(f"{describe(data)} cannot be called for data ({raised(error)}); {FORMS}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{describe(data)}, called for data, raised {raised(error)}; repair it") from error
    if callable(found) and not is_rows(found):
        raise InputError(f"{describe(data)} returned a {type(found).__name__}, no data; {FORMS}")
    return found


def _parts(given: Mapping[Any, Any]) -> dict[str, Any]:
    """The parts of a dict by their usual names, each of them called if it is a function."""
    parts: dict[str, Any] = {}
    theirs = of_hugging_face(given)  # whose dicts have parts of other names too, as the hub has
    for key, part in given.items():
        word = "search" if str(key).lower() == "search" else SPLIT_WORDS.get(str(key).lower())
        word = word or (split_of(Path(str(key))) or str(key) if theirs else None)
        if word is None:
            raise InputError(
                f"{str(key)[:40]!r} is no part of a data set; name the parts train, search (or validation) and test"
            )
        if word in parts:
            raise InputError(f"{', '.join(str(k)[:40] for k in given)} name the {word} part twice; give it once")
        parts[word] = _called(part)
    if not parts:
        raise InputError("the dict of parts is empty; give train, search (or validation) and test")
    if "search" in parts and "validation" in parts:
        raise InputError("search and validation are both given and mean the same: what is decided on; give one of them")
    if "search" in parts and not ("train" in parts and "test" not in parts):
        parts = {"validation" if key == "search" else key: part for key, part in parts.items()}
    return parts


def _twice(parts: Mapping[str, Any]) -> list[str]:
    """A sentence for parts that are one and the same object."""
    things = {key: _core(part) for key, part in parts.items()}
    for (one, a), (other, b) in itertools.combinations(things.items(), 2):
        if a is b:
            return [f"{one} and {other} are the same data: what is found on {other} says nothing about new inputs"]
    return []


def _core(part: Any) -> Any:
    """What a loader reads from."""
    if isinstance(part, DataLoader):
        part = part.dataset
    if isinstance(part, TensorDataset):
        part = part.tensors
    return part[0] if is_pair(part) else part

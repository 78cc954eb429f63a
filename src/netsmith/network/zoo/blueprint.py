"""Blueprints: what a search over a family of networks finds, as plain data that rebuilds it (``network.json``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.files import read_json
from netsmith.network.zoo.blocks import Description

if TYPE_CHECKING:
    from torch import nn

_MOST_FILE = 4_000_000
_WRITTEN = "write it by netsmith specialize"


class Blueprint(Protocol):
    """A network as plain data."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` that it was made for."""
        ...

    @property
    def classes(self) -> int:
        """How many logits it has."""
        ...

    @property
    def key(self) -> str:
        """A short text that tells it from other networks of its family."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON values; those of another family than blocks name it as ``family``."""
        ...

    def to_json(self) -> str:
        """The same as text, which :func:`read_blueprint` reads from a file."""
        ...

    def build(self) -> nn.Module:
        """The network, with fresh weights."""
        ...


_READERS: dict[str, Callable[[Mapping[str, Any], str], Blueprint]] = {"blocks": Description.from_dict}


def register_blueprint(family: str, read: Callable[[Mapping[str, Any], str], Blueprint]) -> None:
    """Let ``read(record, where)`` read the records that name ``family``; it gets them without that key."""
    _READERS[family] = read


def blueprint_of(record: Mapping[str, Any], where: str = "the description") -> Blueprint:
    """The blueprint that a record holds.

    Args:
        where: what an error calls it.

    Raises:
        InputError: it holds none, or one of a family that is not known.
    """
    family = record.get("family", "blocks")
    if family not in _READERS:
        raise InputError(f"{where} is of an unknown family {shown(family)}{did_you_mean(str(family), list(_READERS))}")
    return _READERS[family]({k: v for k, v in record.items() if k != "family"}, where)


def read_blueprint(path: str | Path) -> Blueprint:
    """The blueprint in a JSON file.

    Raises:
        InputError: absent, damaged, or something else.
    """
    record = read_json(Path(path), _WRITTEN, limit=_MOST_FILE)
    if not isinstance(record, dict):
        raise InputError(f"{path} describes no network; {_WRITTEN}")
    return blueprint_of(record, str(path))

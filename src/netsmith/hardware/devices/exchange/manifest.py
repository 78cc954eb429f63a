"""What a folder of layers for another device says that it has: ``manifest.json``, which ``write_layers`` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netsmith.errors import InputError, shown
from netsmith.files import read_json
from netsmith.hardware.devices.readers import EXCHANGE
from netsmith.hardware.table.file import is_key
from netsmith.hardware.table.keys import Key
from netsmith.hardware.table.numbers import whole

_REMEDY = "name the folder that targets measure --write (write_layers) made"
_AGAIN = "write the layers again"


@dataclass(frozen=True)
class Layer:
    """A file with copies of a layer, the file without them, and whether its time is wanted for itself."""

    file: str
    without: str
    copies: int
    key: Key
    wanted: bool


@dataclass(frozen=True)
class Network:
    """A file with a whole network of the layers ``keys``."""

    file: str
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Manifest:
    """The files of a folder; ``control`` is timed several times, to see whether the device is steady."""

    control: Layer
    layers: tuple[Layer, ...]
    networks: tuple[Network, ...]
    channel_multiple: int


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        InputError: there is none, or ``write_layers`` did not write it so.
    """
    path = folder / "manifest.json"
    found = read_json(path, _REMEDY)
    if not isinstance(found, dict) or found.get("format") != EXCHANGE:
        raise InputError(f"{path} is not a list of layers of format {EXCHANGE}; {_AGAIN}")
    try:
        return Manifest(
            _layer(found.get("control")), tuple(map(_layer, _several(found, "layers"))),
            tuple(map(_network, _several(found, "networks"))),
            whole(found.get("channel_multiple", 1), "channel_multiple"),
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}; {_AGAIN}") from error


def _several(record: dict[str, Any], key: str) -> list[Any]:
    found = record.get(key)
    if not isinstance(found, list):
        raise InputError(f"{key} is {shown(found)}, not a list")
    return found


def _layer(record: Any) -> Layer:
    if not isinstance(record, dict) or not all(isinstance(record.get(k), str) for k in ("file", "without")):
        raise InputError(f"layer {shown(record)} has no files or no key")
    if not is_key(record.get("key")):
        raise InputError(f"layer {shown(record['file'])} has no files or no key")
    copies = whole(record.get("copies"), f"copies of {shown(record['file'])}")
    return Layer(record["file"], record["without"], copies, Key(*record["key"]), bool(record.get("wanted", True)))


def _network(record: Any) -> Network:
    keys = record.get("keys") if isinstance(record, dict) else None
    if not isinstance(keys, list) or not isinstance(record.get("file"), str) or not all(map(is_key, keys)):
        raise InputError(f"network {shown(record)} has no file or no keys")
    return Network(record["file"], tuple(Key(*key) for key in keys))

"""Files that are either the old one or the complete new one, and JSON that names its file when it is broken."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from netsmith.errors import InputError, did_you_mean


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file through a temporary one beside it, synchronised to disk before it takes the name.

    Raises:
        InputError: the disk is full or the folder cannot be written; an old file of that name is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(
            f"{path} could not be written ({error.strerror or error}); free some space or choose another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # also after Ctrl-C; gone already if the write went well
            temporary.unlink(missing_ok=True)


def to_json(value: Any, *, sort: bool = False) -> str:
    """JSON text; NumPy arrays and scalars become lists and numbers, paths text.

    Args:
        sort: by key, so that equal mappings are equal text.

    Raises:
        TypeError: something that JSON cannot hold.
    """
    return json.dumps(value, default=_default, sort_keys=sort, indent=1, ensure_ascii=False)


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file.

    Args:
        remedy: what the user should do if it cannot be read, the end of the sentence.

    Raises:
        InputError: absent, unreadable or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; {remedy}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); {remedy}") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged, it holds no JSON; {remedy}") from error


def read_toml(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        what: the file is, in words, for messages.
        remedy: what the user should do if there is none, the end of the sentence.

    Raises:
        InputError: absent (files beside it with a name like its are proposed), unreadable or no TOML.
    """
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else [])
        raise InputError(f"there is no {what} {path}{near}; {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what} {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{what} {path} is no valid TOML: {error}") from error


def _default(value: Any) -> Any:
    if hasattr(value, "tolist"):  # NumPy, without importing it
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; file systems that cannot say so to a folder keep what they promise anyway."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

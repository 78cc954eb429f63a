"""Files that are either the old one or the complete new one, and JSON text to write into them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from netsmith.errors import InputError, shown

_LONGEST_NAME, _LONGEST_PATH = 255, 4095  #: bytes, as Linux has it
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.\d+\.tmp")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the name ``path`` once it is whole and on disk; after an error nothing has changed.

    Raises:
        InputError: the disk is full, the folder cannot be written, or the name is that of a link or a device.
    """
    temporary: Path | None = None
    try:
        _check_plain(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = open_temporary(path)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(
            f"{path} could not be written ({error.strerror or error}); free some space or choose another place"
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):  # also after Ctrl-C; gone already if the write went well
                temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file through a temporary one beside it, synchronised to disk before it takes the name.

    Raises:
        InputError: as :func:`replacing`; an old file of that name is untouched.
    """
    with replacing(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def written_for(path: Path) -> str | None:
    """The name that a temporary file of :func:`replacing` was to take, as a killed process leaves one; else None."""
    found = _TEMPORARY.fullmatch(path.name)
    return found["name"] if found else None


def check_place(
    path: Path, option: str = "--out", *, own: Callable[[Path], bool] | None = None, what: str = "",
    inputs: Mapping[str, Path] | None = None,
) -> None:  # fmt: skip
    """Find before any work that a file could not be written at its end, or would replace what must stay.

    Args:
        option: that named the file, for messages.
        own: whether the file that is there may be replaced; none may without it.
        what: those are, in words.
        inputs: option -> file that the work reads.

    Raises:
        InputError: names the file and the remedy.
    """
    for name, given in (inputs or {}).items():
        if same_file(path, given):
            raise InputError(
                f"{option} {path} is the file of {name} as well; choose another --out, as this file is read"
            )
    made: list[Path] = []
    try:
        _check_plain(path)
        for folder in reversed([p for p in path.parents if not p.exists()]):
            folder.mkdir()
            made.append(folder)
        temporary, handle = open_temporary(path)
        os.close(handle)
        temporary.unlink()
    except OSError as error:
        raise InputError(
            f"{option} {path} cannot be written ({error.strerror or error}); choose another place"
        ) from error
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()
    if path.exists() and not (own is not None and own(path)):
        kind = f" and is not {what}" if what else ""
        raise InputError(f"{option} {path} exists{kind}; choose another name, or remove it if it is not needed")


def to_path(given: Any, option: str = "--out") -> Path:
    """The path of a file or folder that a caller names; ``~`` is their home, as in a shell.

    Raises:
        InputError: it is no path, an empty one, or one that no file can have.
    """
    try:
        text = os.fspath(given)
        if isinstance(text, bytes):
            raise TypeError
    except TypeError as error:
        raise InputError(f"{option} must be a path, as text or pathlib.Path, not {shown(given)}") from error
    if not text.strip() or "\0" in text:
        raise InputError(f"{option} is {shown(text)}, which is no path; give one")
    path = Path(text)
    try:
        path = path.expanduser()
    except RuntimeError as error:
        raise InputError(f"{option} {text}: nobody has the home {path.parts[0]}; write the whole path") from error
    check_name(path, option)
    if len(text) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_NAME for part in path.parts):
        raise InputError(f"{option} {shown(text)} is longer than a name may be; choose a shorter one")
    return path


def check_name(path: Path, option: str = "") -> None:
    """Refuse a name that no record of a run could hold.

    Raises:
        InputError: it is not UTF-8, as file systems allow.
    """
    readable = str(path).encode(errors="replace").decode()
    if readable != str(path):
        raise InputError(f"{option} {readable} is a name that is not in UTF-8; choose another".lstrip())


def same_file(one: Path, other: Path) -> bool:
    """Whether two names are of one file, which need not exist."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes; a gigabyte takes one to two seconds.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def to_json(value: Any, *, sort: bool = False) -> str:
    """JSON text; NumPy arrays and scalars become lists and numbers, paths text.

    Args:
        sort: by key, so that equal mappings are equal text.

    Raises:
        TypeError: something that JSON cannot hold.
    """
    return json.dumps(value, default=_default, sort_keys=sort, indent=1, ensure_ascii=False)


def _default(value: Any) -> Any:
    if hasattr(value, "tolist"):  # NumPy, without importing it
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _check_plain(path: Path) -> None:
    """Refuse to replace anything but a file: a link, what it points to and a device were made by somebody else."""
    check_name(path)
    if path.is_symlink():
        raise InputError(f"{path} is a symbolic link, which is not written through or replaced; name the file itself")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no plain file; choose another name")


def open_temporary(path: Path) -> tuple[Path, int]:
    """A new file beside ``path``, open for writing; never one that is there already, nor what a link points to."""
    temporary = path.with_name(f".{path.name}.{int.from_bytes(os.urandom(5))}.tmp")
    return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; file systems that cannot say so to a folder keep what they promise anyway."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

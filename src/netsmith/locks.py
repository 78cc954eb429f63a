"""One process at a time: locks on files, which the system lets go of when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from netsmith.errors import InputError


def acquire(path: Path, place: Path) -> int:
    """Lock the file ``path``, which is made if it is not there, for this process.

    Args:
        place: what is locked by it, for messages.

    Returns:
        A handle for :func:`release`.

    Raises:
        InputError: another process has it, the file cannot be made, or it is a link or holds anything but a lock.
    """
    import fcntl

    while True:
        handle = _open(path, place)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(handle, 32, 0).decode(errors="replace").strip()
            os.close(handle)
            who = f" (process {owner})" if owner.isdigit() else ""
            raise InputError(
                f"{place} is in use by another netsmith{who}; wait for it or choose another --out"
            ) from error
        except OSError:
            return handle  # a file system without locks: better unlocked than unusable
        if not _is_still(path, handle):  # its owner removed it between our opening and locking it
            os.close(handle)
            continue
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return handle


def release(handle: int, remove: Path | None = None) -> None:
    """Let go of a lock; with ``remove``, its file goes too."""
    if remove is not None and _is_still(remove, handle):
        with contextlib.suppress(OSError):
            remove.unlink()
    with contextlib.suppress(OSError):
        os.close(handle)


def _open(path: Path, place: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(path, flags, 0o644)
    except OSError as error:
        if path.is_symlink():
            raise InputError(f"{path} is a symbolic link, which is not written through; remove it") from error
        raise InputError(f"{place} cannot be written ({error.strerror}); choose another --out") from error
    found = os.fstat(handle)
    content = os.pread(handle, 64, 0) if stat.S_ISREG(found.st_mode) else b"?"
    if found.st_nlink > 1 or not (content.strip().isdigit() or not content):
        os.close(handle)
        raise InputError(f"{path} is no lock of netsmith and is not overwritten; remove it or choose another --out")
    return handle


def _is_still(path: Path, handle: int) -> bool:
    """Whether the file of that name is the one that is open."""
    try:
        there = os.lstat(path)
    except OSError:
        return False
    mine = os.fstat(handle)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

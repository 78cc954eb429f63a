"""What a C library prints while it works, kept from whoever reads standard output or standard error."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_LOCK = Lock()
_inside = 0  #: calls that go on
_real: int | None = None  #: C's own standard output meanwhile
_nowhere: int | None = None  #: a C stream to nowhere; opened once and never closed, as another thread may hold it


@contextmanager
def quiet_library() -> Iterator[None]:
    """Send to nowhere what C code prints: HiGHS writes some lines whatever it is asked.

    C's ``stdout`` is pointed elsewhere, and not the file descriptor, so what Python prints in other threads arrives.
    Where C has no variable of that name, as on macOS, nothing is changed.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _stream() -> ctypes.c_void_p | None:
    try:
        return ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stdout")
    except (OSError, TypeError, ValueError):
        return None


def _enter() -> None:
    global _inside, _real, _nowhere
    with _LOCK:
        _inside += 1
        stream = _stream() if _inside == 1 else None
        if stream is None:
            return
        if _nowhere is None:
            fopen = ctypes.CDLL(None).fopen
            fopen.restype, fopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
            _nowhere = fopen(os.fsencode(os.devnull), b"w")
        if _nowhere is not None:
            _real, stream.value = stream.value, _nowhere


def _leave() -> None:
    global _inside, _real
    with _LOCK:
        _inside -= 1
        if _inside == 0 and _real is not None:
            stream = _stream()
            if stream is not None:
                stream.value, _real = _real, None

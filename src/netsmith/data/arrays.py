"""Arrays in .npy files, which may hold anything."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np


def read_array(source: bytes | Path) -> np.ndarray:
    """The array in a .npy file or in its content; of a file it is read when it is used.

    Raises:
        ValueError: it is no such file, or not a whole one, or holds objects.
    """
    try:
        if isinstance(source, bytes):
            return np.asarray(np.lib.format.read_array(io.BytesIO(source), allow_pickle=False))
        return np.lib.format.open_memmap(source, mode="r")
    except Exception as error:  # its header is parsed as Python is, with as many kinds of errors
        raise ValueError("it is no whole array of numbers") from error

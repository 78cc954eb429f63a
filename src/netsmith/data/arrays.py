"""Arrays in .npy and .npz files, which may hold anything."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from netsmith.files import check_regular


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


_MOST = 2**32  #: bytes of all arrays of a file together, which is small where much of it is alike


def read_arrays(source: Path) -> dict[str, np.ndarray]:
    """The arrays in a .npz file by their names.

    Raises:
        InputError: it is no plain file, or a larger one than 4 GiB.
        ValueError: it is no such file, or not a whole one, or holds objects, or more than 4 GiB.
    """
    check_regular(source, remedy="save the arrays with numpy.savez", limit=_MOST)
    try:
        with zipfile.ZipFile(source) as archive:
            if sum(item.file_size for item in archive.infolist()) > _MOST:
                raise ValueError("its arrays take more than 4 GiB")
            return {name.removesuffix(".npy"): read_array(archive.read(name)) for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError("it holds no whole arrays of numbers") from error

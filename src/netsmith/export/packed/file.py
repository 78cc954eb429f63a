"""Packed files, ``.nsw`` (netsmith weights): what a network's weights take on disk at their bit-widths.

A file is the magic number, a version byte (2 where it has sparse tensors, else 1), a length as a varint with so many
bytes that readers skip (none are written), the records of the tensors (:mod:`netsmith.export.packed.records`), and a
CRC-32 of all that, little endian.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

from netsmith.errors import InputError
from netsmith.export.packed.huffman import decode
from netsmith.export.packed.records import Cursor, Parsed, read_record, write_record
from netsmith.export.packed.tensors import Array, SparseTensor, Tensor, decode_tensor
from netsmith.export.packed.varints import varint
from netsmith.files import write_atomic

EXTENSION = ".nsw"
MAGIC = b"\x89nsw"  # no text, so that no transfer as text goes unnoticed
DENSE, VERSION = 1, 2  #: without sparse tensors, and the newest
_CHECKSUM = 4


def file_head(version: int = DENSE) -> bytes:
    """What stands before the first tensor."""
    return MAGIC + bytes([version]) + varint(0)


def file_bytes() -> int:
    """Bytes of a file besides its tensors."""
    return len(file_head()) + _CHECKSUM


def write_packed(
    path: str | Path | None,
    tensors: Mapping[str, Tensor],
    *,
    huffman: bool = False,
) -> int:
    """Write tensors so that the file is either whole or not there.

    Args:
        path: usually ``.nsw``; None only counts.
        tensors: quantized weights, sparse ones, and arrays (floats, int32, int64, bool) to keep as they are, by name.
        huffman: code the integers of each tensor, and the positions of sparse ones, where that is smaller than
            packing them.

    Returns:
        The file's size in bytes.

    Raises:
        InputError: an array of another type, or a place that cannot be written.
    """
    version = VERSION if any(isinstance(t, SparseTensor) for t in tensors.values()) else DENSE
    parts = [file_head(version), *(write_record(n, t, huffman) for n, t in tensors.items())]
    content = b"".join(parts)
    content += zlib.crc32(content).to_bytes(_CHECKSUM, "little")
    if path is not None:
        write_atomic(Path(path), content)
    return len(content)


def read_packed(path: str | Path) -> dict[str, Tensor]:
    """The tensors that :func:`write_packed` wrote, as they are stored.

    Raises:
        InputError: no such file, another format, a newer version, cut short or damaged.
    """
    return _read(Path(path))


def decode_packed(path: str | Path) -> dict[str, Array]:
    """The state dict of a packed file: weights as float32 arrays, other tensors as they were, by name.

    Raises:
        InputError: as :func:`read_packed`.
    """
    return {name: decode_tensor(tensor) for name, tensor in read_packed(path).items()}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"there is no packed file {path}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if not content.startswith(MAGIC):
        raise InputError(f"{path} is no packed file of netsmith: give a {EXTENSION} file")
    version = content[len(MAGIC) : len(MAGIC) + 1]
    if version and version[0] > VERSION:
        raise InputError(
            f"{path} is of version {version[0]}, this netsmith reads up to {VERSION}: install a newer netsmith"
        )
    body = memoryview(content)[:-_CHECKSUM]
    if (
        version not in (bytes([DENSE]), bytes([VERSION]))
        or zlib.crc32(body).to_bytes(_CHECKSUM, "little") != content[-_CHECKSUM:]
    ):
        raise InputError(f"{path} is damaged or cut short, its checksum is wrong: write or copy it again")
    try:
        cursor = Cursor(body)
        cursor.take(len(MAGIC) + 1)
        cursor.take(cursor.varint())
        return _read_tensors(cursor)
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}; write it again") from error


def _read_tensors(cursor: Cursor) -> dict[str, Tensor]:
    """All tensors in their order; those that are Huffman coded are decoded together, which is what makes it fast."""
    parsed: dict[str, Parsed] = {}
    while cursor.at < len(cursor.content):
        name, found = read_record(cursor)
        if name in parsed:
            raise InputError(f"it holds {name!r} twice")
        parsed[name] = found
    symbols = iter(decode([coded for found in parsed.values() for coded in found.coded]))
    return {name: found.finish([next(symbols) for _ in found.coded]) for name, found in parsed.items()}

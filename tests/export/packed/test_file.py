"""Packed files: round trips, what they cost, and what becomes of damaged ones."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packed_cases import codebook, linear, sparse, tensors

from netsmith.errors import InputError
from netsmith.export.packed import (
    CodebookTensor,
    LinearTensor,
    SparseTensor,
    Tensor,
    decode_packed,
    read_packed,
)
from netsmith.export.packed.file import MAGIC, VERSION, write_packed

NAMES = st.text(max_size=200)  # any unicode, longer than one byte of length can say


def _same(a: Tensor, b: Tensor) -> None:
    assert type(a) is type(b)
    if isinstance(a, SparseTensor) and isinstance(b, SparseTensor):
        assert type(a.tensor) is type(b.tensor)
        _same(a.positions, b.positions)
        _same(a.decode(), b.decode())
    elif isinstance(a, LinearTensor) and isinstance(b, LinearTensor):
        assert a.bits == b.bits
        _same(a.integers, b.integers)
        _same(a.scale, b.scale)
    elif isinstance(a, CodebookTensor) and isinstance(b, CodebookTensor):
        assert a.bits == b.bits
        _same(a.index, b.index)
        _same(a.values, b.values)
    else:
        assert isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, tensors(), max_size=6), st.booleans())
def test_round_trip(tmp_path: Path, content: dict[str, Tensor], huffman: bool) -> None:
    path = tmp_path / "w.nsw"
    size = write_packed(path, content, huffman=huffman)
    assert size == path.stat().st_size == write_packed(None, content, huffman=huffman)
    assert size <= write_packed(None, content)
    found = read_packed(path)
    assert list(found) == list(content)
    for name in content:
        _same(found[name], content[name])
    for name, array in decode_packed(path).items():
        tensor = content[name]
        expected = tensor if isinstance(tensor, np.ndarray) else tensor.decode()
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == (np.float32 if expected.dtype == np.float16 else expected.dtype)


def _example(path: Path, huffman: bool) -> bytes:
    rng = np.random.default_rng(0)
    content: dict[str, Tensor] = {
        "conv.weight": linear(rng, (2, 2, 3, 3), 4), "fc.weight": linear(rng, (4, 60), 4),
        "book": codebook(rng, (3, 5), 2), "few": sparse(rng, (30, 30), 3, "kmeans", 90),
        "many": sparse(rng, (4, 5), 2, "linear", 10), "conv.bias": rng.normal(size=2).astype(np.float32),
        "n": np.array(3, dtype=np.int64),
    }  # fmt: skip
    write_packed(path, content, huffman=huffman)
    return path.read_bytes()


def test_huffman_saves_bytes_and_changes_nothing(tmp_path: Path) -> None:
    plain, coded = tmp_path / "plain.nsw", tmp_path / "coded.nsw"
    assert len(_example(coded, True)) < len(_example(plain, False))
    found = read_packed(coded)
    for name, tensor in read_packed(plain).items():
        _same(found[name], tensor)


@pytest.mark.parametrize("huffman", [False, True])
def test_every_changed_byte_is_noticed(tmp_path: Path, huffman: bool) -> None:
    path = tmp_path / "w.nsw"
    content = _example(path, huffman)
    for i in range(len(content)):
        path.write_bytes(content[:i] + bytes([content[i] ^ (1 << i % 8)]) + content[i + 1 :])
        with pytest.raises(InputError, match=r"w\.nsw"):
            read_packed(path)


@pytest.mark.parametrize("huffman", [False, True])
def test_damage_under_a_right_checksum_is_an_input_error_or_another_file(tmp_path: Path, huffman: bool) -> None:
    path = tmp_path / "w.nsw"
    body = _example(path, huffman)[:-4]
    refused = 0
    for i in range(len(MAGIC) + 1, len(body)):
        for value in (0, 255):
            changed = body[:i] + bytes([value]) + body[i + 1 :]
            path.write_bytes(changed + zlib.crc32(changed).to_bytes(4, "little"))
            try:
                decode_packed(path)  # a changed weight is a valid file; anything else must be refused in words
            except InputError as error:
                assert "w.nsw" in str(error)
                refused += 1
    assert refused > 50


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "w.nsw"
    content = _example(path, False)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"w\.nsw"):
            read_packed(path)


def test_foreign_newer_and_absent_files_say_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "w.nsw"
    with pytest.raises(InputError, match=r"there is no packed file .*w\.nsw"):
        read_packed(path)
    with pytest.raises(InputError, match="cannot read"):
        read_packed(tmp_path)
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(InputError, match=r"w\.nsw is no packed file"):
        read_packed(path)
    path.write_bytes(MAGIC + bytes([VERSION + 1]) + b"whatever the future brings")
    with pytest.raises(InputError, match="install a newer netsmith"):
        read_packed(path)


def test_bytes_that_are_kept_free_are_skipped(tmp_path: Path) -> None:
    content = _example(tmp_path / "w.nsw", False)
    body = content[:5] + bytes([3]) + b"any" + content[6:-4]
    (tmp_path / "later.nsw").write_bytes(body + zlib.crc32(body).to_bytes(4, "little"))
    expected = read_packed(tmp_path / "w.nsw")
    found = read_packed(tmp_path / "later.nsw")
    assert content[5] == 0 and list(found) == list(expected)
    for name, tensor in found.items():
        _same(tensor, expected[name])


def test_what_cannot_be_stored_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.nsw"
    with pytest.raises(InputError, match="conv1 cannot be packed, it is of type complex128"):
        write_packed(path, {"conv1": np.zeros(2, dtype=complex)})
    assert not path.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="could not be written"):
        write_packed(tmp_path / "file" / "w.nsw", {})

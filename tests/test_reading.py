"""What files can hold that no reader expects, and what messages say of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from netsmith.errors import InputError, shown
from netsmith.files import read_json, read_toml
from netsmith.hardware import get_target


@pytest.mark.parametrize("what", ["pipe", "/dev/zero", "/dev/null", "folder", "huge", "loop", "name\0", "n" * 5000])
def test_what_is_no_plain_file_is_refused_before_it_is_read(tmp_path: Path, what: str) -> None:
    path = tmp_path / (what if len(what) > 10 or "\0" in what else "file")
    if what == "pipe":
        os.mkfifo(path)
    elif what.startswith("/dev"):
        path.symlink_to(what)
    elif what == "folder":
        path.mkdir()
    elif what == "huge":
        with path.open("wb") as stream:
            stream.truncate(10**10)
    elif what == "loop":
        path.symlink_to(path)
    for read in (lambda: read_json(path, "name another"), lambda: read_toml(path, "space", "name another")):
        with pytest.raises(InputError, match="name another"):
            read()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 200_000, "nested too deeply"), ('{"a":' * 150 + "1" + "}" * 150, "nested too deeply"),
        ("9" * 5000, "thousands of digits"), ('{"a": 1, "a": 2}', "two entries 'a'"), ("a\0b", "NUL bytes"),
        ('{"a": 1', "holds no JSON"),
    ],
)  # fmt: skip
def test_json_that_nobody_can_work_with(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(InputError, match=said):
        read_json(tmp_path / "f.json", "write it anew")


@pytest.mark.parametrize(
    "text", ["a = 0x" + "f" * 5000, "a = " + "9" * 5000, "a" + ".a" * 5000 + " = 1", "a = " + "[" * 9999]
)
def test_toml_that_nobody_can_work_with(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.toml").write_text(text)
    with pytest.raises(InputError, match=r"digits|nested too deeply"):
        read_toml(tmp_path / "f.toml", "space", "write it anew")


def test_references_of_yaml_that_multiply_are_refused_at_once(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    lines = ["a0: &a0 [1, 2]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))]
    (tmp_path / "t.yaml").write_text("\n".join(lines))
    start = time.process_time()
    with pytest.raises(InputError, match="by references"):
        get_target(f"table:{tmp_path}/t.yaml,unit=ms")
    assert time.process_time() - start < 20  # rather than for ever
    (tmp_path / "t.yaml").write_text("a: &a [1, *a]")
    with pytest.raises(InputError, match="refers to itself"):
        get_target(f"table:{tmp_path}/t.yaml,unit=ms")


def test_messages_are_one_short_line() -> None:
    value = {"a\nb\x1b[31m": "x" * 10**6, "n": 16**5000}
    assert len(shown(value)) <= 60 and shown(value).isprintable()
    said = str(InputError(f"file\n\tname\u2028 {'y' * 10**6}; do this"))
    assert len(said) <= 600 and said.isprintable() and said.endswith("do this")

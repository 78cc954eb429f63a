"""A user's network may print, exit and fail: standard output stays the result's, and the code a sentence's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from netsmith.cli import main
from netsmith.errors import InputError
from netsmith.network.load import load_model
from netsmith.usercode import failure, user_code

NETWORK = """
import os, torch
from torch import nn
print("imported")

class Loud(nn.Sequential):
    def forward(self, x):
        print("forward")
        os.write(1, b"written in C\\n")
        return super().forward(x)

def make():
    print("made")
    return Loud(nn.Flatten(), nn.Linear(12, 2))

def leaves():
    raise SystemExit(0)

class Leaves(nn.Module):
    def forward(self, x):
        raise SystemExit(0)
"""


def profile(capfd: pytest.CaptureFixture[str], network: str) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["profile", network, "--target", "bismo-edge", "--input", "3,2,2", "--json"])
    return (stopped.value.code, *capfd.readouterr())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "network.py"
    path.write_text(NETWORK)
    return path


def test_standard_output_is_one_json_object_whatever_a_network_prints(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = profile(capfd, f"{file}:make")
    assert code == 0, err
    assert [layer["name"] for layer in json.loads(out)["layers"]] == ["1"]
    assert {"imported", "made", "forward", "written in C"} <= set(err.splitlines())


def test_code_that_ends_the_program_is_bad_input(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for network, says in (("leaves", "failed while it built the network"), ("Leaves", "ended the program")):
        code, out, err = profile(capfd, f"{file}:{network}")
        assert code == json.loads(out)["exit_code"] == 2
        assert says in err and "SystemExit: 0" in err


def test_output_comes_back_after_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), user_code():
        os.write(1, b"inside\n")
        raise ValueError
    os.write(1, b"outside\n")
    assert capfd.readouterr() == ("outside\n", "inside\n")


def test_an_error_without_words_is_named() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert failure(Mute()) == "Mute: no message"
    assert failure(ValueError("a\nb")) == "ValueError: a"


def test_networks_are_refused_before_their_weights_fill_the_memory(tmp_path: Path) -> None:
    file = tmp_path / "large.py"
    file.write_text("from torch import nn\ndef make():\n    return nn.Linear(10**5, 10**7)\n")
    with pytest.raises(InputError, match="needs more memory than there is"):
        load_model(f"{file}:make")

"""A job killed without a word, at whatever it was doing, comes to the same result when it is resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

WORDS = [
    "zoo:digits?channels=16&blocks=1", "--data", "digits", "--target", "roofline-edge", "--latency", "0.4x",
    "--epochs", "6", "--seed", "1", "--json",
]  # fmt: skip


def command(out: Path, *more: str) -> list[str]:
    code = "from netsmith.cli import main; main()"
    return [sys.executable, "-c", code, "compress", *WORDS, "--out", str(out), *more]


def environment() -> dict[str, str]:
    import netsmith

    return os.environ | {"PYTHONPATH": str(Path(netsmith.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def finish(out: Path, *more: str) -> dict[str, Any]:
    done = subprocess.run(command(out, *more), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def kill_when(out: Path, wanted: str, *more: str) -> None:
    """Start the job, and kill it as soon as a file like ``wanted`` is in its folder."""
    process = subprocess.Popen(command(out, *more), env=environment(), stdout=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 300
        while not list(out.glob(wanted)):
            assert process.poll() is None and time.monotonic() < limit, f"it ended before there was a {wanted}"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_killed_and_resumed_is_the_same(tmp_path: Path) -> None:
    want = finish(tmp_path / "whole")
    out = tmp_path / "killed"
    kill_when(out, "config.json")
    kill_when(out, "stages/sensitivity*", "--resume")
    kill_when(out, "checkpoints/*.safetensors", "--resume")
    got = finish(out, "--resume")
    assert got["design"] == want["design"] and got["loss"] == want["loss"]
    assert got["result"] == want["result"]  # accuracy after fine-tuning among it
    assert [h["loss"] for h in got["recovery"]] == [h["loss"] for h in want["recovery"]]
    for name in want["files"]:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name

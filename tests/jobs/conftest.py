"""What tests of several jobs start from; none of them changes it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, processor_time: None) -> None:
    """This machine is measured for as short as will do."""
    import torch

    from netsmith.hardware.measured import calibrate
    from netsmith.jobs import timing

    torch.set_num_threads(1)
    for name, value in {"SESSION_S": 0.1, "SEARCH_SESSIONS": 1, "FINAL_SESSIONS": 3}.items():
        monkeypatch.setattr(timing, name, value)
    monkeypatch.setattr(calibrate, "calibrate", partial(calibrate.calibrate, seconds=0.1, repeats=1))


@pytest.fixture(scope="session")
def digits_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of ``zoo:digits?channels=16&blocks=1`` after six epochs."""
    import torch

    from netsmith.jobs.train import train

    path = tmp_path_factory.mktemp("baseline") / "digits.safetensors"
    torch.set_num_threads(1)
    train("zoo:digits?channels=16&blocks=1", "digits", epochs=6, out=path, seed=0)
    return path

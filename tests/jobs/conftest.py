"""What tests of several jobs start from; none of them changes it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def digits_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of ``zoo:digits?channels=16&blocks=1`` after six epochs."""
    import torch

    from netsmith.jobs.train import train

    path = tmp_path_factory.mktemp("baseline") / "digits.safetensors"
    torch.set_num_threads(1)
    train("zoo:digits?channels=16&blocks=1", "digits", epochs=6, out=path, seed=0)
    return path

"""A job that is given a shuffling loader of the user's, and resumed with another pass of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from listener import Listener
from netsmith.errors import InputError
from netsmith.jobs.compress import compress
from netsmith.jobs.train import train
from netsmith.runs.folder import Run
from netsmith.runs.names import RECORDED

STRIPES = np.random.default_rng(0).integers(0, 3, 240)  #: the class is how many stripes an input has


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


def loader(seed: int) -> DataLoader[Any]:
    inputs = torch.randn(240, 1, 6, 6, generator=torch.Generator().manual_seed(0)) / 4
    for row, count in zip(inputs, STRIPES):
        row[0, : 2 * count : 2] += 1
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(TensorDataset(inputs, torch.from_numpy(STRIPES)), 32, shuffle=True, generator=generator)


def run(data: Any, out: Path, **options: Any) -> dict[str, Any]:
    result = compress(network, data, target="roofline-edge", macs="0.7x", out=out, epochs=1, methods="prune", **options)
    return dict(result.summary)


def killed_after(monkeypatch: pytest.MonkeyPatch, stage: str, data: Any, out: Path, **options: Any) -> None:
    """A run that ends without a word once a stage is done."""
    real = Run.stage

    def fragile(self: Run, name: str, compute: Any, inputs: Any = None) -> Any:
        value = real(self, name, compute, inputs)
        if name == stage:
            raise KeyboardInterrupt
        return value

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "stage", fragile)
        run(data, out, **options)


def test_a_run_resumed_works_on_the_rows_that_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, out = tmp_path / "whole", tmp_path / "killed"
    killed_after(monkeypatch, "sensitivity", loader(1), whole)
    killed_after(monkeypatch, "baseline", loader(1), out)
    config = json.loads((out / "config.json").read_text())
    assert config["options"]["data"] == "DataLoader of TensorDataset" and (out / RECORDED).exists()
    with pytest.raises(InputError, match="was started with --data DataLoader of TensorDataset"):
        run(loader(1).dataset, out, resume=True)
    killed_after(monkeypatch, "sensitivity", loader(2), out, resume=True)  # which would give other rows
    stages = [json.loads((folder / "stages" / "sensitivity.json").read_text()) for folder in (whole, out)]
    one, other = ({k: v for k, v in stage["value"].items() if "seconds" not in k} for stage in stages)
    assert one == other and one["loss"]
    (out / RECORDED).unlink()
    with pytest.raises(InputError, match="the data set DataLoader of TensorDataset changed since"):
        run(loader(2), out, resume=True)


@pytest.mark.slow
def test_a_run_resumed_ends_as_one_that_was_not_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want, out = run(loader(1), tmp_path / "whole"), tmp_path / "killed"
    killed_after(monkeypatch, "sensitivity", loader(1), out)
    got = run(loader(2), out, resume=True)
    assert want["preprocessing"]["scale"] is None and any("taken as given" in note for note in want["data_notes"])
    for key in ("design", "loss", "result", "baseline", "data_notes"):
        assert got[key] == want[key], key
    assert [h["loss"] for h in got["recovery"]] == [h["loss"] for h in want["recovery"]]
    for name in ("model.safetensors", "model.onnx"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_training_resumed_does_too(tmp_path: Path) -> None:
    def stop(text: str) -> None:
        if text.startswith("epoch 2/"):
            raise KeyboardInterrupt

    whole, out = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    train(network, loader(1), out=whole, epochs=3, batch_size=32)
    with pytest.raises(KeyboardInterrupt):
        train(network, loader(1), out=out, epochs=3, batch_size=32, progress=Listener(stop))
    assert (tmp_path / "killed.recorded.safetensors").exists()
    train(network, loader(2), out=out, epochs=3, batch_size=32)
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, whole.name]


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    seven = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
    with pytest.raises(InputError, match="has 3 classes but the network has 2 outputs"):
        compress(seven, loader(1), target="roofline-edge", macs="0.7x", out=tmp_path / "no")
    assert [p.name for p in (tmp_path / "no").iterdir()] == [".lock"]

"""AdamW beside SGD, and what is called after each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from labelled import fit
from netsmith.data import Data, load_data
from netsmith.errors import InputError
from netsmith.training import Checkpoints, Training

ADAM: dict[str, Any] = {"lr": 3e-3, "batch_size": 128, "bf16": False, "optimizer": "adamw"}


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits", train_limit=400)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def test_a_killed_training_by_adamw_goes_on_to_the_same_bits(data: Data, tmp_path: Path) -> None:
    whole, parts = network(), network()
    expected = fit(whole, data, Training(epochs=3, **ADAM))

    def kill(model: nn.Module, entry: Mapping[str, Any]) -> None:
        if entry["epoch"] == 2:
            raise Killed

    kept = Checkpoints(tmp_path / "c.safetensors", steps=2)
    with pytest.raises(Killed):
        fit(parts, data, Training(epochs=3, **ADAM), checkpoints=kept, after_epoch=kill)
    again = network()
    got = fit(again, data, Training(epochs=3, **ADAM), checkpoints=kept)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in whole.state_dict().items())
    assert got.best_score == expected.best_score
    with pytest.raises(InputError, match="optimizer adamw, not sgd"):
        fit(network(), data, Training(epochs=3, **ADAM | {"optimizer": "sgd"}), checkpoints=kept)
    with pytest.raises(InputError, match="optimizer 'adam' is unknown"):
        Training(epochs=1, optimizer="adam")


def test_what_is_called_after_each_epoch_sees_it_and_may_end_the_training(data: Data) -> None:
    seen: list[tuple[int, float]] = []

    def after(model: nn.Module, entry: Mapping[str, Any]) -> bool:
        seen.append((entry["epoch"], entry["search_accuracy"]))
        return entry["epoch"] == 2

    result = fit(network(), data, Training(epochs=5, **ADAM), after_epoch=after)
    assert [epoch for epoch, _ in seen] == [1, 2] and result.epochs_run == 2
    assert [entry["search_accuracy"] for entry in result.history] == [score for _, score in seen]

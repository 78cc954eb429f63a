"""Checkpoints that a training goes on from."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from doors import files_in, register
from labelled import fit

if TYPE_CHECKING:
    from torch import nn

    from netsmith.data import Data

_NAME = "c.safetensors"


class _Killed(Exception):
    pass


@cache
def _data() -> Data:
    from netsmith.data import load_data

    return load_data("digits", train_limit=32, search_size=20)


def _trained(folder: Path, dies_at: int | None = None) -> nn.Module:
    import torch
    from torch import nn

    from netsmith.training import Checkpoints, Training

    def step(number: int, total: int) -> None:
        if number == dies_at:
            raise _Killed

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 2, 3, 4), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 10))
    fit(
        model, _data(), Training(epochs=2, batch_size=8, bf16=False), after_step=step, device="cpu",
        checkpoints=Checkpoints(folder / _NAME, steps=1),
    )  # fmt: skip
    return model


def _valid() -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            _trained(Path(folder), dies_at=6)
        except _Killed:
            return files_in(Path(folder))
    raise AssertionError("the training was not stopped")


@register("training checkpoint", _valid)
def _resumed(folder: Path) -> object:
    return _trained(folder)

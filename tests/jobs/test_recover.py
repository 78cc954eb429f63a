"""Fine-tuning gives back what a smaller network lost and takes nothing, whatever its norms, however few its steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from labelled import Labelled, evaluate
from netsmith.data import load_data
from netsmith.data.types import Data
from netsmith.jobs.config import FineTune
from netsmith.jobs.recover import fine_tune
from netsmith.network.load import load_model
from netsmith.network.weights import load_weights
from netsmith.progress import Silent

SPEC = "zoo:digits?channels=16&blocks=1"


def small(weights: Path, momentum: float, damage: float) -> tuple[nn.Module, nn.Module, Data]:
    """A damaged network with slow norms, the network that it learns from, and the data."""
    nets, random = [], torch.Generator().manual_seed(0)
    for _ in range(2):
        net = load_model(SPEC).model
        load_weights(net, weights)
        nets.append(net)
    for module in nets[0].modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum
        if isinstance(module, nn.Conv2d):
            with torch.no_grad():
                noise = torch.randn(module.weight.shape, generator=random)
                module.weight.add_(noise, alpha=damage * float(module.weight.std()))
    return nets[0], nets[1], load_data("digits")


def tuned(weights: Path, tmp_path: Path, lr: float, momentum: float, damage: float) -> tuple[float, float, list[Any]]:
    """Accuracy on the search split before and after one epoch, and what was logged."""
    net, teacher, data = small(weights, momentum, damage)
    fine_tune(net, teacher, Labelled(data), FineTune(epochs=0, lr=lr), 0, tmp_path / "none.safetensors", Silent())
    before = evaluate(net, data.search, normalisation=data.normalisation)[0]
    log = fine_tune(net, teacher, Labelled(data), FineTune(epochs=1, lr=lr), 0, tmp_path / "one.safetensors", Silent())
    return before, evaluate(net, data.search, normalisation=data.normalisation)[0], log


def test_norms_with_a_small_momentum_do_not_hide_what_training_gained(digits_weights: Path, tmp_path: Path) -> None:
    before, after, log = tuned(digits_weights, tmp_path, lr=0.1, momentum=1e-4, damage=1.0)
    assert after > before + 0.3
    assert log[0]["search_accuracy"] < after - 0.3  # as scored with the statistics that training left


def test_training_that_loses_is_taken_back(digits_weights: Path, tmp_path: Path) -> None:
    before, after, log = tuned(digits_weights, tmp_path, lr=20.0, momentum=0.1, damage=0.0)
    assert after == before > 0.8
    assert log == []

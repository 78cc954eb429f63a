"""What a network does in training mode and not in evaluation: auxiliary classifiers read channels as well."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from netsmith.compression.trial import Inputs, first_line
from netsmith.network.copying import copy_network


def has_training_layers(model: nn.Module, inputs: Inputs) -> bool:
    """Whether training runs every module that evaluation runs, and further ones."""
    try:
        evaluation, training = (_called(model, inputs, mode) for mode in (False, True))
    except Exception:  # it does not run in training mode as it is, whatever is pruned
        return False
    return evaluation < training


def breaks_in_training(small: nn.Module, inputs: Inputs) -> str | None:
    """Why a network does not run in training mode, or None if it does; it stays as it is."""
    try:
        _run(copy_network(small), inputs, True)
    except Exception as error:
        return f"removing its channels breaks the forward in training: {first_line(error)}"
    return None


def in_training(model: nn.Module, inputs: Inputs) -> object:
    """The outputs in training mode, for a trace."""
    return model.train()(*inputs)


def _called(model: nn.Module, inputs: Inputs, training: bool) -> set[str]:
    """Paths of the modules that a forward calls."""
    probe = copy_network(model)
    seen: set[str] = set()

    def note(path: str) -> Callable[..., None]:
        return lambda *_: seen.add(path)

    for path, module in probe.named_modules():
        module.register_forward_pre_hook(note(path))
    _run(probe, inputs, training)
    return seen


def _run(model: nn.Module, inputs: Inputs, training: bool) -> None:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model.train(training)(*inputs)

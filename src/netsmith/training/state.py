"""The state of a training: captured, restored and compared with the settings it belongs to."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from netsmith.errors import InputError
from netsmith.training.checkpoint import Checkpoint
from netsmith.training.device import device_of, random_state, set_random_state

# settings that older checkpoints do not hold, and what those were made with
_SINCE: dict[str, Any] = {"keep": "best", "after_step": False}


@dataclass
class Position:
    """Where a training stands: everything but tensors.

    Attributes:
        epoch: complete epochs.
        step: complete steps of the next one.
        loss_sum: of those steps, weighted by images.
        seen: images of those steps.
        seconds: time spent on those steps.
        lr_scale: halved after every divergence.
        retries: divergences so far.
        best: search accuracy, or -1 before the first.
        best_epoch: whose weights are kept.
        stale: scored epochs since the best.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seen: int = 0
    seconds: float = 0.0
    lr_scale: float = 1.0
    retries: int = 0
    best: float = -1.0
    best_loss: float = math.inf
    best_epoch: int = 0
    stale: int = 0
    bf16: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


def capture(
    model: nn.Module, optimizer: torch.optim.SGD, best: dict[str, torch.Tensor], at: Position, settings: dict[str, Any],
    memory: dict[str, Any],
) -> Checkpoint:  # fmt: skip
    """Copy everything that the next step depends on."""
    tensors = {f"model.{k}": v.detach().clone() for k, v in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        momentum = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{name}"] = momentum.detach().clone()
    tensors |= {f"best.{k}": v for k, v in best.items()}  # replaced as a whole, never written to
    tensors |= {f"rng.{k}": v for k, v in random_state(device_of(model)).items()}
    # infinity is not JSON
    meta = asdict(at) | {"best_loss": None if math.isinf(at.best_loss) else at.best_loss}
    return Checkpoint(tensors, {"position": meta, "settings": settings, "memory": copy.deepcopy(memory)})


def restore(
    checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.SGD
) -> tuple[Position, dict[str, torch.Tensor]]:
    """Put a captured state back, on any device; returns where it stood and its best weights."""
    parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "momentum": {}, "best": {}, "rng": {}}
    for name, value in checkpoint.tensors.items():
        kind, _, rest = name.partition(".")
        if kind in parts:
            parts[kind][rest] = value
    model.load_state_dict(parts["model"])
    optimizer.state.clear()
    for name, parameter in model.named_parameters():
        if name in parts["momentum"]:
            # in the layout of the parameter, as the optimizer would have made it
            buffer = torch.empty_like(parameter, requires_grad=False).copy_(parts["momentum"][name])
            optimizer.state[parameter]["momentum_buffer"] = buffer
    set_random_state(parts["rng"], device_of(model))
    meta = dict(checkpoint.meta["position"])
    meta["best_loss"] = math.inf if meta["best_loss"] is None else meta["best_loss"]
    meta["history"], meta["messages"] = list(meta["history"]), list(meta["messages"])
    return Position(**meta), parts["best"]


def check_settings(checkpoint: Checkpoint, settings: dict[str, Any], where: str) -> None:
    """Check that a checkpoint was written by a training with the same settings.

    Raises:
        InputError: naming the first setting that differs.
    """
    stored = checkpoint.meta.get("settings", {})
    for key, value in settings.items():
        theirs = stored.get(key, _SINCE.get(key))
        if key == "contents":
            if value and not theirs:
                raise InputError(
                    f"the checkpoint {where} does not say what network and data it was made with; delete it, or train "
                    "without resuming"
                )
            changed = [what for what in value or {} if theirs.get(what) != value[what]]
            if changed:
                raise InputError(
                    f"{' and '.join(changed)} changed since the checkpoint {where} was written; put back what was "
                    "there, delete it, or train without resuming"
                )
            continue
        if theirs != value:
            raise InputError(
                f"checkpoint {where} was made with {key} {theirs}, not {value}; "
                "use the same settings, delete it, or train without resuming"
            )

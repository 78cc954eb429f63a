"""The state of a training: captured, restored and compared with the settings it belongs to."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from netsmith.errors import InputError, shown
from netsmith.shapes import Anything, Flag, List, Named, Number, OrNull, Record, Shape, Text
from netsmith.training.checkpoint import REMEDY, Checkpoint
from netsmith.training.device import device_of, random_state, set_random_state
from netsmith.training.optimizers import STATE

# settings that older checkpoints do not hold, and what those were made with
_SINCE: dict[str, Any] = {"keep": "best", "after_step": False, "optimizer": "sgd"}


@dataclass
class Position:
    """Where a training stands: everything but tensors.

    Attributes:
        epoch: complete epochs.
        step: complete steps of the next one.
        loss_sum: of those steps, weighted by examples.
        seen: examples of those steps.
        seconds: time spent on those steps.
        lr_scale: halved after every divergence.
        retries: divergences so far.
        best: score on the search split, as it ranks, of :attr:`best_epoch`.
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
    model: nn.Module, optimizer: torch.optim.Optimizer, best: dict[str, torch.Tensor], at: Position,
    settings: dict[str, Any], memory: dict[str, Any],
) -> Checkpoint:  # fmt: skip
    """Copy everything that the next step depends on."""
    tensors = {f"model.{k}": v.detach().clone() for k, v in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                tensors[f"{_names(settings)[key]}.{name}"] = value.detach().clone()
    tensors |= {f"best.{k}": v for k, v in best.items()}  # replaced as a whole, never written to
    tensors |= {f"rng.{k}": v for k, v in random_state(device_of(model)).items()}
    # infinity is not JSON
    meta = asdict(at) | {"best_loss": None if math.isinf(at.best_loss) else at.best_loss}
    return Checkpoint(tensors, {"position": meta, "settings": settings, "memory": copy.deepcopy(memory)})


def restore(
    checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Position, dict[str, torch.Tensor]]:
    """Put a captured state back, on any device; returns where it stood and its best weights."""
    parts = _parts(checkpoint)
    model.load_state_dict(parts["model"])
    optimizer.state.clear()
    for name, parameter in model.named_parameters():
        for key, kind in _names(checkpoint.meta["settings"]).items():
            if name in parts[kind]:
                value = parts[kind][name].clone()
                if kind != "count":  # in the layout of the parameter, as the optimizer would have made it
                    value = torch.empty_like(parameter, requires_grad=False).copy_(value)
                optimizer.state[parameter][key] = value
    set_random_state(parts["rng"], device_of(model))
    meta = dict(checkpoint.meta["position"])
    meta["best_loss"] = math.inf if meta["best_loss"] is None else meta["best_loss"]
    meta["history"], meta["messages"] = list(meta["history"]), list(meta["messages"])
    return Position(**meta), parts["best"]


def _names(settings: Mapping[str, Any]) -> Mapping[str, str]:
    """What the state of a training's optimizer is called in checkpoints."""
    return STATE[str(settings.get("optimizer", "sgd"))]


def _parts(checkpoint: Checkpoint) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of a checkpoint by what they are the state of."""
    kinds = ("model", "momentum", "square", "count", "best", "rng")
    parts: dict[str, dict[str, torch.Tensor]] = {kind: {} for kind in kinds}
    for name, value in checkpoint.tensors.items():
        kind, _, rest = name.partition(".")
        if kind in parts:
            parts[kind][rest] = value
    return parts


def check(checkpoint: Checkpoint, model: nn.Module, settings: dict[str, Any], steps: int, where: str) -> None:
    """Check that a checkpoint can be restored: it may have been damaged, or edited by hand.

    Args:
        model: the network that it is to be restored to.
        settings: of the training.
        steps: of an epoch.
        where: the file.

    Raises:
        InputError: it is of a training with other settings, or damaged.
    """
    check_settings(checkpoint, settings, where)
    problem = _META.problem(checkpoint.meta, "") or _misplaced(checkpoint.meta["position"], settings, steps)
    problem = problem or _unfit(_parts(checkpoint), model)
    if problem:
        raise InputError(f"the checkpoint {where} is damaged: {problem}; {REMEDY}")


class _Loss:
    """A number that need not be finite: what a network loses on images that it was not trained on."""

    def problem(self, value: Any, where: str) -> str | None:
        return None if isinstance(value, float) else f"{where} is {shown(value)}, not a number"


_COUNT, _SECONDS = Number(0, 2**53, whole=True), Number(0)
_ENTRY = Record(
    {"epoch": _COUNT, "loss": Number(), "lr": Number(0), "seconds": _SECONDS},
    {"search_accuracy": Number(0, 1), "search_loss": _Loss()},
)
_POSITION: dict[str, Shape] = {
    "epoch": _COUNT, "step": _COUNT, "loss_sum": Number(), "seen": _COUNT, "seconds": _SECONDS,
    "lr_scale": Number(1e-9, 1), "retries": _COUNT, "best": Number(), "best_loss": OrNull(_Loss()),
    "best_epoch": _COUNT, "stale": _COUNT, "bf16": Flag(), "history": List(_ENTRY), "messages": List(Text()),
}  # fmt: skip
_META = Record({"position": Record(_POSITION)}, {"memory": Named(Anything())})


def _misplaced(at: dict[str, Any], settings: dict[str, Any], steps: int) -> str | None:
    """What is wrong between the numbers of a position, each of which may be right."""
    if unknown := sorted(set(at) - set(_POSITION)):
        return f"position has {shown(unknown[0])}, which no training writes"
    if at["epoch"] > settings["epochs"] or at["step"] >= steps:
        return f"epoch {at['epoch']}, step {at['step']} is behind the end of the training"
    if (at["step"] > 0) != (at["seen"] > 0):
        return f"step {at['step']} and {at['seen']} images seen contradict each other"
    if (best := at["best_epoch"]) and best <= len(at["history"]):
        scores = {abs(v) for k, v in at["history"][best - 1].items() if k.startswith("search_")}
        if abs(at["best"]) not in scores:
            return f"position.best is {at['best']:g}, which is no score of epoch {best}"
    if max(at["best_epoch"], at["stale"]) > at["epoch"] or len(at["history"]) != at["epoch"]:
        return f"its history of {len(at['history'])} epochs is not that of {at['epoch']}"
    return None


def _unfit(parts: dict[str, dict[str, torch.Tensor]], model: nn.Module) -> str | None:
    """The first tensor that cannot be put back."""
    state, trained, device = model.state_dict(), dict(model.named_parameters()), device_of(model)
    generator = {"torch": torch.get_rng_state()}
    for kind, expected, whole in (
        ("model", state, True), ("best", state, bool(parts["best"])), ("momentum", trained, False),
        ("square", trained, False), ("count", dict.fromkeys(trained, torch.zeros(())), False), ("rng", generator, True),
    ):  # fmt: skip
        found = {k: v for k, v in parts[kind].items() if kind != "rng" or k in generator}  # others are of a GPU
        other = sorted(set(expected) ^ set(found)) if whole else sorted(set(found) - set(expected))
        if other:
            return f"tensor {kind}.{other[0]} is {'missing' if other[0] in expected else 'not of this training'}"
        for name, value in found.items():
            shape, kept = tuple(expected[name].shape), tuple(value.shape)
            if shape != kept or value.dtype != expected[name].dtype:
                return f"tensor {kind}.{name} has shape {kept} of {value.dtype}, not {shape} of {expected[name].dtype}"
            if kind != "rng" and not bool(torch.isfinite(value).all()):
                return f"tensor {kind}.{name} is not finite"
    for name, value in parts["rng"].items():
        if name in ("torch", device.type):
            try:
                torch.Generator("cpu" if name == "torch" else device).set_state(value)
            except (RuntimeError, TypeError):
                return f"tensor rng.{name} is no state of a generator of random numbers"
    return None


def check_settings(checkpoint: Checkpoint, settings: dict[str, Any], where: str) -> None:
    """Check that a checkpoint was written by a training with the same settings.

    Raises:
        InputError: naming the first setting that differs.
    """
    stored = checkpoint.meta.get("settings")
    if not isinstance(stored, dict):
        raise InputError(f"the checkpoint {where} is damaged: it has no settings; {REMEDY}")
    for key, value in settings.items():
        theirs = stored.get(key, _SINCE.get(key))
        if key == "contents":
            if value and not theirs:
                raise InputError(
                    f"the checkpoint {where} does not say what network and data it was made with; delete it, or train "
                    "without resuming"
                )
            known = theirs if isinstance(theirs, dict) else {}
            changed = [what for what in value or {} if known.get(what) != value[what]]
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

"""Copies of networks, whatever their modules keep on themselves."""

from __future__ import annotations

import copy
import warnings
from typing import Any, TypeVar

import torch
from torch import nn

from netsmith.errors import InputError

Network = TypeVar("Network", bound=nn.Module)


def copy_network(model: Network, shared: dict[int, Any] | None = None) -> Network:
    """A deep copy of a network.

    Values that its forward has left on a module, a feature map or an attention map, may belong to a graph of gradients,
    which nothing can copy. The copy has their values without it; parameters and buffers are copied as they are.

    Args:
        shared: id -> object that the copy shares with the network, as in the memo of ``copy.deepcopy``.

    Raises:
        InputError: a module keeps something that cannot be copied, an open file or a lock; names it.
    """
    memo = dict(shared or {})
    for module in model.modules():
        for value in _computed(vars(module)):
            memo.setdefault(id(value), value.detach().clone())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of traced networks, on torch's own tree specifications
            return copy.deepcopy(model, dict(memo))
    except RecursionError as error:
        raise InputError(
            "the network cannot be copied: its modules lie within each other too deeply, or one of its attributes does"
        ) from error
    except Exception as error:
        raise InputError(f"the network cannot be copied{_culprit(model, memo)}") from error


def _culprit(model: nn.Module, memo: dict[int, Any]) -> str:
    """Which attribute of which module it is that nothing can copy."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            try:
                copy.deepcopy(value, dict(memo))
            except Exception:
                where = f"module {path!r}" if path else "it"
                return f": {where} keeps {type(value).__name__} as {name!r}; make that in forward, or leave it out"
    return "; its modules must be such that copy.deepcopy takes them"


def _computed(value: Any, depth: int = 4) -> list[torch.Tensor]:
    """Tensors with a history of gradients, in attributes and in what these hold."""
    if isinstance(value, torch.Tensor):
        return [value] if value.grad_fn is not None else []
    if depth and isinstance(value, dict):
        value = list(value.values())
    if depth and isinstance(value, (list, tuple, set)):
        return [tensor for item in value for tensor in _computed(item, depth - 1)]
    if depth and hasattr(value, "__dict__") and not isinstance(value, (nn.Module, type)):
        return _computed(vars(value), depth - 1)
    return []

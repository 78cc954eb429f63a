"""Slicing a module: the channels that stay, on either side of a layer, in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from netsmith.compression.branches import ZeroBranch
from netsmith.errors import InputError

MOST_CHANNELS = 10_000_000  #: of a layer


@dataclass(frozen=True)
class LayerKeep:
    """Channels of a layer that stay, in its present numbering.

    Attributes:
        inputs, outputs: ascending indices; ``None`` leaves the side alone. Norms and depthwise convolutions, whose
            sides are one, use ``outputs`` alone.
        dim: for a bare parameter, the sliced dimension (``outputs`` has the indices); ``None`` for a module.
    """

    inputs: tuple[int, ...] | None = None
    outputs: tuple[int, ...] | None = None
    dim: int | None = None


def slice_layer(module: nn.Module, keep: LayerKeep, name: str = "layer") -> None:
    """Keep the channels ``keep`` of a module in place: tensors shrink and the module's own counts follow.

    Raises:
        InputError: the module is of a kind that netsmith cannot slice, or an index is out of range.
    """
    if isinstance(module, nn.modules.conv._ConvNd):
        _slice_conv(module, keep, name)
    elif isinstance(module, nn.Linear):
        if keep.outputs is not None:
            _slice(module, ("weight", "bias"), keep.outputs, name)
            module.out_features = len(keep.outputs)
        if keep.inputs is not None:
            _slice(module, ("weight",), keep.inputs, name, dim=1)
            module.in_features = len(keep.inputs)
    elif keep.outputs is None:
        return
    elif isinstance(module, _NormBase):
        _slice(module, ("weight", "bias", "running_mean", "running_var"), keep.outputs, name)
        module.num_features = len(keep.outputs)
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and len(module.normalized_shape) == 1:
        _slice(module, ("weight", "bias"), keep.outputs, name)
        module.normalized_shape = (len(keep.outputs),)
    elif isinstance(module, nn.GroupNorm):
        if module.num_groups > 1:  # whole groups go, so the statistics of the others stay what they were
            module.num_groups = len(_whole_groups(keep.outputs, module.num_channels // module.num_groups, name))
        _slice(module, ("weight", "bias"), keep.outputs, name)
        module.num_channels = len(keep.outputs)
    elif isinstance(module, nn.PReLU):
        if module.num_parameters > 1:
            _slice(module, ("weight",), keep.outputs, name)
            module.num_parameters = len(keep.outputs)
    elif isinstance(module, nn.Embedding):
        _slice(module, ("weight",), keep.outputs, name, dim=1)
        module.embedding_dim = len(keep.outputs)
    elif isinstance(module, ZeroBranch):
        module.channels = len(keep.outputs)
    else:
        raise InputError(f"layer {name!r} is a {type(module).__name__}, which netsmith cannot slice; freeze its group")


def _slice_conv(module: Any, keep: LayerKeep, name: str) -> None:
    """Slice a convolution; a grouped one loses whole groups, on both of its sides, or equally many channels of each."""
    out_dim = 1 if module.transposed else 0
    if module.groups == 1:
        if keep.outputs is not None:
            _slice(module, ("weight",), keep.outputs, name, dim=out_dim)
            _slice(module, ("bias",), keep.outputs, name)
            module.out_channels = len(keep.outputs)
        if keep.inputs is not None:
            _slice(module, ("weight",), keep.inputs, name, dim=1 - out_dim)
            module.in_channels = len(keep.inputs)
        return
    n = module.groups
    per = [module.in_channels // n, module.out_channels // n]
    kept = [
        None if side is None else _groups_and_places(side, p, name)
        for side, p in zip((keep.inputs, keep.outputs), per, strict=True)
    ]
    groups = next((k[0] for k in kept if k is not None), list(range(n)))
    if any(k is not None and k[0] != groups for k in kept):
        raise InputError(f"layer {name!r} keeps other convolution groups on its input than on its output")
    inside, outside = (list(range(p)) if k is None else k[1] for k, p in zip(kept, per, strict=True))
    # dimension 0 of the weight runs over all groups, dimension 1 within one
    rows, columns, row = (inside, outside, per[0]) if module.transposed else (outside, inside, per[1])
    _slice(module, ("weight",), [g * row + i for g in groups for i in rows], name)
    if len(columns) < module.weight.shape[1]:
        _slice(module, ("weight",), columns, name, dim=1)
    _slice(module, ("bias",), [g * per[1] + i for g in groups for i in outside], name)
    module.groups, module.in_channels = len(groups), len(inside) * len(groups)
    module.out_channels = len(outside) * len(groups)


def _groups_and_places(keep: Sequence[int], size: int, name: str) -> tuple[list[int], list[int]]:
    """Which groups of a grouped convolution have channels left, and which places within each of them."""
    groups, places = sorted({i // size for i in keep}), sorted({i % size for i in keep})
    if len(groups) * len(places) != len(keep):
        raise InputError(
            f"layer {name!r} works on channel groups of {size}: keep or drop each of them whole, or the same places "
            "in each"
        )
    return groups, places


def _whole_groups(keep: Sequence[int], size: int, name: str) -> list[int]:
    groups = sorted({i // size for i in keep})
    if len(groups) * size != len(keep):
        raise InputError(f"layer {name!r} works on channel groups of {size}: keep or drop each of them whole")
    return groups


def _slice(module: nn.Module, attributes: Sequence[str], keep: Sequence[int], name: str, dim: int = 0) -> None:
    for attribute in attributes:
        tensor = getattr(module, attribute, None)
        if tensor is not None:
            _replace(module, attribute, _select(tensor, keep, dim, name))


def slice_bare(model: nn.Module, path: str, keep: LayerKeep) -> None:
    """Keep a part of a bare parameter, in place.

    Raises:
        InputError: the model has no such parameter, or an index is out of range.
    """
    parent, _, attribute = path.rpartition(".")
    module = submodule(model, parent)
    tensor = getattr(module, attribute, None)
    if tensor is None:
        raise InputError(f"the recipe names the parameter {path!r}, which this model does not have; use the same MODEL")
    assert keep.outputs is not None and keep.dim is not None
    _replace(module, attribute, _select(tensor, keep.outputs, keep.dim, path))


def _select(tensor: torch.Tensor, keep: Sequence[int], dim: int, name: str) -> torch.Tensor:
    size = tensor.shape[dim]
    if len(keep) == 0 or min(keep) < 0 or max(keep) >= size:
        raise InputError(
            f"layer {name!r} has {size} channels on dimension {dim}, which the kept indices "
            f"{to_ranges(keep) or '(none)'} do not fit; use the same MODEL that the recipe was made from"
        )
    index = torch.as_tensor(np.asarray(keep, dtype=np.int64), device=tensor.device)
    return tensor.detach().index_select(dim, index)


def _replace(module: nn.Module, attribute: str, value: torch.Tensor) -> None:
    old = getattr(module, attribute)
    if isinstance(old, nn.Parameter):
        setattr(module, attribute, nn.Parameter(value, requires_grad=old.requires_grad))
    else:
        setattr(module, attribute, value)  # a buffer stays a registered buffer


def submodule(model: nn.Module, name: str) -> nn.Module:
    """The module of a path.

    Raises:
        InputError: the model has none there.
    """
    try:
        return model.get_submodule(name)
    except AttributeError as e:
        raise InputError(f"the recipe names layer {name!r}, which this model does not have; use the same MODEL") from e


def to_ranges(indices: Sequence[int]) -> str:
    """``(0, 1, 2, 5)`` as ``"0-2,5"``."""
    parts: list[list[int]] = []
    for i in indices:
        if parts and i == parts[-1][1] + 1:
            parts[-1][1] = i
        else:
            parts.append([i, i])
    return ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in parts)


def from_ranges(text: str) -> tuple[int, ...]:
    """The inverse of :func:`to_ranges`.

    Raises:
        ValueError: indices that do not ascend, or more of them than a layer has.
    """
    found: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        here = range(int(first), int(last or first) + 1)
        if here.stop > MOST_CHANNELS or not here or (found and here.start <= found[-1]):
            raise ValueError(f"the indices {part} are not ascending, or more than a layer has")
        found += here
    return tuple(found)

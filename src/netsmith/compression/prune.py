"""Pruning over channel groups: a plan of what every layer keeps, the smaller network, and its masked parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from netsmith.compression.channels import ChannelGroup, GroupReport
from netsmith.compression.layers import sides_of
from netsmith.compression.slicing import LayerKeep, slice_layer
from netsmith.compression.steps import PruneStep
from netsmith.compression.trial import shell
from netsmith.errors import InputError, did_you_mean
from netsmith.network.copying import copy_network

Keep = Mapping[str, Sequence[int]]


def plan(report: GroupReport, keep: Keep) -> PruneStep:
    """Turn kept channels of groups into kept channels of layers.

    Args:
        report: the groups of the network.
        keep: group name to the channels that stay, of ``range(group.channels)``, whole units of ``group.unit``.

    Raises:
        InputError: an unknown group, an index out of range, a split unit, or nothing kept.
    """
    dropped: dict[tuple[str, str], set[int]] = {}
    sizes: dict[str, list[int]] = {}
    dims: dict[str, int] = {}
    attributes: dict[str, dict[str, int]] = {}
    padding: dict[str, tuple[int, int, int]] = {}
    notes: dict[str, tuple[int, int]] = {}
    for name, channels in keep.items():
        group = _group(report, name)
        kept = _checked(group, channels)
        if kept.all():
            continue
        n = int(kept.sum())
        notes[name] = (n, group.channels)
        for side, members in (("out", group.outputs), ("in", group.inputs)):
            for m in members:
                dropped.setdefault((m.layer, side), set()).update(m.index[~kept[m.root]].tolist())
                sizes.setdefault(m.layer, [0, 0])[side == "out"] = m.size
                if m.dim is not None:
                    dims[m.layer] = m.dim
        for end in group.padded:
            _, front, behind = padding.get(end.layer, (0, 0, 0))
            n_gone = int((~kept[end.root]).sum())
            padding[end.layer] = (end.dim, front + n_gone * (not end.behind), behind + n_gone * end.behind)
        for path, attribute, value in group.attributes:
            attributes.setdefault(path, {})[attribute] = value * n // group.channels

    def rest(layer: str, side: str) -> tuple[int, ...] | None:
        gone = dropped.get((layer, side))
        if gone is None:
            return None
        left = tuple(i for i in range(sizes[layer][side == "out"]) if i not in gone)
        if not left:
            raise InputError(f"pruning would leave layer {layer!r} without channels; keep at least one")
        return left

    layers = {layer: LayerKeep(rest(layer, "in"), rest(layer, "out"), dims.get(layer)) for layer in sizes}
    return PruneStep(layers, attributes, notes, {k: v for k, v in padding.items() if v[1] + v[2]})


def prune(model: nn.Module, report: GroupReport, keep: Keep) -> PruneStep:
    """Prune ``model`` in place, so that its tensors are smaller, and return the step for its recipe.

    Args and errors as ``plan``.
    """
    step = plan(report, keep)
    step.apply(model)
    return step


def masked(model: nn.Module, report: GroupReport, keep: Keep) -> nn.Module:
    """Return the masked parent: a copy with all channels of ``model`` and the same outputs as the pruned network.

    Every layer that consumes a dropped channel has the weights of that input set to zero; a norm over all channels
    (layer norm, group norm with one group) takes its statistics over the kept ones. Channels that meet each other
    otherwise are zero where they are produced, too.
    """
    parent = shell(model)
    step = plan(report, keep)
    meeting = {m.layer for name in keep if (g := _group(report, name)).meeting for m in g.outputs}
    for name, layer in step.layers.items():
        if layer.dim is not None:
            if name in meeting and layer.outputs is not None:
                path, _, leaf = name.rpartition(".")
                owner = parent.get_submodule(path)
                _set(owner, leaf, _masked_along(getattr(owner, leaf), layer.outputs, layer.dim))
            continue
        module = parent.get_submodule(name)
        if layer.inputs is not None and isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
            _mask_inputs(module, layer.inputs)
        if layer.outputs is not None and mixes_channels(module):
            path, _, attribute = name.rpartition(".")
            setattr(parent.get_submodule(path), attribute, _MaskedNorm(module, layer))
        elif layer.outputs is not None and name in meeting:
            _mask_outputs(module, layer.outputs)
    return parent


def _group(report: GroupReport, name: str) -> ChannelGroup:
    for group in report.groups:
        if group.name == name:
            return group
    if name in report.frozen:
        raise InputError(f"layer {name!r} cannot be pruned: {report.frozen[name]}")
    raise InputError(f"unknown channel group {name!r}{did_you_mean(name, [g.name for g in report.groups])}")


def _checked(group: ChannelGroup, channels: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    index = np.asarray(channels, dtype=np.int64)
    if index.size == 0 or index.min() < 0 or index.max() >= group.channels:
        raise InputError(
            f"group {group.name!r}: keep between 1 and {group.channels} of the channels 0..{group.channels - 1}"
        )
    kept = np.zeros(group.channels, dtype=bool)
    kept[index] = True
    units = kept.reshape(-1, group.unit)
    if (units.any(axis=1) != units.all(axis=1)).any():
        raise InputError(f"group {group.name!r}: keep or drop whole units of {group.unit} consecutive channels")
    return kept


def without_inputs(weight: torch.Tensor, gone: Sequence[int], channels: int, transposed: bool) -> torch.Tensor:
    """A copy of the weight of a layer of so many input channels, zero for those that are ``gone``."""
    return _without(weight, gone, channels, first=transposed)


def without_outputs(weight: torch.Tensor, gone: Sequence[int], channels: int, transposed: bool) -> torch.Tensor:
    """A copy of the weight or bias of a layer of so many output channels, zero for those that are ``gone``."""
    return _without(weight, gone, channels, first=weight.dim() == 1 or not transposed)


def _without(weight: torch.Tensor, gone: Sequence[int], channels: int, first: bool) -> torch.Tensor:
    """Zero on dimension 0, which runs over all groups of a convolution, or on 1, which counts within one."""
    out = weight.detach().clone()
    if first:
        return out.index_fill_(0, torch.as_tensor(gone, device=out.device, dtype=torch.int64), 0.0)
    size = weight.shape[1]
    inside = out.view(channels // size, -1, *weight.shape[1:])
    at = np.asarray(gone, dtype=np.int64)
    inside[at // size, :, at % size] = 0.0
    return out


def _mask_inputs(module: nn.Module, kept: Sequence[int]) -> None:
    channels, _ = sides_of(module)
    gone = sorted(set(range(channels)) - set(kept))
    transposed = bool(getattr(module, "transposed", False))
    assert isinstance(module.weight, torch.Tensor)
    _set(module, "weight", without_inputs(module.weight, gone, channels, transposed))


def _mask_outputs(module: nn.Module, kept: Sequence[int]) -> None:
    """Make the outputs of a layer or norm zero for all channels but those kept."""
    for leaf in ("weight", "bias"):
        value = getattr(module, leaf, None)
        if not isinstance(value, torch.Tensor):
            continue
        if isinstance(module, nn.Embedding):
            zeroed = _masked_along(value, kept, 1)
        else:
            channels = sides_of(module)[1] if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)) else len(value)
            gone = sorted(set(range(channels)) - set(kept))
            zeroed = without_outputs(value, gone, channels, bool(getattr(module, "transposed", False)))
        _set(module, leaf, zeroed)


def _masked_along(value: torch.Tensor, kept: Sequence[int], dim: int) -> torch.Tensor:
    mask = torch.ones(value.shape[dim], dtype=torch.bool, device=value.device)
    mask[list(kept)] = False
    return value.detach().index_fill(dim, mask.nonzero().squeeze(1), 0.0)


def _set(module: nn.Module, leaf: str, value: torch.Tensor) -> None:
    old = getattr(module, leaf)
    setattr(
        module, leaf, nn.Parameter(value, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else value
    )


def mixes_channels(module: nn.Module) -> bool:
    """Whether a norm takes its statistics over all channels."""
    one_group = isinstance(module, nn.GroupNorm) and module.num_groups == 1
    return one_group or isinstance(module, (nn.LayerNorm, nn.RMSNorm))


class _MaskedNorm(nn.Module):
    """A norm over the kept channels of a full tensor; the others yield zero."""

    kept: torch.Tensor

    def __init__(self, norm: Any, keep: LayerKeep) -> None:
        super().__init__()
        assert keep.outputs is not None
        self.size = norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.normalized_shape[0]
        # subclasses of LayerNorm for images (LayerNorm2d) take channels second
        self.second = isinstance(norm, nn.GroupNorm) or "2d" in type(norm).__name__.lower()
        self.norm = copy_network(norm)
        slice_layer(self.norm, keep)
        self.register_buffer("kept", torch.tensor(keep.outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dim = 1 if self.second and x.shape[1] == self.size else x.dim() - 1
        y = self.norm(x.index_select(dim, self.kept))
        out: torch.Tensor = torch.zeros_like(x).index_copy(dim, self.kept, y)
        return out

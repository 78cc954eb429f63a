"""What the weights of single layers say about their channels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from netsmith.compression.channels import ChannelGroup

FloatArray = NDArray[np.float64]


def weighted_layers(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Path and weight of each convolution and linear layer, and of what packed attentions read queries, keys and
    values with."""
    for name, module in model.named_modules():
        if isinstance(module, (_ConvNd, nn.Linear)):
            yield name, module.weight
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            yield name, module.in_proj_weight


def per_channel(module: nn.Module, value: torch.Tensor, out: bool) -> FloatArray:
    """Sum of a layer's values per output or input channel, ``(channels of that side,)``."""
    groups = getattr(module, "groups", 1)
    flat = value.reshape(*value.shape[:2], -1).sum(dim=2)  # (dim 0, dim 1)
    first = out != bool(getattr(module, "transposed", False))  # the asked side is dimension 0 of the weight
    if first:
        sums = flat.sum(dim=1)
    else:  # dimension 1 counts within a convolution group
        sums = flat.reshape(groups, -1, flat.shape[1]).sum(dim=1).reshape(-1)
    return np.asarray(sums.cpu().numpy(), dtype=np.float64)


def filter_distances(group: ChannelGroup, model: nn.Module) -> FloatArray:
    """Sum of Euclidean distances of each filter from all others of its layer, over the layers that produce the group.

    The filter with the least sum is the nearest to the geometric median of the layer's filters (He et al., CVPR 2019,
    eq. 8): the others can stand in for it.

    Returns:
        ``(channels,)``.
    """
    scores = np.zeros(group.channels)
    weights = dict(weighted_layers(model))
    for m in group.outputs:
        if m.layer not in weights:
            continue
        module = model.get_submodule(m.layer)
        rows = filters(module, weights[m.layer].detach().double())
        sums = torch.cdist(rows, rows).sum(dim=1) * (rows != 0).any(dim=1)  # a filter of zeros is one that went before
        np.add.at(scores, m.root, sums.cpu().numpy()[m.index])
    return scores


def filters(module: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """The weight as one row for each output channel, ``(C_out, n)``."""
    if getattr(module, "transposed", False):  # (C_in, C_out / groups, ...)
        groups = int(getattr(module, "groups", 1))
        parts = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)
        return parts.reshape(groups * weight.shape[1], -1)
    return weight.flatten(1)


def batch_norm_scales(group: ChannelGroup, model: nn.Module) -> FloatArray | None:
    """Sum of ``|gamma|`` of each channel over the batch norms that it passes (Liu et al., ICCV 2017).

    Returns:
        ``(channels,)``; None where it passes none that has scales.
    """
    scores = np.zeros(group.channels)
    found = False
    for m in group.outputs:
        module = model.get_submodule(m.layer) if m.dim is None else None
        if isinstance(module, _NormBase) and isinstance(module.weight, torch.Tensor):
            np.add.at(scores, m.root, module.weight.detach().abs().double().cpu().numpy()[m.index])
            found = True
    return scores if found else None

"""Back from a small network to the full size: its weights among zeros, so that it can be cut from again."""

from __future__ import annotations

import torch
from torch import nn

from netsmith.compression.recipe import Recipe, apply_recipe
from netsmith.network.copying import copy_network


def widened(model: nn.Module, small: nn.Module, recipe: Recipe) -> nn.Module:
    """The network of full size that computes what a smaller one does, whatever weights the smaller one has by now.

    Where ``small`` has no weight, it is zero; so importances count only what is left, and channels that are gone
    have none. (A layer norm over channels that are gone computes something else.)

    Args:
        model: a network of the full size; not changed.
        small: what ``recipe`` made of such a network.

    Returns:
        A copy of ``model``.
    """
    # a network whose weights are their own positions, made smaller, says where each weight of the small one belongs
    places = copy_network(model).double()
    for _, tensor in _tensors(places):
        tensor.copy_(torch.arange(tensor.numel(), dtype=torch.float64).reshape(tensor.shape))
    apply_recipe(places, recipe)
    full = copy_network(model)
    own, where = dict(_tensors(full)), dict(_tensors(places))
    for tensor in own.values():
        tensor.zero_()
    for name, tensor in small.state_dict().items():
        if name not in own:  # a counter of batch norm
            continue
        flat = torch.zeros(own[name].numel(), dtype=tensor.dtype)
        flat[where[name].reshape(-1).long()] = tensor.detach().cpu().reshape(-1)
        own[name].copy_(flat.reshape(own[name].shape))
    return full


def _tensors(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Parameters and buffers in floating point, to be written to."""
    return [(n, t.detach()) for n, t in model.state_dict().items() if t.is_floating_point()]

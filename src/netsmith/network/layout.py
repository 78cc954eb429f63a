"""In which memory layout a network of a user's takes its images: with channels last, which is faster, or contiguous.

``x.view(x.size(0), -1)`` behind a feature map, the commonest line of all, runs on contiguous maps alone, and a
convolution hands on the layout of its images or of its weights.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import torch
from torch import nn

from netsmith.network.copying import copy_network

_CONTIGUOUS: WeakSet[nn.Module] = WeakSet()  #: networks of this process that were found to need it


def settle_layout(model: nn.Module, images: torch.Tensor) -> bool:
    """Find out, on a copy, whether a network runs with channels last, in evaluation and in training.

    If it does not, but does run on contiguous images, its weights are laid out so, and :func:`laid_out` does as well
    with what it is given.

    Args:
        images: two or more that it takes, ``(N, C, H, W)``; others have no such layout.

    Returns:
        Whether it does, or fails in any layout.
    """
    if model in _CONTIGUOUS or images.dim() != 4:
        return model not in _CONTIGUOUS
    probe, x = copy_network(model), images[:2]
    fits = _runs(channels_last(probe), x.contiguous(memory_format=torch.channels_last))
    if not fits and _runs(_contiguous(copy_network(model)), _plain(x)):
        _note(model)
        return False
    return True


def laid_out(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Images in the layout that a network takes, as far as it is known."""
    return _plain(images) if model in _CONTIGUOUS else images


def run_images(model: nn.Module, images: torch.Tensor) -> Any:
    """The outputs of a network in eval mode, in the layout of the images or, where that fails, on contiguous ones."""
    images = laid_out(model, images)
    try:
        return model(images)
    except RuntimeError:
        plain = _plain(images)
        if plain is images and all(_plain(p) is p for p in model.parameters()):
            raise
        output = _contiguous(model)(plain)
        _note(model)
        return output


def channels_last(model: nn.Module) -> nn.Module:
    """Lay 4-d weights out as convolutions want them; values and names stay."""
    return _lay_out(model, lambda t: t.contiguous(memory_format=torch.channels_last))


def _contiguous(model: nn.Module) -> nn.Module:
    return _lay_out(model, _plain)


def _plain(value: torch.Tensor) -> torch.Tensor:
    """The tensor with the strides of a fresh one; with one channel it may be contiguous and still lack them."""
    if value.stride() == torch.empty(value.shape, device="meta").stride():
        return value
    return value.clone(memory_format=torch.contiguous_format)


def _note(model: nn.Module) -> None:
    _CONTIGUOUS.add(_contiguous(model))


def _lay_out(model: nn.Module, layout: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 4:
                parameter.data = layout(parameter.data)
    return model


def _runs(probe: nn.Module, x: torch.Tensor) -> bool:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for training in (False, True):
            with contextlib.suppress(NotImplementedError):  # networks from torch.export stay in one mode
                probe.train(training)
            try:
                probe(x)
            except Exception:
                return False
    return True

"""In which memory layout a network of a user's takes its images: with channels last, which is faster, or contiguous.

``x.view(x.size(0), -1)`` behind a feature map, the commonest line of all, runs on contiguous maps alone, and a
convolution hands on the layout of its images or of its weights.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import torch
from torch import nn

from netsmith.data.batch import Batch
from netsmith.network.copying import copy_network
from netsmith.network.outputs import tensors_of
from netsmith.network.strided import Subsampled

_CONTIGUOUS: WeakSet[nn.Module] = WeakSet()  #: networks of this process that were found to need it
_CLOSE = 1e-2  #: share of its range by which an output may differ between layouts


def find_layout(model: nn.Module, inputs: torch.Tensor | Batch) -> bool:
    """Find out, on a copy, whether a network computes the same with channels last, in evaluation and in training.

    Both passes are tried, as a view may stand in the backward one alone.

    If it does not, but does run on contiguous images, its weights are laid out so, and :func:`laid_out` does as well
    with what it is given.

    Args:
        inputs: two samples or more that it takes; without maps, ``(N, C, H, W)``, among them there is no such layout.

    Returns:
        Whether it does, or fails in any layout.
    """
    inputs = Batch.of(inputs)
    if model in _CONTIGUOUS or not any(t.dim() == 4 for t in inputs.inputs):
        return model not in _CONTIGUOUS
    with torch.inference_mode(False):
        same = _same_in_both(copy_network(model), inputs.take(slice(0, 2)))
    if not same:
        _note(model)
    return same


def _same_in_both(probe: nn.Module, x: Batch) -> bool:
    want = _outputs(_contiguous(probe), x.map(_plain_map, inputs_only=True))
    if want is None:
        return True
    got = _outputs(channels_last(probe), x.map(fast_layout, inputs_only=True))
    return got is not None and all(map(_close, got, want))


def laid_out(model: nn.Module, batch: Batch) -> Batch:
    """A batch in the layout that a network takes, as far as it is known."""
    return batch.map(_plain_map, inputs_only=True) if model in _CONTIGUOUS else batch


def run_batch(model: nn.Module, batch: Batch) -> Any:
    """The outputs of a network in eval mode, in the layout of its inputs or, where that fails, on contiguous ones."""
    batch = laid_out(model, batch)
    try:
        return batch(model)
    except RuntimeError:
        plain = batch.map(_plain_map, inputs_only=True)
        untouched = all(a is b for a, b in zip(plain.inputs, batch.inputs, strict=True))
        if untouched and all(_plain(p) is p for p in model.parameters()):
            raise
        output = plain(_contiguous(model))
        _note(model)
        return output


def fast_layout(value: torch.Tensor) -> torch.Tensor:
    """Images and convolution weights with their channels last, anything else as it is."""
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value


def channels_last(model: nn.Module) -> nn.Module:
    """Lay 4-d weights out as convolutions want them; values and names stay."""
    return _lay_out(model, lambda t: t.contiguous(memory_format=torch.channels_last))


def _contiguous(model: nn.Module) -> nn.Module:
    return _lay_out(model, _plain)


def _plain_map(value: torch.Tensor) -> torch.Tensor:
    return _plain(value) if value.dim() == 4 else value


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


def _outputs(probe: nn.Module, x: Batch) -> list[torch.Tensor] | None:
    """What a network returns in evaluation, if it runs there and in training, forwards and backwards.

    Chance is the same every time.
    """
    found: list[torch.Tensor] = []
    devices = [t.device for t in x.inputs[:1] if t.device.type == "cuda"]
    with torch.enable_grad(), torch.random.fork_rng(devices), warnings.catch_warnings(), Subsampled():
        warnings.simplefilter("ignore")  # what a forward says, it says again where it is used
        torch.manual_seed(0)
        for parameter in probe.parameters():
            parameter.grad = None
            parameter.requires_grad_(parameter.is_floating_point())
        for training in (False, True):
            with contextlib.suppress(NotImplementedError):  # networks from torch.export stay in one mode
                probe.train(training)
            try:
                outputs = [t for t in tensors_of(x.map(torch.clone, inputs_only=True)(probe)) if t.is_floating_point()]
                # random gradients: those of a sum are one number, which has any layout
                trained = [t for t in outputs if t.requires_grad]
                torch.autograd.backward(trained, [torch.randn_like(t) for t in trained])
            except Exception:  # whatever a user's forward raises
                return None
            found = found or [t.detach() for t in outputs]
    return found


def _close(got: torch.Tensor, want: torch.Tensor) -> bool:
    """Whether outputs differ by no more than orders of summation make them: who reads memory by hand gets others."""
    far = (got - want).abs() > _CLOSE * want.abs().max() if got.shape == want.shape else torch.ones(1)
    return not bool(far.any())

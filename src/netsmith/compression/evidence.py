"""What a criterion of importance may look at, and what a criterion is: a user's is a function or a small class."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netsmith.compression.channels import ChannelGroup, GroupReport, Member
from netsmith.compression.filters import per_channel, weighted_layers
from netsmith.data.batch import Batch
from netsmith.errors import InputError
from netsmith.network.layout import run_batch
from netsmith.network.strided import Subsampled

if TYPE_CHECKING:
    from netsmith.compression.reconstruct import Moments

FloatArray = NDArray[np.float64]
Loss = Callable[[Any, Any], torch.Tensor]


class Importance:
    """A criterion: called with a group, it scores the group's channels; more is more important.

    Scores are compared within a group only, so their scale is free. A plain function of the same two arguments does as
    well; the attributes here are for what a job must know before it calls.

    Attributes:
        name: how ``--importance``, ``config.json`` and messages call it.
        reads_moments: whether it asks for :attr:`Evidence.moments`, which there are of the network as given only.
    """

    name: ClassVar[str] = ""
    reads_moments: ClassVar[bool] = False

    def __call__(self, group: ChannelGroup, evidence: Evidence) -> FloatArray | None:
        """Scores ``(channels,)``; None where the criterion says nothing about the group, which then goes by l2."""
        raise NotImplementedError


class Evidence:
    """What is known of a network whose channels are scored; what is costly is made when it is first asked for.

    Args:
        model: the network that ``report`` is about; its gradients and its training flag are left as they were.
        report: its channel groups.
        batches: pairs of inputs, a batch, a tensor or a tuple of arguments, and what ``loss`` needs beside the outputs;
            on the model's device, read once and only for :attr:`saliency`.
        loss: from outputs and targets to a scalar; cross entropy if ``None``.
        moments: of what the network's layers read, or a function that gathers them; see :attr:`moments`.
    """

    def __init__(
        self, model: nn.Module, report: GroupReport, batches: Iterable[tuple[Any, Any]] = (),
        loss: Loss | None = None, moments: Moments | Callable[[], Moments] | None = None,
    ) -> None:  # fmt: skip
        self.model, self.report = model, report
        self._batches, self._loss, self._moments = batches, loss or nn.functional.cross_entropy, moments

    @cached_property
    def weights(self) -> dict[str, torch.Tensor]:
        """Path of each convolution and linear layer -> its weight, without gradient."""
        return {name: weight.detach() for name, weight in weighted_layers(self.model)}

    @cached_property
    def saliency(self) -> dict[str, torch.Tensor]:
        """Path of each convolution and linear layer -> ``|w * dL/dw|`` in double precision, averaged over the batches.

        Raises:
            InputError: there are no batches.
        """
        return _saliency(self.model, self._batches, self._loss)

    @cached_property
    def moments(self) -> Moments:
        """Second moments of what the layers that read prunable channels read (``compression.reconstruct``).

        Raises:
            InputError: there are none.
        """
        if self._moments is None:
            raise InputError("the reconstruction importance needs moments of what layers read; gather some, or use l2")
        return self._moments() if callable(self._moments) else self._moments

    def summed(self, group: ChannelGroup, value: Callable[[str], torch.Tensor]) -> FloatArray:
        """For each channel, the sum of the values of all weights that leave with it, ``(channels,)``.

        Those are rows of the layers that produce the channel and columns of those that read it. Norms and bare
        parameters scale with what precedes them and say little on their own, so they do not count.

        Args:
            value: from a path of :attr:`weights` to a tensor of the shape of that weight.
        """
        scores = np.zeros(group.channels)

        def add(member: Member, out: bool) -> None:
            if member.layer in self.weights:
                module = self.model.get_submodule(member.layer)
                np.add.at(scores, member.root, per_channel(module, value(member.layer), out)[member.index])

        for m in group.outputs:
            add(m, True)
        for m in group.inputs:
            add(m, False)
        return scores


def _saliency(model: nn.Module, batches: Iterable[tuple[Any, Any]], loss: Loss) -> dict[str, torch.Tensor]:
    weights = dict(weighted_layers(model))
    total = {n: torch.zeros_like(w, dtype=torch.float64) for n, w in weights.items()}
    frozen = [w for w in weights.values() if not w.requires_grad]
    was_training = model.training
    count = 0
    model.eval()
    for w in frozen:
        w.requires_grad_(True)
    try:
        for x, y in batches:
            with Subsampled():
                batch = x if isinstance(x, Batch) else Batch(x if isinstance(x, tuple) else (x,))
                out = run_batch(model, batch)
            gradients = torch.autograd.grad(loss(out, y), list(weights.values()), allow_unused=True)
            for (n, w), g in zip(weights.items(), gradients, strict=True):
                if g is not None:
                    total[n] += (w.detach() * g).abs().double()
            count += 1
    finally:
        model.train(was_training)
        for w in frozen:
            w.requires_grad_(False)
    if not count:
        raise InputError("the taylor importance needs batches of data; pass some, or use l2")
    return {n: t / count for n, t in total.items()}

"""What estimating batch norms again does to a traced network, whether its norms are folded or not.

A pruned network is built with the statistics of its norms estimated again, and designs that are judged by the old ones
rank quite differently (Li et al., "EagleEye", ECCV 2020). A norm gives its outputs a mean and a deviation; the norms of
what is built say what these were in the network as given (``centre_batch_norm``). So here the outputs get back those
that they have in the unchanged network on the same images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from netsmith.data.batch import Batch
from netsmith.network.passes import BATCH_NORMS

_LEAST = 32  #: values of a channel in a pass, from which statistics are taken
_EPS = 1e-10  #: of variances; a channel that does not vary gives its mean
Statistics = Mapping[str, tuple[torch.Tensor, torch.Tensor]]  #: node -> mean and deviation of each channel


def statistics_of(
    nodes: Iterable[fx.Node], values: Mapping[str, Any], batch: Batch
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Of the values of all nodes that a batch norm has normed, or was folded into; channels are dimension 1.

    Padding of the batch does not count.
    """
    found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for node in nodes:
        value = values.get(node.name) if "norm" in node.meta or node.target in BATCH_NORMS else None
        value = batch.unpadded(value) if isinstance(value, torch.Tensor) else value
        if isinstance(value, torch.Tensor) and value.numel() >= _LEAST * value.shape[1]:
            variance, mean = torch.var_mean(value, [d for d in range(value.dim()) if d != 1], correction=0)
            found[node.name] = mean, variance.sqrt()
    return found


class Settled:
    """Brings values back to statistics; what this takes is found with the first value of a node, and kept.

    Args:
        wanted: statistics to bring values to; other nodes' values stay as they are.
        batch: whose padding does not count.
    """

    def __init__(self, wanted: Statistics, batch: Batch) -> None:
        self.wanted, self.batch = wanted, batch
        self._found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, node: str, value: torch.Tensor) -> torch.Tensor:
        if node not in self.wanted:
            return value
        (mean, deviation), new = self.wanted[node], node not in self._found
        if new:
            self._found[node] = torch.zeros_like(mean), torch.ones_like(mean)
            if (own := self.batch.unpadded(value)) is not value:
                F.batch_norm(own, *self._found[node], training=True, momentum=1.0)
                new = False
        # in training mode, with a momentum of 1, the statistics become those of the value
        return F.batch_norm(value, *self._found[node], deviation, mean, training=new, momentum=1.0, eps=_EPS)

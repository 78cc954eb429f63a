"""A change of a traced network as plain data: what differs when it is run, with every shape as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class QuantParams:
    """An affine integer grid: value = (q - zero_point) * scale, qmin <= q <= qmax."""

    scale: float
    zero_point: int
    qmin: int = 0
    qmax: int = 255


@dataclass(frozen=True)
class GraphEdit:
    """A change of the network.

    Attributes:
        weights: parameter name -> its new value, same shape.
        outputs: node -> grid on which its output is rounded.
        inputs: (node, consumer) -> grid on which that consumer alone reads the node.
        zeros: nodes whose output becomes zero (a branch that goes).
        norms: parameters, as ``weights`` but in floating point, with which batch norms are estimated again; None
            leaves the norms as they are.
        refit: those of ``weights`` that were repaired, so that grids of the weights as given do not fit them.
        gone: layers whose outputs nothing reads any more; what is to be done to them need not be done.
    """

    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)
    outputs: Mapping[str, QuantParams] = field(default_factory=dict)
    inputs: Mapping[tuple[str, str], QuantParams] = field(default_factory=dict)
    zeros: frozenset[str] = frozenset()
    norms: Mapping[str, torch.Tensor] | None = None
    refit: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
